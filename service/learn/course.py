"""The course of history: what is learned, what is served, and its turns, ordered or on alarm.

Usually both are one state. While a version is frozen it is served, and learning goes on in the
shadow. Order of a turn: journaled, then served, then saved; until its snapshot is durable, nothing
that leads to it is removed. Called from the loop's thread.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import structlog

from service import crash
from service.errors import LayoutChanged
from service.events.decode import Columns
from service.learn import turns
from service.learn.commands import Refused
from service.learn.guard.judge import Judge, Verdict
from service.learn.history import Entry
from service.learn.keeping import Keeper
from service.learn.learner import Learner, Step
from service.learn.saving import Saved
from service.learn.standing import GUARD, RULE

_log = structlog.get_logger(__name__)
_AGAIN_S = 5.0


class Told(Protocol):
    """Called after a turn, with who made it, what it was, why, and the version and lineage that it
    made; for the audit log."""

    def __call__(self, by: str, turn: str, why: str, made: tuple[int, str]) -> None: ...


class Course:
    """The learner, what is served of it, and the guard that watches over both."""

    def __init__(
        self,
        learner: Learner,
        frozen: Learner | None,
        judge: Judge,
        keeper: Keeper,
        append: Callable[[Entry], None],
        tell: Told,
    ) -> None:
        self.learner = learner
        self._frozen = frozen
        self._keeper = keeper
        self._append = append
        self._tell = tell
        self._judge = judge
        self._unsaved = False
        """A turn was made that no snapshot holds yet."""
        self._again_s = 0.0
        self._turn = self._left = 0
        """Which turn is being saved, and how many states of it are not yet."""
        self._failed = False
        self._answers = learner.state.serves
        if learner.standing.frozen is not None:
            self._judge.froze(by_guard=learner.standing.frozen_by == GUARD)
        self._keeper.reach(self._needed())
        self._show()

    @property
    def served(self) -> Learner | None:
        """Whose version answers; None: a frozen one that this process could not make again, so the
        live file is left as it is."""
        return self.learner if self.learner.standing.frozen is None else self._frozen

    @property
    def why_frozen(self) -> str | None:
        """What is said about a freeze; None when nothing is frozen."""
        s = self.learner.standing
        if s.frozen is None:
            return None
        return f"frozen at version {s.frozen} by the {s.frozen_by}: {s.frozen_why}"

    def look(self, step: Step, columns: Columns) -> Verdict | None:
        """Have the guard look at a cut that was just learned and journaled."""
        self._look_who_failed(step)
        self._look_who_answers()
        verdict = self._judge.take(self.learner, step, columns, self._frozen)
        self._keeper.reach(self._needed())
        return verdict

    @property
    def good(self) -> Learner | None:
        """The newest state kept in memory that raised no suspicion, or what is frozen."""
        return self._frozen or self._judge.good()

    def freeze(self, to: Learner | None, by: str, why: str) -> None:
        """Serve `to` (None: the present state) from now on."""
        self._hold()
        self._frozen = turns.freeze(self.learner, to, by, why, self._append)
        self._judge.froze(by_guard=by == GUARD)
        self._turned(by, "freeze", why)

    def unfreeze(self, by: str, why: str) -> None:
        """Serve what is learned again."""
        turns.unfreeze(self.learner, by, why, self._append)
        self._frozen = None
        self._judge.ended(self.learner, adopted=True)
        self._turned(by, "unfreeze", why)

    def promote(self, name: str, by: str, why: str) -> None:
        """Have another of the models answer from now on."""
        turns.promote(self.learner, name, by, why, self._append)
        self._judge.metrics.counter("headwater_promotions_total").inc(1.0, by)
        self._look_who_answers()
        self._turned(by, "promote", why)

    def follow_rule(self) -> bool:
        """Do what the rule about challengers says, if it says something now; return whether."""
        due = self.learner.due() if self.learner.standing.frozen is None else None
        if due is None or self.learner.unfit(due[0]) is not None:
            return False
        self.promote(due[0], RULE, due[1])
        return True

    def _look_who_failed(self, step: Step) -> None:
        """Challengers began again; where one of them answered, the main one does by now."""
        for name, how in step.failed.items():
            _log.warning("challenger_failed", challenger=name, how=how, version=step.version)
        if self._answers in step.failed:
            self._judge.metrics.counter("headwater_promotions_total").inc(1.0, GUARD)
            why = f"{self._answers} failed: {step.failed[self._answers]}"
            self._tell(GUARD, "promote", why, (step.version, self.learner.standing.lineage))

    def _look_who_answers(self) -> None:
        """Another model answers: what was usual of the one before says nothing about it."""
        serves = self.learner.state.serves
        if serves != self._answers and self._frozen is None:
            self._judge.ended(self.learner, adopted=True)
        self._answers = serves

    def roll_back(self, to: Learner, skip: turns.Skip | None, by: str, why: str) -> None:
        """Go on from the state of `to`. Raises Refused where it does not fit the settings."""
        self._hold()
        try:
            self.learner = turns.roll_back(self.learner, to, skip, by, why, self._append)
        except LayoutChanged as error:
            raise Refused(str(error)) from None
        crash.point("rollback_before_pointer_flip")
        self._frozen = None
        another = self.learner.state.serves != self._answers
        self._judge.ended(self.learner, adopted=another)
        self._answers = self.learner.state.serves
        self._judge.metrics.counter("headwater_rollbacks_total").inc(1.0, by)
        self._turned(by, "rollback", why)

    def carry_out(self, verdict: Verdict) -> str | None:
        """Do what the guard says; return why to halt, where that follows."""
        match verdict.kind:
            case "freeze":
                self.freeze(verdict.to, GUARD, verdict.reason)
            case "adopt" if np.isfinite(self.learner.state.answering.theta).all():
                self.unfreeze(GUARD, verdict.reason)
            case "adopt" | "roll_back" if (good := self.good) is not None:
                return self.roll_back_by_guard(good, verdict.reason)
            case _:
                return f"{verdict.reason}; there is no earlier state in memory to go back to"
        return None

    def roll_back_by_guard(self, to: Learner, why: str) -> str | None:
        """Go back to `to` and skip what was learned since; return why to halt, if that was once
        too often."""
        standing, settings = self.learner.standing, self._judge.settings
        now = int(self.learner.state.outcomes.sum())
        recent = [at for at in standing.rollbacks if now - at < settings.within_events]
        standing.rollbacks = [*recent, now]
        self.roll_back(to, turns.skip_all(self.learner, to), GUARD, why)
        if len(recent) < settings.most_rollbacks:
            return None
        return (
            f"the guard rolled back {len(recent) + 1} times within {settings.within_events} "
            f"events (guard.most_rollbacks is {settings.most_rollbacks}); the last time: {why}"
        )

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Nothing that a turn could need is removed within; what it needs is kept until it is saved."""
        self._keeper.hold()
        try:
            yield
        finally:
            if not self._unsaved:
                self._keeper.release()

    def _hold(self) -> None:
        self._keeper.hold()
        self._unsaved = True

    def tick(self) -> None:
        """Try again to save what a turn made, where that failed."""
        if self._unsaved and not self.is_saving and time.monotonic() >= self._again_s:
            self.secure()

    @property
    def is_saving(self) -> bool:
        """What the last turn made is going to disk while learning goes on."""
        return self._left > 0

    def secure(self) -> None:
        """After a turn was served: have it saved, so that a restart need not find the way again.
        Until then nothing is removed, and `tick` tries again where it fails."""
        self._keeper.reach(self._needed())
        self._unsaved, self._failed = True, False
        self._turn += 1
        states = [None] if self._frozen is None else [self._frozen, None]
        self._left = len(states)
        done = functools.partial(self._secured, self._turn)
        for state in states:
            self._keeper.ask(done, state)

    def close(self) -> None:
        """End clean: what is frozen is saved, where that is still to be done. The loop saves what
        is learned."""
        if self._unsaved and self._frozen is not None:
            self._keeper.now(self._frozen)

    def _secured(self, turn: int, saved: Saved) -> None:
        if turn != self._turn:
            return  # there was another turn since, which is waited for
        self._left -= 1
        if saved.error is not None:
            self._failed = True
            _log.error("turn_not_saved", version=saved.version, error=saved.error)
        if self._left == 0:
            self._unsaved, self._again_s = self._failed, time.monotonic() + _AGAIN_S
            if not self._failed:
                self._keeper.release()

    def _needed(self) -> tuple[int, ...]:
        needed = (self.learner.standing.frozen, self._judge.oldest_good)
        return tuple(version for version in needed if version is not None)

    def _turned(self, by: str, turn: str, why: str) -> None:
        _log.warning("turn", turn=turn, by=by, why=why, version=self.learner.standing.version)
        self._show()
        self._tell(by, turn, why, (self.learner.standing.version, self.learner.standing.lineage))

    def _show(self) -> None:
        frozen = self.learner.standing.frozen
        gauge = self._judge.metrics.gauge("headwater_frozen_version")
        gauge.set(float("nan") if frozen is None else float(frozen))
