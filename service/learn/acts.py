"""What the loop does: each act of the learner process, one method each.

Owns the order of durability: dead letters acknowledged, then journaled, then published. Called
from the loop's thread only, but for `status`.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from service.errors import DataLost, Halted
from service.learn import limit
from service.learn.burial import Burial
from service.learn.commands import Refused, Reply
from service.learn.inbox import Inbox, Item
from service.learn.keeping import Keeper
from service.learn.learner import Learner, Step, bad_counts, nested
from service.learn.losses import Losses
from service.learn.publishing import Publisher
from service.learn.telemetry import Telemetry
from service.settings import DeadLetterLimit, KafkaSettings
from service.stream.records import Cut, DataLoss, PartitionAdded

_log = structlog.get_logger(__name__)
_FILL_S = 0.5
_IDLE_S = 1.0


class Tools(msgspec.Struct):
    """What the acts work with; made and closed by the process."""

    publisher: Publisher
    keeper: Keeper
    burial: Burial
    losses: Losses
    telemetry: Telemetry
    kafka: KafkaSettings
    open_inbox: Callable[[Learner], Inbox]
    topic_id: Callable[[str], str | None]
    exit_on_halt: bool
    should_stop: Callable[[], bool]


class Acts:
    """The learner at work."""

    def __init__(self, learner: Learner, tools: Tools) -> None:
        self.learner = learner
        self._t = tools
        self._inbox: Inbox | None = None
        self._why_halted: str | None = learner.standing.halted
        self._loss: DataLoss | None = None
        self._stuck: tuple[str, str] | None = None
        self._last_learned_s = 0.0
        self._fill_due = 0.0

    @property
    def may_learn(self) -> bool:
        """Neither paused nor halted."""
        return not self.learner.standing.paused and self._why_halted is None

    @property
    def journal_failed(self) -> bool:
        """The journal could not be written or flushed, and is not used again."""
        return self._t.keeper.journal.failed

    @property
    def limit(self) -> DeadLetterLimit:
        """How many bad events are too many."""
        return self._t.kafka.dead_letter_limit

    @property
    def state(self) -> str:
        """The state's name, as the contract spells it."""
        if self._stuck is not None:
            return self._stuck[0]
        if self._why_halted is not None:
            return "halted"
        if self.learner.standing.paused:
            return "paused"
        return "learning" if time.monotonic() - self._last_learned_s < _IDLE_S else "idle"

    def next_item(self, timeout_s: float) -> Item | None:
        """Return what the inbox has; None while nothing may be learned."""
        if not self.may_learn:
            return None
        if self._inbox is None:
            self._inbox = self._t.open_inbox(self.learner)
        began = time.monotonic()
        item = self._inbox.get(self._t.publisher.wait_s(self.learner, timeout_s))
        self._t.telemetry.spent("idle", time.monotonic() - began)
        return item

    def learned(self, step: Step, seconds: float) -> None:
        """Note that a cut is in the weights."""
        self._last_learned_s = time.monotonic()
        self._t.telemetry.metrics.histogram("headwater_step_duration_seconds").observe(seconds)
        self._t.telemetry.spent("learn", seconds)
        self._t.telemetry.newest_ms = step.newest_ms
        self._t.publisher.learned(step.timestamps_ms)

    def bury(self, step: Step) -> None:
        """Have every event that was not learned acknowledged by the dead-letter topic."""
        if step.dead:
            self._t.burial.bury(step.dead, self.learner.standing, self._stick)
            self._stuck = None

    def journal_cut(self, step: Step, cut: Cut) -> None:
        """Write the cut's entry; from here on the version exists."""
        began = time.monotonic()
        self._append(
            {
                "version": step.version,
                "kind": "cut",
                "at": time.time_ns() // 1_000_000,
                "next": nested(cut.next_offsets),
                "records": step.records,
                "counts": step.counts,
                "keys": step.keys,
                "loss": step.loss,
                "trigger": cut.trigger,
                "bad": bad_counts(self.learner.standing),
            }
        )
        self._t.telemetry.metrics.counter("headwater_cuts_total").inc(1.0, cut.trigger)
        self._t.telemetry.spent("journal", time.monotonic() - began)

    def finish(self, step: Step, seconds: float, over_limit: str | None) -> None:
        """Publish if it is time; halt if there were too many bad events."""
        self._t.publisher.publish_if_due(self.learner)
        self._t.telemetry.metrics.histogram("headwater_cut_duration_seconds").observe(seconds)
        broken = step.counts.get("quarantined/not_finite", 0)
        if limit.count(self.learner.standing, self.limit, [True] * broken) is not None:
            over_limit = over_limit or "too many events gave scores that are not finite"
        if over_limit is not None:
            self.halt(over_limit)

    def tick(self) -> None:
        """Whatever is due: publish, heartbeat, metrics, journal to the medium, snapshot."""
        self._t.publisher.publish_if_due(self.learner)
        if self._t.publisher.beat_is_due:
            self._beat()
        now = time.monotonic()
        if now >= self._fill_due:
            self._t.telemetry.fill(self.learner, self._inbox)
            self._fill_due = now + _FILL_S
        offsets = self._t.keeper.tick(self.learner)
        if offsets is not None and self._inbox is not None:
            self._inbox.commit(offsets)

    def add_partition(self, added: PartitionAdded) -> None:
        """Learn from a new partition, from its beginning."""
        place, standing = (added.topic, added.partition), self.learner.standing
        if place in standing.cursors:
            return
        standing.cursors[place] = added.start
        if added.topic not in standing.topic_ids:
            standing.topic_ids[added.topic] = self._t.topic_id(added.topic)
        ids = {added.topic: standing.topic_ids[added.topic]}
        self._note("partition_added", topic=added.topic, partition=added.partition,
                   start=added.start, topic_ids=ids)  # fmt: skip

    def lose(self, loss: DataLoss) -> None:
        """Records are gone: halt, or skip what is gone, as the settings say."""
        self._stop_reading()
        if self._t.kafka.on_data_loss == "skip":
            self._t.losses.skip(loss, self.learner.standing, self._note)
            return
        self._loss = loss
        self._why_halted = self._t.losses.halt(loss, self.learner.standing)
        if self._t.exit_on_halt:
            raise DataLost(self._why_halted)

    def halt(self, reason: str) -> None:
        """Stop learning until an operator says resume; the API goes on answering."""
        self.learner.standing.halted = reason
        self._why_halted = reason
        self._note("halt", reason=reason)
        self._stop_reading()
        _log.error("halted", reason=reason)
        if self._t.exit_on_halt:
            raise Halted(reason)

    def obey(self, request: dict[str, Any]) -> Reply:
        """Do one command of the side door."""
        match request["command"]:
            case "pause":
                return self._pause()
            case "resume":
                return self._resume()
            case "snapshot":
                return self._snapshot()
            case other:
                raise Refused(f"there is no command {other!r}; pause, resume, snapshot, status")

    def status(self) -> Reply:
        """Return what the learner is doing; may be asked from any thread."""
        said = {
            "state": self.state,
            "reason": self._reason,
            "version": self._t.keeper.journal.last_version,
            "published_version": self._t.publisher.version,
            "lag_records": self._lag,
        }
        return self._t.telemetry.status(self.learner, self._inbox, said)

    def close(self) -> None:
        """End clean: a last snapshot, its offsets committed, no more reading."""
        self._t.publisher.publish_if_due(self.learner)
        if self._t.keeper.is_saved(self.learner) or self._t.keeper.now(self.learner).manifest:
            offsets = dict(self.learner.standing.cursors)
            if self._inbox is not None:
                self._inbox.commit(offsets)
        self._stop_reading()
        self._t.keeper.journal.sync()
        self._t.telemetry.fill(self.learner, None)
        self._t.publisher.beat(self.learner, "down", "stopped", None)

    def _pause(self) -> Reply:
        if not self.learner.standing.paused:
            self.learner.standing.paused = True
            self._note("pause")
            self._stop_reading()
        return self.status()

    def _resume(self) -> Reply:
        if self._loss is not None:
            raise Refused(
                f"{self._why_halted}. Restore the records, or set kafka.on_data_loss: skip, "
                "and start again"
            )
        if not self.may_learn:
            standing = self.learner.standing
            standing.paused, standing.halted, self._why_halted = False, None, None
            standing.bad_in_a_row = standing.bad_in_window = standing.seen_in_window = 0
            self._note("resume")
        return self.status()

    def _snapshot(self) -> Reply:
        saved = self._t.keeper.now(self.learner)
        if saved.manifest is None:
            raise Refused(f"the snapshot failed: {saved.error}")
        if self._inbox is not None:
            self._inbox.commit(saved.cursors)
        return {"id": saved.manifest.id, "version": saved.version, "bytes": saved.manifest.nbytes}

    def _note(self, kind: str, **rest: Any) -> None:
        """Journal an entry that is not a cut."""
        self.learner.standing.version += 1
        at = time.time_ns() // 1_000_000
        self._append({"version": self.learner.standing.version, "kind": kind, "at": at} | rest)

    def _append(self, entry: dict[str, Any]) -> None:
        """Append, waiting for room on the disk if there is none: nothing is published meanwhile."""
        while True:
            try:
                self._t.keeper.journal.append(entry)
            except OSError as error:
                _log.error("journal_not_written", version=entry["version"], error=str(error))
                if error.errno not in {errno.ENOSPC, errno.EDQUOT} or self._t.should_stop():
                    raise
                self._stick("halted", f"the journal cannot be written: {error}")
                time.sleep(1.0)
                continue
            self._stuck = None
            return

    @property
    def _reason(self) -> str | None:
        """Why nothing is learned, where something keeps us from it."""
        if self._stuck is not None:
            return self._stuck[1]
        return self._why_halted or (self._inbox.away if self._inbox is not None else None)

    @property
    def _lag(self) -> int | None:
        """Records that wait; None where nobody can tell."""
        if self._inbox is None or self._inbox.away is not None or self._stuck is not None:
            return None
        return sum(self._inbox.lag.values())

    def _beat(self) -> None:
        self._t.publisher.beat(self.learner, self.state, self._reason, self._lag)

    def _stick(self, state: str, reason: str) -> None:
        """Say that the loop waits for something outside, in the middle of a cut."""
        self._stuck = (state, reason)
        self._beat()

    def _stop_reading(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
            self._inbox = None
