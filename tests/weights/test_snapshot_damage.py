"""A damaged snapshot is refused with its file named, and the one before it is used."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from service.errors import SnapshotInvalid
from service.weights import manifest
from service.weights.snapshots import Keep, Manifest, SnapshotReader, Snapshots
from tests.weights.states import LINEAGE, meta, parts, same

OLD, NEW = "v000000000001-0a1b2c3d", "v000000000002-0a1b2c3d"
CHANGING = ("weights", "optimizer")  # parts that the two snapshots do not share


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A directory with snapshots of versions 1 and 2."""
    snapshots = Snapshots(tmp_path, Keep())
    snapshots.write(parts(1), meta(1))
    snapshots.write(parts(2), meta(2))
    return tmp_path


def file_of(directory: Path, id: str, what: str) -> Path:
    """The manifest of a snapshot, or the object of one of its parts."""
    if what == "manifest":
        return directory / id / "manifest.json"
    listed = {entry.id: entry.manifest for entry in SnapshotReader(directory).list()}
    read = listed[id]
    assert read
    return directory / "objects" / read.files[what].object


def falls_back(directory: Path, damaged: Path) -> bool:
    """Whether the newest is refused with this file named, and the older one comes instead."""
    reader = SnapshotReader(directory)
    name = str(damaged.relative_to(directory))
    with pytest.raises(SnapshotInvalid, match=re.escape(name)):
        reader.load(NEW)
    found = reader.newest_valid()
    return (
        found is not None
        and found.manifest.id == OLD
        and same(parts(1), found.parts)
        and [(NEW, name)] == [(f["id"], f["file"]) for f in found.failures]
        and (NEW, name) in [(f["id"], f["file"]) for f in reader.verify()]
    )


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def each_damage(content: bytes) -> list[bytes]:
    """One bit of each byte flipped, ten ways to be too short, and one to be too long."""
    turned = [flipped(content, byte * 8 + byte % 8) for byte in range(len(content))]
    short = [content[: len(content) * tenth // 10] for tenth in range(10)]
    return [*turned, *short, content[:-1], content + b"\n"]


@pytest.mark.parametrize("what", ["manifest", *CHANGING])
def test_any_flipped_bit_and_any_cut_is_found(two: Path, what: str) -> None:
    """
    In every file of the newest snapshot; nothing damaged is ever loaded.
    """
    path = file_of(two, NEW, what)
    content = path.read_bytes()
    undetected = []
    for number, damage in enumerate(each_damage(content)):
        path.write_bytes(damage)
        if not falls_back(two, path):
            undetected.append(number)
    path.write_bytes(content)

    assert [] == undetected
    assert [] == SnapshotReader(two).verify()


def test_no_bit_of_a_manifest_can_change(two: Path) -> None:
    """
    Its checksum covers everything: offsets and other free text too, and the checksum itself.
    """
    content = file_of(two, NEW, "manifest").read_bytes()
    believed = []
    for bit in range(len(content) * 8):
        with suppress(ValueError):
            manifest.decode(flipped(content, bit))
            believed.append(bit)

    assert [] == believed


@pytest.mark.parametrize("what", ["manifest", *CHANGING])
def test_a_missing_file_is_found(two: Path, what: str) -> None:
    """
    A snapshot is whole or it is nothing.
    """
    path = file_of(two, NEW, what)
    path.unlink()

    assert falls_back(two, path)


@pytest.mark.parametrize("what", ["manifest", *CHANGING])
def test_files_swapped_between_two_snapshots_are_found(two: Path, what: str) -> None:
    """
    Both are refused: good files in the wrong place are wrong.
    """
    one, other = file_of(two, OLD, what), file_of(two, NEW, what)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])

    assert {OLD, NEW} == {failure["id"] for failure in SnapshotReader(two).verify()}
    with pytest.raises(SnapshotInvalid, match="none of the 2 snapshots"):
        SnapshotReader(two).newest_valid()


def test_a_renamed_snapshot_is_found(two: Path) -> None:
    """
    A version names one set of weights; a copy under another version does not.
    """
    (two / NEW).rename(two / "v000000000009-0a1b2c3d")
    found = SnapshotReader(two).newest_valid()

    assert found
    assert OLD == found.manifest.id
    assert [f"belongs to snapshot {NEW}"] == [failure["reason"] for failure in found.failures]


def test_damage_in_a_shared_part_is_found_in_both(two: Path) -> None:
    """
    Then there is nothing to start from, and that is an error that names the file.
    """
    path = file_of(two, NEW, "metrics")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")

    with pytest.raises(SnapshotInvalid, match=path.name):
        SnapshotReader(two).newest_valid()
    assert [OLD, NEW] == [failure["id"] for failure in SnapshotReader(two).verify()]


def seal(directory: Path, changed: Manifest) -> None:
    (directory / changed.id / "manifest.json").write_bytes(manifest.encode(changed))


def the_new(directory: Path) -> Manifest:
    read = SnapshotReader(directory).list()[0].manifest
    assert read
    return read


def test_a_digest_that_does_not_fit_is_found(two: Path) -> None:
    """
    Files may be what they were written as and still not be the state that was meant.
    """
    read = the_new(two)
    seal(two, replace(read, digest={**read.digest, "weights": "0" * 64}))

    assert falls_back(two, file_of(two, NEW, "weights"))


def test_a_manifest_of_another_schema_is_refused(two: Path) -> None:
    """
    A format of the future is not guessed at.
    """
    seal(two, replace(the_new(two), schema="headwater.snapshot/2"))

    assert falls_back(two, two / NEW / "manifest.json")


@pytest.mark.parametrize("outside", ["../../secret", "/etc/hostname", "a/b"])
def test_a_manifest_cannot_name_files_elsewhere(two: Path, outside: str) -> None:
    """
    Objects are named by their sha256 and by nothing else.
    """
    read = the_new(two)
    stored = manifest.StoredPart(object=outside, bytes=1, sha256="0" * 64)
    seal(two, replace(read, files={**read.files, "weights": stored}))

    assert falls_back(two, two / NEW / "manifest.json")


def test_a_number_that_is_not_finite_is_found(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However it came to be on the disk.
    """
    state = parts(2)
    state["weights"]["head/y/bias"][0] = float("nan")
    with monkeypatch.context() as unchecked:
        unchecked.setattr("service.weights.tensor_file.check", lambda part: None)
        Snapshots(two, Keep()).write(state, meta(2))

    assert falls_back(two, file_of(two, NEW, "weights"))


def test_damaged_snapshots_are_listed_with_their_reason(two: Path) -> None:
    """
    An operator sees them, first.
    """
    (two / NEW / "manifest.json").write_text("{}")
    listed = SnapshotReader(two).list()

    assert [NEW, OLD] == [entry.id for entry in listed]
    assert listed[0].manifest is None
    assert "is damaged: its text is not what was written" == listed[0].reason


def test_a_damaged_one_goes_when_there_are_enough_good_ones(two: Path) -> None:
    """
    Until then it stays where an operator can look at it.
    """
    (two / OLD / "manifest.json").write_text("{}")
    snapshots = Snapshots(two, Keep(last=2, hourly=0, daily=0))
    assert () == snapshots.collect()

    snapshots.write(parts(3), meta(3))
    assert (OLD,) == snapshots.collect()
    assert [] == snapshots.verify()


def test_a_write_over_a_damaged_one_heals_it(two: Path) -> None:
    """
    The same version again, after a restart from an older snapshot.
    """
    for what in ("weights", "manifest"):
        file_of(two, NEW, what).write_bytes(b"damaged")
    Snapshots(two, Keep()).write(parts(2), meta(2, LINEAGE))

    assert [] == SnapshotReader(two).verify()


def test_a_snapshot_collected_while_it_is_verified_is_no_failure(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The owner may remove an old one while another process reads.
    """
    reader = SnapshotReader(two)
    ids = reader._ids()
    Snapshots(two, Keep(last=1, hourly=0, daily=0)).collect()
    monkeypatch.setattr(reader, "_ids", lambda: ids)

    assert [] == reader.verify()
    assert [NEW] == [entry.id for entry in reader.list()]


def test_loaded_tensors_can_be_changed(two: Path) -> None:
    """
    They are the learner's from then on; the files are not.
    """
    loaded, _ = SnapshotReader(two).load(NEW)
    loaded["weights"]["head/y/bias"] += 1

    assert torch.equal(torch.tensor([3.0]), loaded["weights"]["head/y/bias"])
    assert same(parts(2), SnapshotReader(two).load(NEW)[0])
