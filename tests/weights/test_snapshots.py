"""Snapshots: writing, finding, keeping."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from service.errors import SnapshotInvalid
from service.weights.digest import digest
from service.weights.snapshots import Keep, SnapshotReader, Snapshots
from tests.weights.states import LINEAGE, meta, parts, same

NAME = "v{:012d}-0a1b2c3d"
KEEP = Keep(last=2, hourly=0, daily=0)


def opened(directory: Path, keep: Keep = KEEP) -> Snapshots:
    return Snapshots(directory, keep)


def with_versions(directory: Path, *versions: int) -> Snapshots:
    snapshots = opened(directory)
    for version in versions:
        snapshots.write(parts(version), meta(version))
    return snapshots


def objects(directory: Path) -> set[str]:
    return {path.name for path in (directory / "objects").iterdir()}


def ids(snapshots: SnapshotReader) -> list[str]:
    return [entry.id for entry in snapshots.list()]


def test_a_snapshot_comes_back_to_the_bit(tmp_path: Path) -> None:
    """
    Every type and shape, also scalars and empty tensors, and the free meta data.
    """
    written = with_versions(tmp_path, 7).list()[0].manifest
    assert written
    found, about = SnapshotReader(tmp_path).load(NAME.format(7))

    assert same(parts(7), found)
    assert meta(7) == about
    assert digest(parts(7)) == written.digest


def test_the_manifest_is_what_the_contract_says(tmp_path: Path) -> None:
    """
    Plain JSON with schema, version, lineage, time, files with checksums, digests.
    """
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    Snapshots(tmp_path, KEEP, now=lambda: moment).write(parts(7), meta(7))
    text = (tmp_path / NAME.format(7) / "manifest.json").read_text()
    read = json.loads(text)

    assert "headwater.snapshot/1" == read["schema"]
    assert (NAME.format(7), 7, LINEAGE) == (read["id"], read["version"], read["lineage"])
    assert "2026-03-01T12:30:00+00:00" == read["created_at"]
    assert meta(7) == read["meta"]
    assert {"weights", "optimizer", "metrics"} == read["files"].keys() == read["digest"].keys()
    assert {"object", "bytes", "sha256"} == read["files"]["weights"].keys()


def test_parts_are_ordinary_safetensors_files(tmp_path: Path) -> None:
    """
    Other tools can read them.
    """
    written = opened(tmp_path).write(parts(7), meta(7))
    stored = load_file(tmp_path / "objects" / written.files["weights"].object)

    assert same({"weights": parts(7)["weights"]}, {"weights": stored})


def test_views_into_one_image_can_be_written(tmp_path: Path) -> None:
    """
    The learner's tensors share one piece of memory.
    """
    image = torch.arange(64, dtype=torch.uint8)
    views = {"a": image[:16].view(torch.float32), "b": image[16:64].view(torch.int64)}
    opened(tmp_path).write({"weights": views}, meta(1))
    found, _ = opened(tmp_path).load(NAME.format(1))

    assert same({"weights": views}, found)


def test_an_unchanged_part_is_not_written_again(tmp_path: Path) -> None:
    """
    The metrics of these two states are the same, so they share one file.
    """
    snapshots = opened(tmp_path)
    first = snapshots.write(parts(1), meta(1))
    path = tmp_path / "objects" / first.files["metrics"].object
    before = path.stat()
    second = snapshots.write(parts(2), meta(2))

    assert first.files["metrics"] == second.files["metrics"]
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)
    assert 5 == len(objects(tmp_path))


def test_a_part_that_was_loaded_is_not_written_again(tmp_path: Path) -> None:
    """
    After a restart too: what was just verified is good.
    """
    first = with_versions(tmp_path, 1).list()[0].manifest
    assert first
    again = opened(tmp_path)
    again.load(first.id)
    inode = (tmp_path / "objects" / first.files["metrics"].object).stat().st_ino
    again.write(parts(2), meta(2))

    assert inode == (tmp_path / "objects" / first.files["metrics"].object).stat().st_ino


def test_a_damaged_part_that_was_not_verified_is_written_again(tmp_path: Path) -> None:
    """
    A file of the right name and size is not believed for its name.
    """
    first = with_versions(tmp_path, 1).list()[0].manifest
    assert first
    path = tmp_path / "objects" / first.files["metrics"].object
    path.write_bytes(bytes(path.stat().st_size))
    opened(tmp_path).write(parts(2), meta(2))

    assert [] == opened(tmp_path).verify()


def test_the_same_version_again_replaces_the_first(tmp_path: Path) -> None:
    """
    A restart may write the version it started from; nothing is lost in between.
    """
    snapshots = with_versions(tmp_path, 1, 2, 1)

    assert [NAME.format(1), NAME.format(2)] == ids(snapshots)
    assert same(parts(1), snapshots.load(NAME.format(1))[0])


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    """
    Not the one with the highest version: another lineage may have begun below it.
    """
    snapshots = with_versions(tmp_path, 50)
    snapshots.write(parts(9), meta(9, lineage="ffffffff-1"))
    found = snapshots.newest_valid()

    assert found
    assert (9, "ffffffff-1") == (found.manifest.version, found.manifest.lineage)


@pytest.mark.parametrize(("most", "expected"), [(None, 30), (30, 30), (29, 20), (10, 10)])
def test_the_newest_up_to_a_version(tmp_path: Path, most: int | None, expected: int) -> None:
    """
    A rollback or a rebuild starts from an older one.
    """
    found = with_versions(tmp_path, 10, 20, 30).newest_valid(max_version=most)

    assert found
    assert expected == found.manifest.version
    assert same(parts(expected), found.parts)


def test_the_caller_may_pass_over_some(tmp_path: Path) -> None:
    """
    What is not accepted is neither used nor a failure.
    """
    snapshots = with_versions(tmp_path, 10, 20, 30)
    found = snapshots.newest_valid(accept=lambda m: m.meta["offsets"]["payments"]["0"] < 300)

    assert found
    assert (20, []) == (found.manifest.version, found.failures)


def test_nothing_at_all_is_none(tmp_path: Path) -> None:
    """
    A first start finds no snapshot, and no directory either.
    """
    assert SnapshotReader(tmp_path / "missing").newest_valid() is None
    assert [] == SnapshotReader(tmp_path / "missing").list()
    assert [] == SnapshotReader(tmp_path / "missing").verify()
    assert opened(tmp_path / "new").newest_valid() is None


def test_none_that_fits_is_an_error(tmp_path: Path) -> None:
    """
    A state that is there but cannot be used is never taken for a first start.
    """
    snapshots = with_versions(tmp_path, 10)

    with pytest.raises(SnapshotInvalid, match="none of the 1 snapshots"):
        snapshots.newest_valid(max_version=9)
    with pytest.raises(SnapshotInvalid, match="none of the 1 snapshots"):
        snapshots.newest_valid(accept=lambda _: False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_state_that_is_not_finite_is_not_written(tmp_path: Path, bad: float) -> None:
    """
    It would be refused when it is needed. The tensor is named, nothing stays behind.
    """
    snapshots = with_versions(tmp_path, 1)
    before = objects(tmp_path)
    state = parts(2)
    state["metrics"]["sums"][1] = bad

    with pytest.raises(SnapshotInvalid, match="version 2 is unfit: tensor 'sums'"):
        snapshots.write(state, meta(2))
    assert [NAME.format(1)] == ids(snapshots)
    assert before == objects(tmp_path)


@pytest.mark.parametrize(
    ("name", "dtype", "reason"),
    [("t", torch.bfloat16, r"torch\.bfloat16"), ("__metadata__", torch.float32, "name")],
)
def test_what_cannot_be_kept_is_refused(
    tmp_path: Path, name: str, dtype: torch.dtype, reason: str
) -> None:
    """
    Before anything is written, and the tensor is named.
    """
    with pytest.raises(SnapshotInvalid, match=f"'{name}' has .*{reason}"):
        opened(tmp_path).write({"w": {name: torch.ones(1, dtype=dtype)}}, meta(1))
    assert set() == objects(tmp_path)


@pytest.mark.parametrize("lineage", ["", "short", "../../../x", "0a1b2c/d"])
def test_a_lineage_that_cannot_be_a_name_is_refused(tmp_path: Path, lineage: str) -> None:
    """
    The lineage becomes part of a directory's name.
    """
    with pytest.raises(ValueError, match="not a version and a lineage"):
        opened(tmp_path).write(parts(1), meta(1, lineage=lineage))


def test_collecting_keeps_what_the_policy_keeps(tmp_path: Path) -> None:
    """
    The others go, and with them the files that no snapshot names any more.
    """
    snapshots = with_versions(tmp_path, 1, 2, 3, 4)
    assert (NAME.format(2), NAME.format(1)) == snapshots.collect()

    assert [NAME.format(4), NAME.format(3)] == ids(snapshots)
    assert 5 == len(objects(tmp_path))
    assert [] == snapshots.verify()
    assert () == snapshots.collect()


def test_hours_are_told_by_the_time_of_writing(tmp_path: Path) -> None:
    """
    One snapshot each twenty minutes: the newest, and the first of the two newest hours.
    """
    moments = (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=20 * n) for n in range(8))
    snapshots = Snapshots(tmp_path, Keep(1, 2, 0), now=lambda: next(moments))
    for version in range(8):
        snapshots.write(parts(version), meta(version))
    snapshots.collect()

    assert [NAME.format(7), NAME.format(6), NAME.format(3)] == ids(snapshots)


def test_a_pinned_one_is_kept_until_it_is_unpinned(tmp_path: Path) -> None:
    """
    Any process may pin; the owner collects.
    """
    snapshots = with_versions(tmp_path, 1, 2, 3)
    SnapshotReader(tmp_path).pin(NAME.format(1))
    snapshots.collect()
    assert [(NAME.format(1), True)] == [(e.id, e.pinned) for e in snapshots.list() if e.pinned]
    assert same(parts(1), snapshots.load(NAME.format(1))[0])

    snapshots.unpin(NAME.format(1))
    assert (NAME.format(1),) == snapshots.collect()


@pytest.mark.parametrize("name", ["v000000000009-0a1b2c3d", "..", "objects", "", "/"])
def test_a_snapshot_that_is_not_there_cannot_be_pinned_or_loaded(tmp_path: Path, name: str) -> None:
    """
    Names come from people; none of them leads out of the directory.
    """
    snapshots = with_versions(tmp_path, 1)

    with pytest.raises(SnapshotInvalid):
        snapshots.pin(name)
    with pytest.raises(SnapshotInvalid):
        snapshots.load(name)


def test_unfinished_attempts_are_removed_by_the_next_owner(tmp_path: Path) -> None:
    """
    A reader leaves them alone: they may be somebody's work in progress.
    """
    with_versions(tmp_path, 1)
    unfinished = [tmp_path / ".tmp-v9", tmp_path / "objects" / ".tmp-x", tmp_path / "objects/.tmpA"]
    unfinished[0].mkdir()
    (unfinished[0] / "manifest.json").write_text("{")
    unfinished[1].write_text("")
    unfinished[2].write_text("")

    assert [NAME.format(1)] == ids(SnapshotReader(tmp_path))
    assert [True] * 3 == [path.exists() for path in unfinished]
    opened(tmp_path)
    assert [False] * 3 == [path.exists() for path in unfinished]


def test_other_users_cannot_read_or_write(tmp_path: Path) -> None:
    """
    Weights can tell about the data they were learned from.
    """
    written = opened(tmp_path / "s").write(parts(1), meta(1))
    modes = [
        path.stat().st_mode & 0o007
        for path in (
            tmp_path / "s" / written.id,
            tmp_path / "s" / written.id / "manifest.json",
            tmp_path / "s" / "objects" / written.files["weights"].object,
        )
    ]

    assert [0, 0, 0] == modes


names = st.text(max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = st.builds(
    lambda shape, dtype, seed: torch.randint(
        0, 200, shape, generator=torch.Generator().manual_seed(seed)
    ).to(dtype),
    shapes,
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8]),
    st.integers(0, 2**31),
)
states = st.dictionaries(
    st.text(min_size=1, max_size=8), st.dictionaries(names, tensors, max_size=5)
)


@given(state=states)
def test_any_state_comes_back(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, dict[str, torch.Tensor]]
) -> None:
    """
    Names may be any text: features are named by users.
    """
    directory = tmp_path_factory.mktemp("snapshots")
    written = opened(directory).write(state, meta(3))

    assert same(state, opened(directory).load(written.id)[0])
