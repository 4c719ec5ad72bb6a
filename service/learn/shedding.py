"""How much work is left out while learning is behind its stream, so that it catches up.

A mixture of experts can do less: see model/experts/rota.py. Behind means that what waits would take
longer than `after_s` to learn, at the pace of the last seconds. Each time one more work is left out; once
nearly nothing waits they are taken up again, the last one first, with more patience each time that this
was too soon. A decision is an entry of the journal, made between two cuts: a replay asks no clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from service.learn.learner import Learner
from service.metrics import Metrics

_log = structlog.get_logger(__name__)
LOOK_S = 0.25
"""Between two looks at the clock."""
PACE_S = 5.0
"""Over which the pace is averaged."""
SETTLE_S = 3.0
"""After a change, before the next work is left out: the pace must show what the last one gave."""
CALM_S, LONGEST_CALM_S = 10.0, 640.0
"""After a change, before a work is taken up again; twice as long each time that it had to be left out
again within a minute."""
SOON_S = 60.0
BACK = 0.1
"""Share of `after_s` below which works are taken up again."""
BUSY = 0.7
"""Share of the time that is spent working, not waiting for records, at least: else it is reading that is
slow, and to learn less would not help."""
_WORK = ("learn", "journal")
"""Phases of the loop that a record takes time in."""


class Pace:
    """How fast records are learned while there is something to learn. Knows no clock."""

    def __init__(self) -> None:
        self._records = self._worked_s = self._idle_s = 0.0

    def took(self, records: int, worked_s: float, idle_s: float) -> None:
        """So many records took so long; so long there were none."""
        kept = math.exp(-(worked_s + idle_s) / PACE_S)
        self._records = kept * self._records + max(records, 0)
        self._worked_s = kept * self._worked_s + worked_s
        self._idle_s = kept * self._idle_s + idle_s

    @property
    def is_busy(self) -> bool:
        """Most of the time goes by with learning."""
        return self._worked_s >= BUSY * (self._worked_s + self._idle_s) > 0.0

    def seconds_for(self, records: int) -> float:
        """Return how long so many records would take; NaN where nobody knows yet."""
        if records <= 0:
            return 0.0
        return records * self._worked_s / self._records if self._records > 0.5 else math.nan


class Effort:
    """Which level is right. Knows no clock: it is told the time."""

    def __init__(self, after_s: float, most: int) -> None:
        self._after_s = after_s
        self._most = most
        self._changed_s = self._lowered_s = -math.inf
        self._calm_s = CALM_S

    def level(self, now: int, behind_s: float, at_s: float, *, busy: bool) -> int:
        """Return the level that should follow on level `now`; the same where behind_s is NaN."""
        since = at_s - self._changed_s
        if behind_s > self._after_s and busy and now < self._most and since >= SETTLE_S:
            if at_s - self._lowered_s < SOON_S + self._calm_s:
                self._calm_s = min(2.0 * self._calm_s, LONGEST_CALM_S)
            self._changed_s = at_s
            return now + 1
        if behind_s < BACK * self._after_s and now > 0 and since >= self._calm_s:
            self._changed_s = self._lowered_s = at_s
            return now - 1
        if at_s - self._changed_s > LONGEST_CALM_S:
            self._calm_s = CALM_S
        return now


class Loop(Protocol):
    """What is looked at: the acts of the loop."""

    @property
    def learner(self) -> Learner: ...

    @property
    def may_learn(self) -> bool: ...

    @property
    def lag(self) -> int | None: ...

    def note(self, kind: str, **rest: Any) -> None: ...


class Shedding:
    """Looks at the loop now and then, and has it leave work out. after_s: None: never."""

    def __init__(
        self, after_s: float | None, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after_s, self._metrics, self._clock = after_s, metrics, clock
        self._effort: tuple[int, Effort] | None = None
        self._pace = Pace()
        self._before: tuple[int, float, float] | None = None
        self._due_s = -math.inf
        self.behind_s = math.nan
        """How long what waits would take; NaN: nobody knows."""

    def tick(self, loop: Loop) -> None:
        """Change the level by one, where it is time; between two cuts."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_S
        learner = loop.learner
        names, level = learner.sheds, learner.shed_level
        self._look(learner)
        lag = loop.lag if loop.may_learn else None
        self.behind_s = math.nan if lag is None else self._pace.seconds_for(lag)
        self._metrics.gauge("headwater_behind_seconds").set(self.behind_s)
        if not loop.may_learn:
            return
        wanted = 0
        if self._after_s is not None:
            if self._effort is None or self._effort[0] != len(names):  # another kind since
                self._effort = len(names), Effort(self._after_s, len(names))
            behind_s, busy = self.behind_s, self._pace.is_busy
            wanted = self._effort[1].level(level, behind_s, now_s, busy=busy)
        if wanted != level:
            self._change(loop, level, wanted)

    def _look(self, learner: Learner) -> None:
        """Take what was done since the last look. What the loop does beside learning and waiting (an
        order, a pause, a dead-letter topic that does not answer) is no pace."""
        spent = self._metrics.counter("headwater_learner_time_seconds_total")
        records = sum(learner.standing.records.values())
        worked_s, idle_s = sum(map(spent.get, _WORK)), spent.get("idle")
        if self._before is not None:
            before, worked_before_s, idle_before_s = self._before
            self._pace.took(records - before, worked_s - worked_before_s, idle_s - idle_before_s)
        self._before = records, worked_s, idle_s

    def _change(self, loop: Loop, before: int, level: int) -> None:
        names = loop.learner.sheds
        loop.learner.shed(level)
        loop.note("shed", level=level, behind_seconds=self._behind)
        what = (
            {"left_out": names[before:level]}
            if level > before
            else {"taken_up": names[level:before]}
        )
        _log.warning(
            "work_is_left_out" if level > before else "work_is_taken_up_again",
            **what, shed_level=level, behind_seconds=self._behind,
        )  # fmt: skip

    @property
    def _behind(self) -> float | None:
        return None if math.isnan(self.behind_s) else round(self.behind_s, 1)

    def said(self, learner: Learner) -> dict[str, Any] | None:
        """Return what `status` shows; None where nothing can be left out."""
        if not learner.sheds:
            return None
        left_out = list(learner.sheds[: learner.shed_level])
        return {"level": learner.shed_level, "left_out": left_out, "behind_seconds": self._behind}
