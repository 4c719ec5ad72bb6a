"""Reading the journal beside the one who writes it, and reading all of it for damage."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import JournalDamaged
from service.weights import journal_frames, journal_reader
from service.weights.journal import Journal, JournalReader

EACH = 3
LOOKS = ("segments", "frame_at", "any_after")


def entry(version: int) -> dict[str, object]:
    return {"version": version, "kind": "cut", "text": "x" * version}


def append(journal: Journal, n: int = 1) -> None:
    for _ in range(n):
        journal.append(entry(0 if journal.last_version is None else journal.last_version + 1))


def written(directory: Path, segments: int) -> Journal:
    """Sealed segments of three entries each, and one more entry in the open one."""
    journal = Journal.open(directory)
    for _ in range(segments):
        append(journal, EACH)
        journal.rotate()
    append(journal)
    return journal


def append_and_seal(journal: Journal) -> None:
    append(journal)
    journal.rotate()
    append(journal)


def seal(journal: Journal) -> None:
    journal.rotate()


def seal_twice(journal: Journal) -> None:
    append_and_seal(journal)
    append_and_seal(journal)


def drop_the_oldest(journal: Journal) -> None:
    journal.drop_before(EACH)


def drop_all_sealed(journal: Journal) -> None:
    journal.rotate()
    append(journal)
    journal.drop_before(2 * EACH + 1)


class Interrupted:
    """Has the writer act at one look of the reader at the disk, before or after it."""

    def __init__(
        self, patch: pytest.MonkeyPatch, at: int, late: bool, act: Callable[[], None]
    ) -> None:
        self.looks, self._at, self._late, self._act = 0, at, late, act
        for name in LOOKS:
            patch.setattr(journal_reader, name, self._between(getattr(journal_reader, name)))

    def _between(self, look: Callable[..., object]) -> Callable[..., object]:
        def looked(*given: object) -> object:
            self.looks += 1
            now = self.looks == self._at
            if now and not self._late:
                self._act()
            seen = look(*given)
            if now and self._late:
                self._act()
            return seen

        return looked


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "act", [append, seal, append_and_seal, seal_twice, drop_the_oldest, drop_all_sealed]
)
def test_a_writer_who_acts_at_any_moment_makes_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Journal], None], late: bool
) -> None:
    """
    What is read begins where it was asked for and leaves nothing out. Only what is dropped under
    the reader ends it early, and that is said: nothing is called damaged that is not.
    """
    at, looks, told = 0, 1, set()
    while at < looks:
        at += 1
        with written(tmp_path / f"{at}", 2) as journal, monkeypatch.context() as patch:
            here = Interrupted(patch, at, late, functools.partial(act, journal))
            found, error = [], ""
            try:
                for one in JournalReader(journal.directory).read(0):
                    found.append(one)
            except JournalDamaged as damaged:
                error = str(damaged)
            looks = here.looks
        assert [entry(version) for version in range(len(found))] == found
        if error:
            told.add(error.replace(str(journal.directory), "D"))
        else:
            assert len(found) > 2 * EACH

    assert looks > 10
    if "drop" in act.__name__:
        assert all(" is not in D: the oldest is " in one for one in told)
        assert told
    else:
        assert set() == told


def test_the_newest_version_is_known_while_segments_are_sealed_and_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The newest file of a moment ago may be gone already.
    """
    with written(tmp_path, 0) as journal, monkeypatch.context() as patch:

        def act() -> None:
            journal.rotate()
            append(journal)
            journal.drop_before(1)

        Interrupted(patch, 1, late=True, act=act)
        assert 1 == JournalReader(tmp_path).last_version


def test_all_of_a_whole_journal_is_read_and_found_whole(tmp_path: Path) -> None:
    """
    Also one that is being written, with half an entry at its end; and one that is not there.
    """
    directory = tmp_path / "journal"
    assert [] == JournalReader(directory).verify()
    with written(directory, 2) as journal:
        assert [] == JournalReader(directory).verify()
        append(journal)
    newest = directory / f"{2 * EACH:020d}.hwj"
    content = newest.read_bytes()
    for size in range(len(content) + 1):
        newest.write_bytes(content[:size])
        assert [] == JournalReader(directory).verify()


def test_every_flipped_bit_of_the_journal_is_found_with_its_place(tmp_path: Path) -> None:
    """
    In the old segments, which no start reads, as in the newest; all damage at once is all told.
    """
    directory = tmp_path / "journal"
    written(directory, 2).close()
    files = sorted(directory.iterdir())
    missed = []
    for path in files:
        content = path.read_bytes()
        for byte in range(len(content)):
            wrong = bytearray(content)
            wrong[byte] ^= 1
            path.write_bytes(bytes(wrong))
            found = [(fault["file"], fault["id"]) for fault in JournalReader(directory).verify()]
            lengths = path == files[-1] and byte < 4  # a longer one looks as half an entry does
            if found != [(f"journal/{path.name}", None)] and not lengths:
                missed.append((path.name, byte))
        path.write_bytes(content)
    assert [] == missed

    expected = []
    for path, last in ((files[0], 2), (files[1], 5)):
        begins = path.stat().st_size - len(journal_frames.encode(entry(last)))
        path.write_bytes(path.read_bytes()[:-1])
        expected.append(f"damaged at byte {begins}: entry {last} cannot be read")
    assert expected == [fault["reason"] for fault in JournalReader(directory).verify()]


def test_a_segment_that_is_missing_in_the_middle_is_found(tmp_path: Path) -> None:
    """
    The oldest may be dropped, the middle may not.
    """
    directory = tmp_path / "journal"
    written(directory, 2).close()
    (directory / f"{EACH:020d}.hwj").unlink()

    (fault,) = JournalReader(directory).verify()
    assert f"journal/{0:020d}.hwj" == fault["file"]
    assert "entry 3 is missing; the next file begins with 6" in fault["reason"]
    (directory / f"{0:020d}.hwj").unlink()
    assert [] == JournalReader(directory).verify()


def test_the_command_reads_the_journal_too(
    tmp_path: Path, headwater: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """
    `snapshots verify` ends with 7 and names the file and the byte; no snapshot is to blame.
    """
    settings = """
name: test
kafka: {topics: [t]}
event:
  features: {x: {type: number}}
  targets: {y: {type: binary}}
"""
    (tmp_path / "headwater.yaml").write_text(settings)
    directory = tmp_path / "state" / "test" / "journal"
    written(directory, 1).close()
    command = ("snapshots", "verify", "--set", f"state.directory={tmp_path / 'state'}")
    whole = headwater(*command)
    assert (0, "") == (whole.returncode, whole.stdout)
    path = directory / f"{0:020d}.hwj"
    path.write_bytes(b"?" + path.read_bytes()[1:])

    told = headwater(*command, "--json")
    reason = "damaged at byte 0: entry 0 cannot be read"
    fault = {"id": None, "file": f"journal/{path.name}", "reason": reason}
    assert (7, {"ok": False, "failures": [fault]}) == (told.returncode, json.loads(told.stdout))
    assert f"{fault['file']}: {reason}\n" == headwater(*command).stdout
