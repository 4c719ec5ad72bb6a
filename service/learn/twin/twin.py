"""When a twin is frozen, how much it may cost, and what is said of it. For the loop's thread.

The twin is a copy of what was learned at the first cut with `learning.frozen_after` events in the
weights: what one would have who had trained once and stopped. It scores some events of each cut,
and takes no more of the loop's time than a small share: under a full load it leaves out cuts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from service.events.columns import Columns
from service.learn.learner import Learner, Step
from service.learn.twin.kept import Kept
from service.learn.twin.paired import MODELS, Paired
from service.metrics import Metrics

_log = structlog.get_logger(__name__)
ROWS = 128
"""Most events of one cut that are scored."""
SHARE = 0.02
"""Of the loop's time."""
_SAVED_S = 0.02
"""Seconds of scoring that a quiet time can save up."""
_SHOW_S = 0.5
_AGAIN_S = 60.0
OTHER_HISTORY, NOT_SCORED = "other_history", "not_scored"


class Twin:
    """The frozen twin of one learner process. after: None switches it off; kept: None: in memory."""

    def __init__(
        self,
        after: int | None,
        metrics: Metrics,
        kept: Kept | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._after = after
        self._metrics = metrics
        self._kept = kept
        self._clock = clock
        self._copy: Paired | None = None
        self._seen_s = clock()
        self._left_s = _SAVED_S
        self._show_due = self._write_due = 0.0

    @property
    def said(self) -> dict[str, int] | None:
        """What the status says of it; may be asked from any thread."""
        copy = self._copy
        return None if copy is None else {"version": copy.version, "events": copy.events}

    def open(self, learner: Learner) -> None:
        """Take the twin of an earlier process, if there is one that fits; its figures begin anew."""
        if self._after is not None and self._kept is not None:
            self._copy = self._kept.read(learner.layout)

    def tick(self, learner: Learner) -> None:
        """Between two cuts: drop it, freeze one, write it, say how it does, whatever is due."""
        if self._after is None:
            return
        learned, now = learner.events_learned, self._clock()
        if self._copy is not None and learned < self._copy.events:
            self._drop(learned)
        young = self._copy is None or self._copy.events < self._after
        sound = learner.standing.frozen is None  # else the guard has its doubts, or an operator
        if young and learned >= self._after and sound and learner.is_fit():
            self._freeze(learner)
            self._write_due = now
        if now >= self._write_due:
            self._write(now)
        if now >= self._show_due:
            self._show_due = now + _SHOW_S
            self.show()

    def compare(self, step: Step, columns: Columns) -> None:
        """Score some events of a cut that was just learned, if there is time for it."""
        if self._copy is None or not len(columns):
            return
        began = self._clock()
        self._left_s = min(self._left_s + SHARE * (began - self._seen_s), _SAVED_S)
        self._seen_s = began
        if self._left_s <= 0.0:
            return
        try:
            self._copy.compare(step, columns, ROWS)
        except Exception as error:  # noqa: BLE001 - a user's forward may raise anything
            self._give_up(error)
        spent = self._clock() - began
        self._left_s -= spent
        self._metrics.counter("headwater_learner_time_seconds_total").inc(spent, "twin")

    def show(self) -> None:
        """Fill its metrics; of one that is gone nothing is shown."""
        copy = self._copy
        events = self._metrics.gauge("headwater_twin_events_learned")
        events.set(float("nan") if copy is None else float(copy.events))
        for target, reports in (copy.report() if copy is not None else {}).items():
            for model in MODELS:
                self._show(target, model, reports[model])

    def close(self) -> None:
        """Finish what was begun to be written."""
        if self._kept is not None:
            self._kept.close()

    def _show(self, target: str, model: str, report: dict[str, Any]) -> None:
        score = self._metrics.gauge("headwater_score")
        for window, key in (("cumulative", "metrics"), ("fading", "fading")):
            for metric, value in report[key].items():
                known = float("nan") if value is None else value
                score.set(known, target, metric, window, model)

    def _freeze(self, learner: Learner) -> None:
        try:
            self._copy = Paired.of(learner)
        except Exception as error:  # noqa: BLE001 - no memory, or a user's module that will not
            self._give_up(error)
            return
        _log.info("twin_frozen", version=self._copy.version, events=self._copy.events)

    def _give_up(self, error: Exception) -> None:
        """Have no twin any more in this process: learning must not suffer from it."""
        _log.error("twin_given_up", error=repr(error), note="learning goes on without it")
        self._metrics.counter("headwater_twin_failures_total").inc(1.0, NOT_SCORED)
        self._after = None
        self._forget()

    def _forget(self) -> None:
        """Be without a twin, and show nothing of it."""
        if self._copy is not None:
            self._copy.forget()
            self.show()
        self._copy = None
        self.show()

    def _drop(self, learned: int) -> None:
        """Forget a twin that knows events which history, as it is now, has still to come to."""
        assert self._copy is not None, "there is one"
        _log.warning("twin_dropped", version=self._copy.version, events=self._copy.events,
                     why=f"learning went back to {learned} events")  # fmt: skip
        self._metrics.counter("headwater_twin_failures_total").inc(1.0, OTHER_HISTORY)
        self._forget()

    def _write(self, now: float) -> None:
        kept, copy = self._kept, self._copy
        self._write_due = now + _AGAIN_S
        if kept is None or copy is None or kept.written is copy:
            return
        if kept.busy:  # an older one
            self._write_due = now
            return
        kept.write(copy)
