"""The journal: appending, reading, rotating, and failing disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import JournalDamaged
from service.weights import durable
from service.weights.journal import Journal

Entry = dict[str, Any]

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | st.text() | numbers
values = st.recursive(plain, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=8)
bodies = st.dictionaries(st.text().filter(lambda name: name != "version"), values, max_size=4)


def entry(version: int) -> Entry:
    return {"version": version, "kind": "cut", "next": {"payments": {"0": version * 10}}}


def entries(first: int, last: int) -> list[Entry]:
    return [entry(version) for version in range(first, last + 1)]


def filled(directory: Path, first: int, last: int) -> Journal:
    journal = Journal.open(directory)
    for one in entries(first, last):
        journal.append(one)
    return journal


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@given(bodies=st.lists(bodies, max_size=12), cuts=st.sets(st.integers(0, 11)))
def test_what_was_appended_is_read_in_order_across_segments_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[Entry], cuts: set[int]
) -> None:
    """
    Any JSON comes back equal, wherever the journal was rotated or re-opened.
    """
    directory = tmp_path_factory.mktemp("journal")
    written = [{"version": 5 + n, **body} for n, body in enumerate(bodies)]
    journal = Journal.open(directory)
    for n, one in enumerate(written):
        journal.append(one)
        if n in cuts:
            journal.rotate()
            journal.close()
            journal = Journal.open(directory)

    assert written == list(journal.read(5))
    assert (written[-1]["version"] if written else None) == journal.last_version
    assert 0 == journal.torn_bytes
    journal.close()


def test_an_empty_journal_has_no_versions(tmp_path: Path) -> None:
    """
    Before the first entry there is nothing to read, and any version may be the first.
    """
    with Journal.open(tmp_path / "new") as journal:
        assert journal.last_version is None
        assert journal.first_version is None
        assert journal.synced_version is None
        assert [] == list(journal.read(0))

        journal.append(entry(0))
        assert [entry(0)] == list(journal.read(0))


def test_reading_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    """
    Replay after a snapshot of version 7 reads from 8; after the last one there is nothing.
    """
    with filled(tmp_path, 3, 12) as journal:
        assert entries(8, 12) == list(journal.read(8))
        assert [] == list(journal.read(13))


@pytest.mark.parametrize("version", [11, 13, 14, 0])
def test_a_version_that_does_not_follow_is_refused(tmp_path: Path, version: int) -> None:
    """
    An entry takes the next version, never another.
    """
    with filled(tmp_path, 10, 11) as journal:
        with pytest.raises(ValueError, match="does not follow 11"):
            journal.append(entry(version))

        assert entries(10, 11) == list(journal.read(10))


def test_segments_are_named_by_their_first_version(tmp_path: Path) -> None:
    """
    Twenty digits, so that names sort like versions.
    """
    with filled(tmp_path, 1, 3) as journal:
        journal.rotate()
        journal.rotate()
        journal.append(entry(4))

        assert [f"{1:020d}.hwj", f"{4:020d}.hwj"] == files(tmp_path)
        assert entries(1, 4) == list(journal.read(1))


def test_an_empty_last_segment_still_knows_the_version(tmp_path: Path) -> None:
    """
    A stop right after a rotation loses no count.
    """
    with filled(tmp_path, 1, 3) as journal:
        journal.rotate()

    with Journal.open(tmp_path) as journal:
        assert 3 == journal.last_version
        journal.append(entry(4))
        assert entries(1, 4) == list(journal.read(1))


@pytest.mark.parametrize(("version", "first"), [(0, 1), (3, 1), (4, 4), (6, 4), (7, 7), (100, 7)])
def test_dropping_keeps_every_entry_from_the_version_on(
    tmp_path: Path, version: int, first: int
) -> None:
    """
    Whole segments go, and only those with nothing but older entries; never the newest.
    """
    with filled(tmp_path, 1, 3) as journal:
        journal.rotate()
        for one in entries(4, 6):
            journal.append(one)
        journal.rotate()
        journal.append(entry(7))

        journal.drop_before(version)

        assert first == journal.first_version
        assert entries(first, 7) == list(journal.read(first))


def test_asking_for_entries_that_were_dropped_is_an_error(tmp_path: Path) -> None:
    """
    A gap is never skipped silently.
    """
    with filled(tmp_path, 5, 6) as journal, pytest.raises(JournalDamaged, match="oldest is 5"):
        list(journal.read(4))


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    """
    Reading stops where the next file does not go on.
    """
    with filled(tmp_path, 1, 3) as journal:
        journal.rotate()
        journal.append(entry(4))
        journal.rotate()
        journal.append(entry(5))
        (tmp_path / f"{4:020d}.hwj").unlink()

        with pytest.raises(JournalDamaged, match="entry 4 is missing"):
            list(journal.read(1))


def test_a_reader_sees_what_is_appended_meanwhile(tmp_path: Path) -> None:
    """
    Reading goes on where it stood, over a rotation too.
    """
    reader = Journal.reader(tmp_path)
    assert [] == list(reader.read(1))
    assert reader.last_version is None
    with filled(tmp_path, 1, 2) as journal:
        reading = reader.read(1)
        assert [entry(1), entry(2)] == [next(reading), next(reading)]
        journal.append(entry(3))
        journal.rotate()
        journal.append(entry(4))

        assert [entry(3), entry(4)] == list(reading)
        assert 1 == reader.first_version
        assert 4 == reader.last_version


def test_a_reader_stops_before_an_entry_that_is_being_written(tmp_path: Path) -> None:
    """
    Half an entry at the end is not an error for a reader, and it changes no file.
    """
    filled(tmp_path, 1, 2).close()
    path = tmp_path / f"{1:020d}.hwj"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])

    assert [entry(1)] == list(Journal.reader(tmp_path).read(1))
    assert whole[:-5] == path.read_bytes()
    path.write_bytes(whole)
    assert entries(1, 2) == list(Journal.reader(tmp_path).read(1))


def test_syncing_says_up_to_which_version(tmp_path: Path) -> None:
    """
    Appending promises nothing against a power cut; syncing does.
    """
    with filled(tmp_path, 1, 4) as journal:
        assert journal.synced_version in {0, None}
        journal.sync()
        assert 4 == journal.synced_version

    with Journal.open(tmp_path) as journal:
        assert journal.synced_version in {0, None}  # nobody knows what the run before flushed
        journal.sync()
        assert 4 == journal.synced_version


def test_a_failed_flush_ends_this_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same file is not flushed again, because that could succeed without the lost pages.
    """
    journal = filled(tmp_path, 1, 2)
    calls: list[int] = []

    def broken(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable, "flush", broken)
    with pytest.raises(OSError, match="Input/output error"):
        journal.sync()
    with pytest.raises(OSError, match="not used again"):
        journal.sync()
    with pytest.raises(OSError, match="not used again"):
        journal.append(entry(3))
    journal.close()

    assert 1 == len(calls)
    assert entries(1, 2) == list(Journal.reader(tmp_path).read(1))


def half(fd: int, frame: bytes) -> int:
    return os.pwrite(fd, frame[: len(frame) // 2], os.fstat(fd).st_size)


def none(fd: int, frame: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("write", [half, none])
def test_a_full_disk_leaves_no_half_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[int, bytes], int]
) -> None:
    """
    The entry that did not fit can be appended again once there is room.
    """
    with filled(tmp_path, 1, 2) as journal:
        with monkeypatch.context() as full:
            full.setattr(os, "write", write)
            with pytest.raises(OSError, match=r"(?i)no (room|space)"):
                journal.append(entry(3))
        assert 2 == journal.last_version
        journal.append(entry(3))

        assert entries(1, 3) == list(journal.read(1))
    with Journal.open(tmp_path) as journal:
        assert 0 == journal.torn_bytes


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    """
    Closing twice is harmless, appending after it is a mistake.
    """
    journal = filled(tmp_path, 1, 2)
    journal.close()
    journal.close()

    with pytest.raises(ValueError, match="closed"):
        journal.append(entry(3))
