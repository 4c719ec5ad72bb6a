"""State going to disk, on its schedule: journal to the medium, snapshots, what may be deleted."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import structlog

from service.learn.learner import Learner
from service.learn.saving import Saved, Saver
from service.learn.telemetry import Telemetry
from service.stream.records import Offsets
from service.weights.journal import Entry, Journal
from service.weights.lock import Unseen

_log = structlog.get_logger(__name__)
_SYNC_S = 1.0
_ROOM_S = 1.0


class _Asked(NamedTuple):
    """A snapshot that somebody waits for; `of`: None for the present state."""

    of: Learner | None
    done: Callable[[Saved], None]


class Keeper:
    """Keeps the journal and the snapshots; called by the loop's thread."""

    def __init__(
        self,
        journal: Journal,
        saver: Saver,
        telemetry: Telemetry,
        snapshot_s: float,
        still_ours: Callable[[], None] = lambda: None,
        meanwhile: AbstractContextManager[object] | None = None,
    ) -> None:
        """still_ours: raises when the directory belongs to another process by now. meanwhile: gives
        signs of life while a disk is waited for."""
        self.journal = journal
        self._saver = saver
        self._telemetry = telemetry
        self._snapshot_s = snapshot_s
        self._still_ours = still_ours
        self._meanwhile = meanwhile or nullcontext()
        self._saved_version: int | None = None
        self._sync_due = 0.0
        self._save_due = time.monotonic() + snapshot_s
        self._saving = False
        """A snapshot is due, and its copy is not whole yet."""
        self._asked: list[_Asked] = []
        self._under_way: list[_Asked] = []
        """Answered by the snapshot that is being written."""

    def tick(self, learner: Learner) -> Offsets | None:
        """Do what is due; return the offsets of a snapshot that became durable, to be committed."""
        self._still_ours()
        now, busy = time.monotonic(), self._saver.busy  # before what is done is taken
        if now >= self._sync_due and not busy:
            with self._meanwhile:
                self.journal.sync()
            self._sync_due = now + _SYNC_S
        offsets = None
        for saved in self._saver.take_done():
            offsets = self._saved(saved) or offsets
            answered, self._under_way = self._under_way, []
            for asked in answered:
                asked.done(saved)
        if now >= self._save_due:
            self._save_due = now + self._snapshot_s
            self._saving = self._saved_version != learner.standing.version
        if (self._saving or self._asked) and not busy:
            self._copy(learner)
        return offsets

    def ask(self, done: Callable[[Saved], None], of: Learner | None = None) -> None:
        """Have a snapshot taken while learning goes on: of the present state at some later tick, or
        `of` one that is learned no more. `done` is told in a tick what became of it."""
        self._asked.append(_Asked(of, done))

    def now(self, learner: Learner) -> Saved:
        """Write a snapshot and wait until it is durable, or failed."""
        self._still_ours()
        self._saving = False
        with self._meanwhile:
            saved = self._saver.now(learner)
        self._saved(saved)
        return saved

    def append(
        self, entry: Entry, stuck: Callable[[str], None], should_stop: Callable[[], bool]
    ) -> None:
        """Append to the journal, waiting for room on the disk if there is none, and while nobody can
        tell whose the directory is: nothing is published meanwhile. Raises OSError for anything
        else, or when told to stop."""
        while True:
            try:
                self.journal.append(entry)
            except OSError as error:
                _log.error("journal_not_written", version=entry["version"], error=str(error))
                passes = isinstance(error, Unseen) or error.errno in {errno.ENOSPC, errno.EDQUOT}
                if not passes or should_stop():
                    raise
                stuck(f"the journal cannot be written: {error}")
                time.sleep(_ROOM_S)
                continue
            return

    def hold(self) -> None:
        """Remove nothing from now on; what is being removed just now ends first."""
        self._saver.hold = True

    def release(self) -> None:
        """What was held may go again, by the policy and what `reach` says."""
        self._saver.hold = False

    def reach(self, versions: tuple[int, ...]) -> None:
        """From now on, keep what leads to each of these versions."""
        self._saver.reach = versions

    def is_saved(self, learner: Learner) -> bool:
        """The present version is in a snapshot already."""
        self.tick(learner)
        return self._saved_version == learner.standing.version

    def _copy(self, learner: Learner) -> None:
        """Have the copy of the state go on that is wanted first; learning stands still meanwhile."""
        began = time.monotonic()
        of = self._asked[0].of if self._asked else None
        if self._saver.advance(learner if of is None else of):
            self._under_way = [asked for asked in self._asked if asked.of is of]
            self._asked = [asked for asked in self._asked if asked.of is not of]
            self._saving = self._saving and of is not None
        pause = time.monotonic() - began
        self._telemetry.metrics.histogram("headwater_snapshot_pause_seconds").observe(pause)
        self._telemetry.spent("snapshot", pause)

    def _saved(self, saved: Saved) -> Offsets | None:
        metrics = self._telemetry.metrics
        result = "success" if saved.error is None else "failure"
        metrics.counter("headwater_snapshots_total").inc(1.0, result)
        if saved.error is not None:
            return None
        metrics.histogram("headwater_snapshot_duration_seconds").observe(saved.seconds)
        if self._saved_version is not None and saved.version < self._saved_version:
            return None  # an older one that took longer
        self._saved_version = saved.version
        self._telemetry.saved(saved.version, saved.cursors)
        try:
            with self._meanwhile:
                self.journal.rotate()
                self.journal.drop_before(0 if self._saver.hold else saved.oldest)
        except OSError as error:  # the snapshot is good; the journal says itself if it is not
            _log.warning("journal_not_rotated", error=str(error))
        return saved.cursors
