"""What the loop does: each act of the learner process, one method each.

Owns the order of durability: dead letters acknowledged, then journaled, then published. Called
from the loop's thread only, but for `status`.
"""

from __future__ import annotations

import time
from typing import Any

import structlog

from service import crash
from service.errors import DataLost, Halted
from service.events.decode import Decoded
from service.learn.course import Course
from service.learn.guard.judge import Judge, Verdict
from service.learn.inbox import Inbox, Item
from service.learn.learner import Learner, Step
from service.learn.losses import new_epochs
from service.learn.standing import GUARD, bad_counts, nested
from service.learn.telemetry import seen
from service.learn.tools import Tools
from service.settings import MAIN, DeadLetterLimit
from service.stream.records import Cut, DataLoss, Offsets, PartitionAdded
from service.weights.lock import Unseen

_log = structlog.get_logger(__name__)
_FILL_S, _IDLE_S = 0.5, 1.0


class Acts:
    """The learner at work."""

    def __init__(self, learner: Learner, frozen: Learner | None, tools: Tools) -> None:
        self._t = tools
        self.in_hand, self.twin = tools.in_hand, tools.twin
        judge = Judge(tools.guard, learner, tools.telemetry.metrics, tools.clock)
        self.course = Course(learner, frozen, judge, tools.keeper, self._append, tools.tell)
        self._inbox: Inbox | None = None
        self.why_halted: str | None = learner.standing.halted
        if self.course.served is None and self.why_halted is None:
            version = learner.standing.frozen
            self.why_halted = f"the frozen version {version} cannot be made again here"
        self.loss: DataLoss | None = None
        """Records that are gone, where that halts learning."""
        self.journaled = seen(learner)
        """Nobody is told of more: a crash would take it back."""
        self._stuck: tuple[str, str] | None = None
        self._last_learned_s = 0.0
        self._fill_due = 0.0

    @property
    def learner(self) -> Learner:
        """What is learned."""
        return self.course.learner

    @property
    def may_learn(self) -> bool:
        """Neither paused nor halted."""
        return not self.learner.standing.paused and self.why_halted is None

    @property
    def limit(self) -> DeadLetterLimit:
        """How many bad events are too many."""
        return self._t.kafka.dead_letter_limit

    @property
    def state(self) -> str:
        """The state's name, as the contract spells it."""
        if self._stuck is not None:
            return self._stuck[0]
        if self.why_halted is not None:
            return "halted"
        if self.learner.standing.paused:
            return "paused"
        if self.learner.standing.frozen is not None:
            return "frozen"
        return "learning" if time.monotonic() - self._last_learned_s < _IDLE_S else "idle"

    def next_item(self, timeout_s: float) -> Item | None:
        """Return what the inbox has; None while nothing may be learned."""
        if not self.may_learn:
            return None
        if self._inbox is None:
            self._inbox = self._t.open_inbox(self.learner)
        began = time.monotonic()
        served = self.course.served
        wait_s = self._t.publisher.wait_s(served, timeout_s) if served else timeout_s
        item = self._inbox.get(wait_s)
        self._t.telemetry.spent("idle", time.monotonic() - began)
        return item

    def learned(self, step: Step, seconds: float) -> None:
        """Note that a cut is in the weights."""
        self._last_learned_s = time.monotonic()
        self._t.telemetry.learned(step, seconds)
        if self.learner.standing.frozen is None:
            self._t.publisher.learned(step.timestamps_ms)

    def bury(self, step: Step) -> None:
        """Have every event that was not learned acknowledged by the dead-letter topic."""
        if step.dead:
            self._t.burial.bury(step.dead, self.learner.standing, self._stick)
            crash.point("dlq_produced_before_cursor")
            self._stuck = None

    def journal_cut(self, step: Step, cut: Cut) -> None:
        """Write the cut's entry; from here on the version exists."""
        began, standing = time.monotonic(), self.learner.standing
        changed = new_epochs(standing, cut.epochs)
        entry = step.entry(adapts=self.learner.recipe.learning.adapt is not None) | {
            "at": time.time_ns() // 1_000_000,
            "next": nested(cut.next_offsets),
            "trigger": cut.trigger,
            "bad": bad_counts(standing),
        }
        self._append(entry | ({"epochs": nested(changed)} if changed else {}))
        self.journaled = seen(self.learner)
        self._t.tell_drift(step, standing.lineage)
        self._t.telemetry.metrics.counter("headwater_cuts_total").inc(1.0, cut.trigger)
        self._t.telemetry.spent("journal", time.monotonic() - began)

    def guard(self, step: Step, decoded: Decoded) -> None:
        """Have the guard look at the cut before it may be served, and do what it says; else what the
        rule about challengers says."""
        verdict = self.course.look(step, decoded.columns)
        if verdict is not None:
            self._do(verdict)
        elif self.course.follow_rule():
            self.serve_turn(save=False)

    def finish(self, seconds: float, over_limit: str | None) -> None:
        """Publish if it is time; halt if there were too many bad events."""
        self._publish_if_due()
        self._t.telemetry.metrics.histogram("headwater_cut_duration_seconds").observe(seconds)
        if over_limit is not None:
            self.halt(over_limit)

    def tick(self) -> None:
        """Whatever is due: publish, heartbeat, metrics, journal to the medium, snapshot."""
        self._publish_if_due()
        if self._t.publisher.beat_is_due:
            self._beat()
        self.course.tick()
        if (now := time.monotonic()) >= self._fill_due:
            self._t.telemetry.fill(self.learner, self._inbox)
            self._fill_due = now + _FILL_S
        try:
            offsets = self._t.keeper.tick(self.learner)
        except Unseen as error:
            self._stick("halted", f"nothing is written: {error}")
            return
        self._stuck = None
        self._t.shedding.tick(self)
        self.twin.tick(self.learner)
        if offsets is not None:
            self.commit(offsets)

    def add_partition(self, added: PartitionAdded) -> None:
        """Learn from a new partition, from its beginning."""
        place, standing = (added.topic, added.partition), self.learner.standing
        if place in standing.cursors:
            return
        standing.cursors[place] = added.start
        if added.topic not in standing.topic_ids:
            standing.topic_ids[added.topic] = self._t.topic_id(added.topic)
        ids = {added.topic: standing.topic_ids[added.topic]}
        crash.point("partition_added_before_journal")
        self.note("partition_added", topic=added.topic, partition=added.partition,
                   start=added.start, topic_ids=ids)  # fmt: skip
        crash.point("partition_added_journaled")

    def lose(self, loss: DataLoss) -> None:
        """Records are gone: halt, or skip what is gone, as the settings say."""
        self.stop_reading()
        if self._t.kafka.on_data_loss == "skip":
            self._t.losses.skip(loss, self.learner.standing, self.note)
            return
        self.loss = loss
        self.why_halted = self._t.losses.halt(loss, self.learner.standing)
        if self._t.exit_on_halt:
            raise DataLost(self.why_halted)

    def halt(self, reason: str) -> None:
        """Stop learning until an operator says resume; the API goes on answering."""
        self.learner.standing.halted = reason
        self.why_halted = reason
        self.note("halt", reason=reason)
        self.stop_reading()
        self._t.tell(GUARD, "halt", reason, (self.journaled.version, self.journaled.lineage))
        _log.error("halted", reason=reason)
        if self._t.exit_on_halt:
            raise Halted(reason)

    def status_now(self) -> dict[str, Any]:
        """Return the status between two cuts; for the loop."""
        self.journaled = seen(self.learner)
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return what the learner does, by what is journaled; may be asked from any thread."""
        said = {
            "state": self.state,
            "reason": self._reason,
            "version": self.journaled.version,
            "published_version": self._t.publisher.version,
            "frozen_version": self.learner.standing.frozen,
            "lag_records": self.lag,
            "shed": self._t.shedding.said(self.learner),
            "frozen_twin": self.twin.said,
        }
        return self._t.telemetry.status(self.journaled, self._inbox, said)

    def close(self) -> None:
        """End clean: a last snapshot, its offsets committed, no more reading."""
        self._publish_if_due()
        self.course.close()
        if self._t.keeper.is_saved(self.learner) or self._t.keeper.now(self.learner).manifest:
            self.commit(dict(self.learner.standing.cursors))
        self.stop_reading()
        self._t.keeper.journal.sync()
        self._t.telemetry.fill(self.learner, None)
        self.twin.show()
        self._t.publisher.beat(self.journaled.version, "down", "stopped", None)

    def _do(self, verdict: Verdict) -> None:
        why_halt = self.course.carry_out(verdict)
        if why_halt is not None:
            self.halt(why_halt)
        self.serve_turn()

    def begin_anew(self) -> None:
        """The cursors moved, or what is served changed: what kept learning from going on may be
        over. A loss that is still there is met again by whoever reads next."""
        self.loss, self.why_halted = None, self.learner.standing.halted

    def resume(self, by: str) -> None:
        """Learn again after a pause or a halt."""
        standing = self.learner.standing
        standing.paused, standing.halted, self.why_halted = False, None, None
        standing.bad_in_a_row = standing.bad_in_window = standing.seen_in_window = 0
        self.note("resume", by=by)

    def commit(self, offsets: Offsets) -> None:
        """Have offsets committed for lag tools, where something is read."""
        if self._inbox is not None:
            self._inbox.commit(offsets)

    def serve_turn(self, *, save: bool = True) -> None:
        """What is served changed: let it answer at once, then make it durable; save: where a replay
        of the journal would not lead there by itself."""
        self.journaled = seen(self.learner)
        self._beat()
        served = self.course.served
        if served is not None and served.is_fit():
            self._t.publisher.publish(served)
        if save:
            self.course.secure()

    def _publish_if_due(self) -> None:
        """Publish what is served, if it is new and fit: never anything that is not finite."""
        served = self.course.served
        if served is None or not self._t.publisher.is_due(served):
            return
        if (broken := served.unfit()) is None:
            self._t.publisher.publish(served)
        elif self.may_learn:
            why = f"the {broken} of version {served.standing.version} are not finite"
            if served is self.learner and served.state.serves != MAIN:
                self.course.promote(MAIN, GUARD, why)
                self.serve_turn(save=False)
            elif self._t.guard.loss == "act" and self.course.good is not None:
                self._do(Verdict("roll_back", why))
            else:
                self.halt(why)

    def note(self, kind: str, **rest: Any) -> None:
        """Journal an entry that is not a cut."""
        self.learner.standing.version += 1
        at = time.time_ns() // 1_000_000
        self._append({"version": self.learner.standing.version, "kind": kind, "at": at} | rest)
        self.journaled = seen(self.learner)

    def _append(self, entry: dict[str, Any]) -> None:
        def stuck(why: str) -> None:
            self._stick("halted", why)

        self._t.keeper.append(entry, stuck, self._t.should_stop)
        self._stuck = None

    @property
    def _reason(self) -> str | None:
        """Why nothing is learned, where something keeps us from it."""
        if self._stuck is not None:
            return self._stuck[1]
        away = self._inbox.away if self._inbox is not None else None
        return self.why_halted or away or self.course.why_frozen

    @property
    def lag(self) -> int | None:
        """Records that wait; None where nobody can tell."""
        if self._inbox is None or self._inbox.away is not None or self._stuck is not None:
            return None
        return sum(self._inbox.lag.values())

    def _beat(self) -> None:
        self._t.publisher.beat(self.journaled.version, self.state, self._reason, self.lag)

    def _stick(self, state: str, reason: str) -> None:
        """Say that the loop waits for something outside, in the middle of a cut."""
        self._stuck = (state, reason)
        self._beat()

    def stop_reading(self) -> None:
        """Let go of the source: who reads next begins where the cursors stand."""
        if self._inbox is not None:
            self._inbox.close()
            self._inbox = None
