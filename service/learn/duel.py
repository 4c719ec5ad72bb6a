"""When a challenger takes over by itself: it was better than the model that answers, window after
window, by more than chance and by enough to matter. Knows no clock: windows are counted in events.

What it knows of one model that could take over are six numbers of the state: events in the open
window; the sums of how much less it lost, of the squares of that, and of what the answering model
lost; windows in a row that it won; how much less it lost in the last one, as a share. A model that
sits out, or gives a score that is not finite, wins no window.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Target
from service.settings import METRICS, PromoteSettings

_N, _GAIN, _SQUARES, _LOST, WON, SHARE = range(6)
_TINY = 1e-7
_LOSS = {"accuracy": "share of wrong answers", "rmse": "mean squared error"}
"""What is less where a metric is better, if that is not the metric itself."""


def losses(
    target: Target, metric: str, scores: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what each event cost: [N] of scores [N, O] and labels [N]. Less is better."""
    if target.kind == "number":
        error = scores[:, target.start] - y
        return np.abs(error) if metric == "mae" else error * error
    block = scores[:, target.start : target.start + target.outputs]
    if target.kind == "binary":
        block = np.column_stack((1.0 - block[:, 0], block[:, 0]))
    right = np.take_along_axis(block, np.nan_to_num(y).astype(np.int64)[:, None], axis=1)[:, 0]
    known = np.isfinite(block).all(axis=1)
    if metric == "accuracy":
        wrong = np.argmax(block, axis=1) != y
        return np.where(known, wrong.astype(np.float64), np.nan)
    with np.errstate(invalid="ignore"):
        cost: NDArray[np.float64] = np.where(known, -np.log(np.maximum(right, _TINY)), np.nan)
    return cost


class Rule:
    """The rule of one recipe's settings. Holds no state."""

    def __init__(self, settings: PromoteSettings, targets: tuple[Target, ...]) -> None:
        self._settings = settings
        names = [t.name for t in targets]
        self.at = 0 if settings.target is None else names.index(settings.target)
        self.target = targets[self.at]
        self._metric = settings.metric or METRICS[self.target.kind][0]

    def losses(
        self, scores: NDArray[np.float64], labels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the losses [K] of those events whose target is known. labels: [N, T]."""
        y = labels[:, self.at]
        known = ~np.isnan(y)
        return losses(self.target, self._metric, scores[known], y[known])

    def take(
        self, duel: NDArray[np.float64], answering: NDArray[np.float64], own: NDArray[np.float64]
    ) -> None:
        """Take the losses [K] of both on the same events; close each window that is full."""
        while len(own):
            room = self._settings.rows - int(duel[_N])
            lost, gain = answering[:room], answering[:room] - own[:room]
            answering, own = answering[room:], own[room:]
            duel[_N] += len(gain)
            duel[_GAIN] += gain.sum()
            duel[_SQUARES] += (gain * gain).sum()
            duel[_LOST] += lost.sum()
            if duel[_N] >= self._settings.rows:
                self._close(duel)

    def _close(self, duel: NDArray[np.float64]) -> None:
        n = duel[_N]
        mean, lost = float(duel[_GAIN] / n), float(duel[_LOST] / n)
        variance = max(float(duel[_SQUARES] / n) - mean * mean, 0.0)
        clear = mean > self._settings.sure * math.sqrt(variance / n)
        matters = mean > self._settings.margin * lost
        duel[WON] = duel[WON] + 1.0 if mean > 0.0 and clear and matters else 0.0
        duel[SHARE] = mean / lost if lost > 0.0 and math.isfinite(mean) else 0.0
        duel[: _LOST + 1] = 0.0

    def due(self, duels: dict[str, NDArray[np.float64]], since: int, changes: int) -> str | None:
        """Return who is to take over: who won windows enough, the one that is furthest ahead.

        since: labelled events since the last of `changes` of the model that answers.
        """
        if changes and since < self._settings.rest:
            return None
        ready = [name for name, duel in duels.items() if duel[WON] >= self._settings.windows]
        return max(ready, key=lambda name: float(duels[name][SHARE]), default=None)

    def said(self, duel: NDArray[np.float64]) -> str:
        """Return why a model takes over, in words."""
        s = self._settings
        return (
            f"its {_LOSS.get(self._metric, self._metric)} on {self.target.name} was {float(duel[SHARE]):.1%} less in the last of "
            f"{int(duel[WON])} windows of {s.rows} events, and clearly less in each"
        )
