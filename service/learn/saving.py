"""Snapshots while learning goes on: the loop copies, a thread writes. Knows no Kafka.

One snapshot at a time. A failed attempt is counted and logged, the one before stays, the next
tries anew; learning is held up only for the copy, a few milliseconds at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import msgspec
import structlog

from service import crash
from service.learn.learner import Learner
from service.learn.staging import Staging
from service.model.state import Parts, parts_of
from service.stream.records import Offsets
from service.weights.journal import Journal
from service.weights.snapshots import Manifest, Snapshots

_log = structlog.get_logger(__name__)


class Saved(msgspec.Struct):
    """A durable snapshot, or why there is none."""

    version: int
    cursors: Offsets
    manifest: Manifest | None
    oldest: int
    """The oldest version that a kept snapshot holds: the journal before it may go."""
    error: str | None
    seconds: float


class Saver:
    """Writes snapshots in a thread of its own. Owned by the loop; `close` joins it."""

    def __init__(
        self,
        snapshots: Snapshots,
        journal: Journal,
        environment: dict[str, str],
        settings: dict[str, object] | None = None,
    ) -> None:
        self.reach: tuple[int, ...] = ()
        """Versions to which a way must be kept, whatever the keep policy says."""
        self._hold = False
        self._removing = threading.Lock()
        self._snapshots = snapshots
        self._journal = journal
        self._beside = {"environment": environment, "settings": settings or {}}
        """What a manifest keeps that is no part of the learner."""
        self._staging = Staging()
        self._done: queue.SimpleQueue[Saved] = queue.SimpleQueue()
        self._work: queue.Queue[tuple[Parts, dict[str, Any], Offsets] | None] = queue.Queue(1)
        self._busy = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    @property
    def hold(self) -> bool:
        """Nothing at all may be removed for now."""
        return self._hold

    @hold.setter
    def hold(self, hold: bool) -> None:
        with self._removing:  # what has begun to remove ends first: a moment
            self._hold = hold

    @property
    def busy(self) -> bool:
        """A snapshot is being written."""
        return self._busy.is_set()

    def advance(self, learner: Learner) -> bool:
        """Copy a piece of the state; True once it is whole, and is written in the background.

        Call between two cuts, again and again, and not while `busy`. What is written is the
        state of the last call.
        """
        assert not self.busy, "the copy is being written"
        image = self._staging.advance(learner.state)
        if image is None:
            return False
        meta = learner.meta() | self._beside
        cursors = dict(learner.standing.cursors)
        self._busy.set()
        self._work.put((parts_of(learner.layout, image), meta, cursors))
        return True

    def now(self, learner: Learner) -> Saved:
        """Write a snapshot and wait for it; for start and stop."""
        meta = learner.meta() | self._beside
        return self._write(learner.state.parts(), meta, dict(learner.standing.cursors))

    def take_done(self) -> list[Saved]:
        """Return the background snapshots that ended since the last call."""
        done = []
        while not self._done.empty():
            done.append(self._done.get())
        return done

    def close(self) -> None:
        """Finish what was begun."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._done.put(self._write(*work))
            self._busy.clear()

    def _write(self, parts: Parts, meta: dict[str, Any], cursors: Offsets) -> Saved:
        began = time.monotonic()
        version = meta["version"]
        crash.point("snap_captured")
        try:
            # The journal first: a snapshot must never know more than the journal can prove.
            self._journal.sync()
            manifest = self._snapshots.write(parts, meta)
            oldest = self._collect()
        except Exception as error:  # noqa: BLE001 - a thread that dies would end all snapshots
            _log.error("snapshot_failed", version=version, error=str(error))
            return Saved(version, cursors, None, 0, str(error), time.monotonic() - began)
        seconds = time.monotonic() - began
        _log.info("snapshot_written", version=version, id=manifest.id, seconds=round(seconds, 3))
        return Saved(version, cursors, manifest, oldest, None, seconds)

    def _collect(self) -> int:
        """Remove what the policy does not keep; return the oldest version that is left."""
        with self._removing:
            if self._hold:
                return 0
            self._snapshots.collect(self.reach)
        return min((e.manifest.version for e in self._snapshots.list() if e.manifest), default=0)
