"""A state directory is whole when its snapshots, its journal, and the two together are."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from service.weights.soundness import nbytes, verify
from tests.weights.states import meta, parts


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Snapshots of versions 2, 4 and 6; a journal of four files from version 1 to 7."""
    snapshots = Snapshots(tmp_path / "snapshots", Keep())
    with Journal.open(tmp_path / "journal") as journal:
        for version in range(8):
            journal.append({"version": version, "kind": "cut"})
            if version in (2, 4, 6):
                journal.sync()
                snapshots.write(parts(version), meta(version))
                journal.rotate()
    return tmp_path


def files(state: Path) -> list[Path]:
    return sorted((state / "journal").iterdir())


def said(state: Path) -> list[tuple[str, str]]:
    return [(fault["file"], fault["reason"]) for fault in verify(state)]


def test_a_whole_state_is_whole(state: Path) -> None:
    """
    And so is nothing at all.
    """
    assert [] == verify(state)
    assert [] == verify(state / "nothing")


def test_how_much_is_read_adds_up_to_what_there_is(state: Path) -> None:
    """
    A bar that shows it ends at its end: parts that snapshots share are read for each.
    """
    told: list[int] = []
    verify(state, told.append)

    assert len(told) > 3 * len(parts(0))
    assert nbytes(state) == sum(told) > 0
    assert 0 == nbytes(state / "nothing")


def test_a_journal_that_is_gone_is_missed(state: Path) -> None:
    """
    The whole directory, or all that is in it.
    """
    expected = [("journal", "is missing or empty, but there is a snapshot of version 6")]
    for path in files(state):
        path.unlink()
    assert expected == said(state)

    shutil.rmtree(state / "journal")
    assert expected == said(state)


def test_a_journal_that_lost_its_end_is_missed(state: Path) -> None:
    """
    Its last files are gone, and what is left is whole in itself.
    """
    for path in files(state)[2:]:
        path.unlink()

    assert [("journal", "ends at version 4, but there is a snapshot of version 6")] == said(state)


def test_a_journal_that_lost_its_beginning_is_missed(state: Path) -> None:
    """
    But not what no snapshot needs: the owner drops that himself.
    """
    files(state)[0].unlink()
    assert [] == verify(state)

    files(state)[0].unlink()
    reason = "begins at version 5; nothing leads on from the snapshot of 2"
    assert [("journal", reason)] == said(state)


def test_an_owner_at_work_is_not_accused(state: Path) -> None:
    """
    He saves, collects and drops while it is looked at.
    """
    done = threading.Event()

    def work() -> None:
        snapshots = Snapshots(state / "snapshots", Keep(last=1, hourly=0, daily=0))
        with Journal.open(state / "journal") as journal:
            version = journal.last_version or 0
            while not done.is_set():
                version += 1
                journal.append({"version": version, "kind": "cut"})
                journal.sync()
                snapshots.write(parts(version), meta(version))
                snapshots.collect()
                journal.rotate()
                journal.drop_before(version)

    owner = threading.Thread(target=work)
    owner.start()
    try:
        found = [fault for _ in range(10) for fault in verify(state)]
    finally:
        done.set()
        owner.join()

    assert [] == found
