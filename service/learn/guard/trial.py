"""The trial: a frozen version and the shadow that went on learning, on the same fresh events.

Each event is scored by both before the shadow learns it. Windows are compared by the mean of the
paired differences and its standard error. Pure: time is the timestamps of records.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.settings import GuardSettings

Outcome = Literal["adopt", "roll_back"]


class Trial:
    """One trial, from the freeze to a decision."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._began_ms: int | None = None
        self._n, self._sum, self._squares = 0, 0.0, 0.0
        self._fit, self._unfit, self._overdue, self.windows = 0, 0, 0, 0
        self.said = "no window is full yet"
        """How the last window came out."""

    def take(
        self, shadow: NDArray[np.float64], frozen: NDArray[np.float64], newest_ms: int
    ) -> Outcome | None:
        """Take the losses [N] of the same events under both; return the decision, if there is one.

        newest_ms: timestamp of the newest record; -1 where there is none.
        """
        if self._began_ms is None and newest_ms >= 0:
            self._began_ms = newest_ms
        apart = shadow - frozen
        apart = apart[np.isfinite(apart)]
        self._n += len(apart)
        self._sum += float(apart.sum())
        self._squares += float((apart * apart).sum())
        if self._n < self._settings.window_events:
            return None
        return self._close(newest_ms)

    def _close(self, newest_ms: int) -> Outcome | None:
        mean = self._sum / self._n
        error = math.sqrt(max(self._squares / self._n - mean * mean, 0.0) / self._n)
        self.windows += 1
        self.said = f"the shadow's loss is {mean:+.4g} (standard error {error:.2g}) apart"
        self._n, self._sum, self._squares = 0, 0.0, 0.0
        settings = self._settings
        if mean > 2.0 * error:
            self._fit, self._unfit = 0, self._unfit + 1
        else:
            self._unfit = 0
            if mean <= error:
                self._fit += 1
        if self._unfit >= settings.rollback_windows:
            return "roll_back"
        long_enough = (
            self._began_ms is not None
            and newest_ms - self._began_ms >= 1000.0 * settings.adopt_seconds
        )
        if not long_enough and newest_ms >= 0:
            return None
        self._overdue += 1
        if self._fit >= settings.adopt_windows:
            return "adopt"
        return "roll_back" if self._overdue >= settings.undecided_windows else None
