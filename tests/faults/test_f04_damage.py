"""F4: a bit that turned, a file cut short, a file gone, files that changed places.

Found every time, in any snapshot and in the middle of the journal, with the file named; the
snapshot before is used instead. All bytes of one snapshot are tried in
tests/weights/test_snapshot_damage.py; here are many snapshots, chance, and the whole process.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import JournalDamaged, SnapshotInvalid
from service.weights.journal import Entry, Journal, JournalReader
from service.weights.snapshots import Keep, SnapshotReader, Snapshots
from tests.e2e.service import Topic, until
from tests.e2e.test_learning import events
from tests.faults.clusters import chaos
from tests.weights.states import meta, parts, same

VERSIONS = (1, 2, 3, 4)
SEGMENTS, EACH = 3, 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four snapshots and a journal of three segments, never to be changed."""
    home = tmp_path_factory.mktemp("whole")
    snapshots = Snapshots(home / "snapshots", Keep())
    for version in VERSIONS:
        snapshots.write(parts(version), meta(version))
    with Journal.open(home / "journal") as journal:
        for version in range(SEGMENTS * EACH):
            if version and version % EACH == 0:
                journal.rotate()
            journal.append({"version": version, "kind": "cut", "loss": f"{version:016x}"})
    return home


def files_of(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def damaged_by(content: bytes, how: str, where: float) -> bytes | None:
    """The content after a damage; None: the file is gone."""
    at = min(int(where * len(content)), len(content) - 1)
    match how:
        case "bit":
            return content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :]
        case "cut":
            return content[:at]
        case "longer":
            return content + b"\0"
    return None


places = st.floats(0.0, 1.0, exclude_max=True)
hows = st.sampled_from(["bit", "bit", "bit", "cut", "longer", "gone"])


@given(data=st.data(), how=hows, where=places)
@settings(max_examples=150)
def test_f04_any_damage_to_any_file_of_a_snapshot_is_found(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, how: str,
    where: float,
) -> None:  # fmt: skip
    """The file is named, no snapshot that needs it is loaded, and all others are."""
    home = Path(shutil.copytree(whole / "snapshots", tmp_path_factory.mktemp("f") / "snapshots"))
    file = data.draw(st.sampled_from(files_of(home)))
    changed = damaged_by((home / file).read_bytes(), how, where)
    if changed is None:
        (home / file).unlink()
    else:
        (home / file).write_bytes(changed)
    reader = SnapshotReader(home)

    failures = reader.verify()
    broken = {failure["id"] for failure in failures}
    assert {file} == {failure["file"] for failure in failures}
    for id in broken:
        with pytest.raises(SnapshotInvalid):
            reader.load(id)
    left = [v for v in VERSIONS if f"v{v:012d}-0a1b2c3d" not in broken]
    if left:
        found = reader.newest_valid()
        assert found is not None
        assert same(parts(left[-1]), found.parts)
    else:
        with pytest.raises(SnapshotInvalid, match="none of the 4 snapshots"):
            reader.newest_valid()


def test_f04_any_two_files_that_changed_places_are_found(whole: Path, tmp_path: Path) -> None:
    """Between any two snapshots, any two files of a kind."""
    missed = []
    objects = [f for f in files_of(whole / "snapshots") if f.startswith("objects/")]
    manifests = [f for f in files_of(whole / "snapshots") if f.endswith("manifest.json")]
    for n, (one, other) in enumerate(
        [*itertools.combinations(objects, 2), *itertools.combinations(manifests, 2)]
    ):
        home = Path(shutil.copytree(whole / "snapshots", tmp_path / str(n)))
        contents = (home / one).read_bytes(), (home / other).read_bytes()
        (home / one).write_bytes(contents[1])
        (home / other).write_bytes(contents[0])
        if {one, other} != {failure["file"] for failure in SnapshotReader(home).verify()}:
            missed.append((one, other))

    assert [] == missed
    assert len(manifests) == len(VERSIONS)


def read_all(reader: JournalReader) -> tuple[list[Entry], str]:
    """The entries, and what was said where they ended; nothing if that was the end."""
    found = []
    try:
        for entry in reader.read(0):
            found.append(entry)
    except JournalDamaged as error:
        return found, str(error)
    return found, ""


@given(segment=st.integers(0, SEGMENTS - 1), how=hows, where=places)
@settings(max_examples=150)
def test_f04_any_damage_to_the_middle_of_the_journal_is_found(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, segment: int, how: str, where: float
) -> None:
    """Only what follows the last whole entry of the newest segment may be a torn end; anything
    else is an error that names the file."""
    home = Path(shutil.copytree(whole / "journal", tmp_path_factory.mktemp("f") / "journal"))
    path = home / f"{segment * EACH:020d}.hwj"
    content = path.read_bytes()
    changed = damaged_by(content, how, where)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    expected = [{"version": v, "kind": "cut", "loss": f"{v:016x}"} for v in range(SEGMENTS * EACH)]
    reader = JournalReader(home)
    found, error = read_all(reader)

    assert expected[: len(found)] == found
    if error:
        assert str(home if changed is None else path) in error
    else:  # a torn end, which a crash can leave too
        assert segment == SEGMENTS - 1
        assert len(found) >= segment * EACH


@chaos
@pytest.mark.e2e
@pytest.mark.slow
def test_f04_f05_a_damaged_snapshot_is_refused_by_the_process_and_the_one_before_used(
    make_service, embedded_bootstrap
) -> None:
    """The log names the file, a counter tells, and the last version is there again, replayed; when
    all are damaged the service ends with 7 and was never ready."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(200))
    before = service.learned(200)
    assert 0 == service.stop(process)
    snapshots = service.folder / "state" / "tested" / "snapshots"
    newest = SnapshotReader(snapshots).list()[0]
    assert newest.manifest is not None
    weights = snapshots / "objects" / newest.manifest.files["weights"].object
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")

    process = service.start()
    until(lambda: weights.name in service.log(), "the damaged file is named")
    name = 'headwater_snapshots_total{process="learner",result="refused"}'
    until(lambda: service.metrics().get(name) == 1.0, "one snapshot refused")
    service.state_is("idle")
    after = service.learned(200)

    assert (before["version"], before["lineage"]) == (after["version"], after["lineage"])
    assert 0 == service.stop(process)

    for manifest in snapshots.rglob("manifest.json"):
        os.truncate(manifest, 100)
    shutil.rmtree(service.folder / "run")
    process = service.start()
    ready = []
    while process.poll() is None:
        ready.append(service.get("/readyz")[0])
    assert 7 == process.returncode
    assert 200 not in ready
    assert "snapshots in" in service.log()
    assert "can be used" in service.log()
