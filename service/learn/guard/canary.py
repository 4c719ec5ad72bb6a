"""The canary set: recent labelled events, scored anew by the weights that are about to be served.

They were learned already, so a version that does badly on them has lost what it knew. Kept in
memory only and filled again after a start: what follows from it is journaled. Pure.
"""

from __future__ import annotations

import math

import numpy as np

from service.events.decode import Columns
from service.learn.guard.watch import Losses
from service.learn.learner import Learner

MOST = 256
LEAST = 128
"""Fewer events than this prove nothing."""
_EVERY = 20
"""One of so many labelled events is taken in."""
_GRACE = 10
"""Checks before the first alarm."""
_RISE = 1.5
_ERRORS = 4.0


class Canary:
    """A ring of events, and the loss that is usual on it."""

    def __init__(self, learner: Learner) -> None:
        schema = learner.recipe.schema
        self._ring = Columns(
            np.empty((MOST, schema.values)),
            np.empty((MOST, schema.coded), dtype=np.uint64),
            (),
            np.full((MOST, len(schema.targets)), np.nan),
            np.full(MOST, -1, dtype=np.int64),
            np.zeros(MOST, dtype=np.uint64),
        )
        self._taken = 0
        self._seen = 0
        self._checks = 0
        self._usual = 0.0

    def take(self, columns: Columns) -> None:
        """Take some of a cut's events in; the oldest go."""
        labelled = np.flatnonzero(~np.isnan(columns.targets).all(axis=1))
        chosen = labelled[(-self._seen) % _EVERY :: _EVERY]
        self._seen += len(labelled)
        chosen = chosen[-MOST:]
        at = (self._taken + np.arange(len(chosen))) % MOST
        self._taken += len(chosen)
        self._ring.numbers[at] = columns.numbers[chosen]
        self._ring.codes[at] = columns.codes[chosen]
        self._ring.targets[at] = columns.targets[chosen]

    def scores(self, learner: Learner) -> tuple[Losses, Losses] | None:
        """Return scores [K, O] by the learner's weights and labels [K, T]; None with too few."""
        held = min(self._taken, MOST)
        if held < LEAST:
            return None
        ring = self._ring
        columns = Columns(
            ring.numbers[:held], ring.codes[:held], (), ring.targets[:held],
            ring.times_ms[:held], ring.keys[:held],
        )  # fmt: skip
        return learner.score(columns), columns.targets

    def judge(self, losses: Losses) -> str | None:
        """Return why the version that gives these losses [K] must not be served; None: it may."""
        losses = losses[np.isfinite(losses)]
        if len(losses) < LEAST // 2:
            return None
        mean = float(losses.mean())
        error = float(losses.std()) / math.sqrt(len(losses))
        self._checks += 1
        if self._checks <= _GRACE:
            self._usual += (mean - self._usual) / self._checks
            return None
        if mean > _RISE * self._usual and mean - self._usual > _ERRORS * error:
            return (
                f"the loss on {len(losses)} canary events is {mean:.4g}, usually {self._usual:.4g}"
            )
        self._usual += 0.05 * (mean - self._usual)
        return None

    def clear(self) -> None:
        """Begin anew: the events that are kept aside tell of a world that is gone."""
        self._taken = self._seen = self._checks = 0
        self._usual = 0.0
        self._ring.targets[:] = np.nan
