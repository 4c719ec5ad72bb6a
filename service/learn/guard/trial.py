"""The trial: a frozen version and the shadow that went on learning, on the same fresh events.

Each event is scored by both before the shadow learns it. Windows are compared by the mean of the
paired differences, its standard error and its size: a difference that does not matter decides
nothing, however sure. Knows no clock: it is told the time.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.settings import GuardSettings

_MATTERS = 0.1
"""The shadow is clearly worse when its loss is higher by this share of the frozen one's."""
_SURE = 3.0
"""And by so many standard errors."""
Outcome = Literal["adopt", "roll_back"]


class Trial:
    """One trial, from the freeze to a decision."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._began_s: float | None = None
        self._n, self._sum, self._squares, self._frozen = 0, 0.0, 0.0, 0.0
        self._fit, self._unfit, self._overdue, self.windows = 0, 0, 0, 0
        self.said = "no window is full yet"
        """How the last window came out."""

    def take(
        self, shadow: NDArray[np.float64], frozen: NDArray[np.float64], now_s: float
    ) -> Outcome | None:
        """Take the losses [N] of the same events under both; return the decision, if there is one.

        now_s: seconds on any clock that only goes on.
        """
        if self._began_s is None:
            self._began_s = now_s
        apart = shadow - frozen
        known = np.isfinite(apart)
        apart = apart[known]
        self._frozen += float(frozen[known].sum())
        self._n += len(apart)
        self._sum += float(apart.sum())
        self._squares += float((apart * apart).sum())
        if self._n < self._settings.window_events:
            return None
        return self._close(now_s - self._began_s)

    def _close(self, lasted_s: float) -> Outcome | None:
        worth = _MATTERS * self._frozen / self._n
        mean = self._sum / self._n
        error = math.sqrt(max(self._squares / self._n - mean * mean, 0.0) / self._n)
        self.windows += 1
        self.said = f"the shadow's loss is {mean:+.4g} (standard error {error:.2g}) apart"
        self._n, self._sum, self._squares, self._frozen = 0, 0.0, 0.0, 0.0
        settings = self._settings
        if mean > _SURE * error and mean > worth:
            self._fit, self._unfit = 0, self._unfit + 1
        else:
            self._unfit = 0
            if mean <= max(error, 0.2 * worth):
                self._fit += 1
        if self._unfit >= settings.rollback_windows:
            return "roll_back"
        if lasted_s < settings.adopt_seconds:
            return None
        self._overdue += 1
        if self._fit >= settings.adopt_windows:
            return "adopt"
        return "roll_back" if self._overdue >= settings.undecided_windows else None
