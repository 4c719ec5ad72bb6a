"""What follows from watch, canary and trial: freeze, adopt, roll back; and to which version.

Keeps two copies of weights that raised no suspicion, the newer and the older: when an alarm comes,
the newer may have seen the beginning of what is wrong, the older has not. Decides nothing that
weights depend on by itself: its verdicts are journaled by whoever carries them out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
import structlog

from service.events.decode import Columns
from service.learn.guard.canary import Canary
from service.learn.guard.trial import Trial
from service.learn.guard.watch import Losses, Watch
from service.learn.learner import Learner, Step
from service.metrics import Metrics
from service.settings import GuardSettings

_log = structlog.get_logger(__name__)
_COPY_SHARE = 0.02
"""Largest share of the time that may go into copies."""


class Verdict(msgspec.Struct):
    """What is to be done. `to`: the state to serve, for a freeze."""

    kind: Literal["freeze", "adopt", "roll_back"]
    reason: str
    to: Learner | None = None


class Judge:
    """Looks at every cut after it is learned and before it may be served."""

    def __init__(
        self,
        settings: GuardSettings,
        learner: Learner,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        saved = learner.standing.watch or None
        self._watch = Watch(learner.recipe.schema, settings.block_events, saved)
        self._clock = clock
        self._canary = Canary(learner)
        self._trial: Trial | None = None
        self._older: Learner | None = None
        self._newer: Learner | None = None
        if self.acts and not self._watch.suspicious:
            self._newer = learner.copy()
        self._copy_due_s = float("-inf")
        self._copied_events = 0
        self._events = 0
        self._checked_events = 0

    @property
    def acts(self) -> bool:
        """Whether anything but words may follow from an alarm."""
        return "act" in (self.settings.loss, self.settings.canary)

    @property
    def oldest_good(self) -> int | None:
        """The oldest version that a freeze may go back to; the way to it must be kept."""
        good = self.good()
        return None if good is None else good.standing.version

    def good(self) -> Learner | None:
        """Return the newest state that is above suspicion for certain."""
        return self._older or self._newer

    def take(
        self, learner: Learner, step: Step, columns: Columns, frozen: Learner | None
    ) -> Verdict | None:
        """Look at one cut that `learner` has just learned; `frozen` is what is served instead."""
        if (self.settings.loss, self.settings.canary) == ("off", "off"):
            return None
        losses = self._watch.losses(step.scores, step.labels)
        self._events += int(np.isfinite(losses).sum())
        if frozen is not None:
            return self._try(step, columns, losses, frozen)
        loss_alarm = self._watch.take(losses)
        if not self._watch.suspicious:
            self._watch.grow_scales(step.scores, step.labels)
        learner.standing.watch = self._watch.saved()
        canary_alarm = self._check_canary(learner, columns, bool(loss_alarm))
        for by, alarm, mode in (
            ("loss", loss_alarm, self.settings.loss),
            ("canary", canary_alarm, self.settings.canary),
        ):
            if alarm is None or mode == "off":
                continue
            self.metrics.counter("headwater_guard_alarms_total").inc(1.0, by)
            _log.warning("guard_alarm", by=by, why=alarm, version=step.version, acts=mode == "act")
            if mode == "act":
                return Verdict("freeze", alarm, self.good())
            if by == "loss":
                self._watch.begin_again()
        if usual := self._watch.usual:
            self.metrics.gauge("headwater_guard_usual_loss").set(usual)
        self.metrics.gauge("headwater_guard_suspicion").set(self._watch.height)
        self._copy_if_due(learner)
        return None

    def froze(self, *, by_guard: bool) -> None:
        """A version is frozen; the guard decides about its own freezes only."""
        self._trial = Trial(self.settings) if by_guard else None

    def ended(self, learner: Learner, *, adopted: bool) -> None:
        """The freeze is over, or the state went back: it is good for as much as anybody knows, and
        what was kept aside before is of another history."""
        self._trial = None
        self._older = None
        self._newer = learner.copy() if self.acts else None
        self._copied_events = self._events
        if adopted:
            self._watch.begin_again()
            self._canary.clear()
        else:
            self._watch.calm()

    def _try(self, step: Step, columns: Columns, losses: Losses, frozen: Learner) -> Verdict | None:
        if self._trial is None:
            return None
        frozen_losses = self._watch.losses(frozen.score(columns), step.labels)
        outcome = self._trial.take(losses, frozen_losses, self._clock())
        if outcome is None:
            return None
        why = f"after {self._trial.windows} windows {self._trial.said}"
        return Verdict(outcome, why)

    def _check_canary(self, learner: Learner, columns: Columns, alarmed: bool) -> str | None:
        if self.settings.canary == "off":
            return None
        alarm = None
        if self._events - self._checked_events >= self.settings.window_events:
            self._checked_events = self._events
            alarm = self._judge_canary(learner)
        if alarm is None and not alarmed and not self._watch.suspicious:
            self._canary.take(columns)
        elif alarm is not None and self.settings.canary == "observe":
            self._canary.clear()
        return alarm

    def _judge_canary(self, learner: Learner) -> str | None:
        scored = self._canary.scores(learner)
        if scored is None:
            return None
        return self._canary.judge(self._watch.losses(*scored))

    def _copy_if_due(self, learner: Learner) -> None:
        """Keep a copy of weights that raise no suspicion, as often as it costs next to nothing."""
        if (
            not self.acts
            or self._watch.suspicious
            or self._events - self._copied_events < self.settings.window_events
            or self._clock() < self._copy_due_s
            or not learner.is_fit()
        ):
            return
        began, self._copied_events = self._clock(), self._events
        spare = self._older
        self._older = self._newer
        self._newer = learner.copy(into=spare)
        ended = self._clock()
        self._copy_due_s = ended + (ended - began) / _COPY_SHARE
