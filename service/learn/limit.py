"""When bad events are too many to be bad luck: counting, and ending a cut where they are.

Pure. Events are counted in the order in which their records were taken.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from service.learn.inbox import Ready
from service.learn.learner import Learner, Step
from service.learn.standing import Standing
from service.settings import DeadLetterLimit
from service.stream.records import Cut, Offsets


def count(standing: Standing, limit: DeadLetterLimit, bad: Iterable[bool]) -> int | None:
    """Take events in order; return how many were taken when the limit was reached, else None.

    Counting stops there. The limit: so many bad ones in a row, or more than a share of a window.
    """
    for taken, is_bad in enumerate(bad, start=1):
        standing.bad_in_a_row = standing.bad_in_a_row + 1 if is_bad else 0
        if limit.window:
            standing.seen_in_window += 1
            standing.bad_in_window += is_bad
        over = 0 < limit.consecutive <= standing.bad_in_a_row
        if limit.window:
            over = over or 0 < limit.ratio * limit.window < standing.bad_in_window
            if standing.seen_in_window >= limit.window:
                standing.seen_in_window = standing.bad_in_window = 0
        if over:
            return taken
    return None


def count_good(standing: Standing, limit: DeadLetterLimit, events: int) -> None:
    """Take so many good events: what `count` does with them, without a loop."""
    if events:
        standing.bad_in_a_row = 0
    if limit.window:
        standing.seen_in_window += events
        if standing.seen_in_window >= limit.window:
            standing.seen_in_window %= limit.window
            standing.bad_in_window = 0


def within(ready: Ready, learner: Learner, most: DeadLetterLimit) -> tuple[Ready, str | None]:
    """Count a cut's events; return it, ended at the record that reached the limit, and why."""
    standing, decoded = learner.standing, ready.decoded
    if not decoded.faults:
        count_good(standing, most, len(decoded.columns))
        return ready, None
    good = np.bincount(decoded.record, minlength=len(ready.cut.records))
    bad = np.bincount([record for record, _, _ in decoded.faults], minlength=len(good))
    for taken, at in enumerate(ready.cut.selection, start=1):
        flags = [True] * int(bad[at]) + [False] * int(good[at])
        if count(standing, most, flags) is not None:
            why = (
                f"too many bad events: {standing.bad_in_a_row} in a row, "
                f"{standing.bad_in_window} of the last {standing.seen_in_window}; "
                f"the last: {decoded.faults[-1][2].msg}"
            )
            cut = first_of(ready.cut, taken)
            return Ready(cut, learner.decode(cut.records)), why
    return ready, None


def too_many_broken(step: Step, learner: Learner, most: DeadLetterLimit) -> str | None:
    """Count the events that changed nothing because they gave no finite numbers; return why to
    halt, if they are too many."""
    broken = [True] * step.counts.get("quarantined/not_finite", 0)
    over = count(learner.standing, most, broken) is not None
    return "too many events gave scores that are not finite" if over else None


def first_of(cut: Cut, taken: int) -> Cut:
    """Return the cut of the first `taken` records in the order they were taken."""
    kept = sorted(cut.selection[:taken])
    ends: Offsets = {}
    for at in kept:
        record = cut.records[at]
        place = (record.topic, record.partition)
        ends[place] = max(ends.get(place, 0), record.offset + 1)
    moved = {at: new for new, at in enumerate(kept)}
    return Cut(
        [cut.records[at] for at in kept], ends, cut.trigger,
        [moved[at] for at in cut.selection[:taken]],
        {place: epoch for place, epoch in cut.epochs.items() if place in ends},
    )  # fmt: skip
