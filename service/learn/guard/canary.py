"""The canary set: recent labelled events, scored anew by the weights that are about to be served.

They were learned already, so a version that does badly on them has lost what it knew. Kept in
memory only and filled again after a start: what follows from it is journaled. Pure.
"""

from __future__ import annotations

import math

import numpy as np

from service.events.columns import Columns, blank, join, take
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
    """The last events that were taken in, and the loss that is usual on them."""

    def __init__(self, learner: Learner) -> None:
        self._held = blank(learner.recipe.schema)
        self._seen = 0
        self._checks = 0
        self._usual = 0.0

    def take(self, columns: Columns) -> None:
        """Take some of a cut's events in; the oldest go."""
        labelled = np.flatnonzero(~np.isnan(columns.targets).all(axis=1))
        chosen = labelled[(-self._seen) % _EVERY :: _EVERY][-MOST:]
        self._seen += len(labelled)
        if not len(chosen):
            return
        gone = max(0, len(self._held) + len(chosen) - MOST)
        kept = np.arange(gone, len(self._held))
        self._held = join([take(self._held, kept), take(columns, chosen)])

    def scores(self, learner: Learner) -> tuple[Losses, Losses] | None:
        """Return scores [K, O] by the learner's weights and labels [K, T]; None with too few."""
        if len(self._held) < LEAST:
            return None
        return learner.score(self._held), self._held.targets

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
        self._seen = self._checks = 0
        self._usual = 0.0
        self._held = take(self._held, np.empty(0, dtype=np.int64))
