"""The start of a learner process: what it makes of the state directory it finds."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from service import crash
from service.learn import opening, restore
from service.learn.environment import fingerprint
from service.learn.learner import Learner
from service.learn.opening import Store
from service.learn.probe import Command, Prober
from service.learn.process import open_journal
from service.learn.saving import Saver
from service.learn.sources import Sources
from service.learn.suspect import Suspects
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.settings import Settings
from service.weights import boot, durable
from service.weights.journal import Journal
from service.weights.lock import DirectoryLock
from service.weights.snapshots import Keep, SnapshotReader, Snapshots
from tests.fakes.broker import FakeBroker
from tests.learn.test_inquest import YAML


class Killed(BaseException):
    """The process is gone."""


class Start:
    """One state directory, and processes that start there."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.at = folder / "state"
        self.settings = settings
        self.broker = FakeBroker()
        self.broker.create_topic("t", 1)

    def once(self, then: Callable[[Journal, Learner], None] = lambda *_: None) -> Learner:
        """Start, do something, and die without a word."""
        with ExitStack() as stack:
            lock = stack.enter_context(DirectoryLock.acquire(self.at))
            lost = boot.unclean_power_loss(self.at)
            journal = stack.enter_context(open_journal(self.at, lock, lost))
            snapshots = Snapshots(self.at / "snapshots", Keep(5, 0, 0))
            saver = Saver(snapshots, journal, fingerprint())
            stack.callback(saver.close)
            suspects = Suspects(self.at, power_lost=lost)
            stack.callback(suspects.close)
            prober = Prober(Command([], {}), self.at, lambda *_: None, lambda: False)
            store = Store(self.at, journal, snapshots, saver, fingerprint(), suspects, prober)
            sources = Sources(self.settings, self.broker, threading.Event(), lambda _: None)
            learner, _ = opening.open_learner(
                self.settings, self.broker, sources, store, lambda *_: None,
                Telemetry(Metrics("learner")), (),
            )  # fmt: skip
            then(journal, learner)
        return learner

    @property
    def kinds(self) -> list[str]:
        """The journal's entries."""
        return [entry["kind"] for entry in Journal.reader(self.at / boot.JOURNAL).read(0)]


@pytest.fixture
def start(tmp_path: Path, load_settings: Callable[..., Settings]) -> Start:
    """A state directory where nothing is yet."""
    return Start(tmp_path, load_settings(YAML))


def test_a_backup_that_is_put_back_is_another_history(start: Start) -> None:
    """
    The four steps of the operations page, "Backups", with a copy taken after a clean stop.
    """
    before = start.once().standing
    boot.mark_stopped(start.at, before.version)
    copy = Path(shutil.copytree(start.at, start.at.parent / "copy"))

    start.at.rename(start.at.parent / "aside")  # 1
    shutil.copytree(copy, start.at)  # 2
    assert [] == SnapshotReader(start.at / "snapshots").verify()
    (start.at / "boot.json").unlink()  # 3
    after = start.once().standing  # 4

    assert after.lineage != before.lineage
    assert ["genesis", "environment"] == start.kinds


def test_a_state_that_is_started_again_is_the_same_history(start: Start) -> None:
    """
    A kill on the same boot, and nobody touched the directory.
    """
    assert start.once().standing.lineage == start.once().standing.lineage
    assert ["genesis"] == start.kinds


@pytest.mark.parametrize("point", ["genesis_before_journal", "genesis_before_snapshot"])
def test_a_kill_while_a_model_begins_mints_no_other_lineage(
    start: Start, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """
    Though a journal without boot.json says that power was lost.
    """

    def die(name: str, *_: object) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(crash, "point", die)
        with pytest.raises(Killed):
            start.once()
    start.once()

    assert ["genesis"] == start.kinds


def flush_fails(patch: pytest.MonkeyPatch, *, unlink_too: bool = False) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for name in ("flush", "flush_directory", "write_file", *(["unlink"] if unlink_too else [])):
        patch.setattr(durable, name, broken)


def note(journal: Journal, learner: Learner) -> None:
    learner.standing.version += 1
    journal.append({"version": learner.standing.version, "kind": "pause", "at": 0})


@pytest.mark.parametrize("act", ["sync", "rotate", "close"])
def test_a_flush_that_fails_is_remembered_wherever_it_was(
    start: Start, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """
    Also in the last flush of a clean stop; and the disk that fails need not take another write.
    """
    start.once()
    with monkeypatch.context() as patch:

        def fail(journal: Journal, learner: Learner) -> None:
            note(journal, learner)
            flush_fails(patch)
            getattr(journal, act)()

        with pytest.raises(OSError, match="Input/output"):
            start.once(fail)
    assert boot.unclean_power_loss(start.at)
    start.once()

    assert ["genesis", "pause", "environment"] == start.kinds
    assert not boot.unclean_power_loss(start.at)


def test_a_flush_that_fails_during_the_start_is_remembered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a start appends is flushed before anything goes live; the boot record is the old run's.
    """
    start.once(note)
    with monkeypatch.context() as patch:

        def elsewhere(*_: object) -> list[str]:
            flush_fails(patch)
            return ["cpu"]

        patch.setattr(restore, "differences", elsewhere)
        with pytest.raises(OSError, match="Input/output"):
            start.once()

    assert boot.unclean_power_loss(start.at)


def test_a_flush_that_cannot_be_remembered_is_said(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The process ends by the flush's error, and the log says what to remove before the next start.
    """
    start.once()
    with monkeypatch.context() as patch:

        def fail(journal: Journal, learner: Learner) -> None:
            note(journal, learner)
            flush_fails(patch, unlink_too=True)
            journal.sync()

        with pytest.raises(OSError, match="Input/output"):
            start.once(fail)
    said = capsys.readouterr().out

    assert "failed_flush_not_remembered" in said
    assert "boot.json before the next start" in said
