"""The watch on the loss: a cumulative sum of how far the mean loss of blocks lies above its usual.

CUSUM (Page 1954) over standardised means of blocks of events, each event scored before it is
learned. What is usual is a running mean and variance over blocks that raise no suspicion. Pure;
what it knows is plain JSON, so it goes with the snapshots.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema

Losses = NDArray[np.float64]

GRACE_BLOCKS = 30
"""Blocks before the first alarm: until then nobody knows what is usual."""
ALARM = 12.0
"""Height of the sum, in standard deviations of a block's mean, at which it is an alarm."""
SUSPICION = 3.0
"""Height from which the present weights are not taken for good ones."""
_SLACK = 1.0
_MOST = 8.0
_RISE = 1.3
"""Least rise of the mean loss that is worth an alarm, whatever its significance."""
_SLOWEST = 1.0 / 200.0
_LARGEST_ERROR = 10.0
_TINY = 1e-7


class Watch:
    """Takes losses in order of learning; says when they have risen beyond chance."""

    def __init__(
        self, schema: Schema, block_events: int, saved: dict[str, Any] | None = None
    ) -> None:
        self._schema = schema
        self._block = block_events
        self._scales = np.zeros(len(schema.targets))
        self._blocks, self._mean, self._variance = 0, 0.0, 0.0
        self._sum, self._n = 0.0, 0
        self.height = 0.0
        self._rising_blocks, self._rising_sum = 0, 0.0
        if saved and len(saved["scales"]) == len(self._scales):
            self._scales[:] = saved["scales"]
            self._blocks, self._mean, self._variance = saved["usual"]
            self._sum, self._n = saved["block"]
            self.height, self._rising_blocks, self._rising_sum = saved["rising"]

    @property
    def usual(self) -> float | None:
        """Mean loss of a block that is nothing special; None before there were any."""
        return self._mean if self._blocks else None

    @property
    def suspicious(self) -> bool:
        """Too little for an alarm, too much to call the present weights good."""
        return self.height >= SUSPICION

    def losses(self, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Losses:
        """Return one loss per event [N], the mean over its labelled targets; NaN without any.

        scores [N, O], labels [N, T] (NaN: missing). Log loss; for numbers the absolute error in
        units of its own running mean, at most 10: one absurd label is not a trend.
        """
        total, count = np.zeros(len(labels)), np.zeros(len(labels))
        for t, target in enumerate(self._schema.targets):
            y = labels[:, t]
            known = ~np.isnan(y)
            if not known.any():
                continue
            if target.kind == "number":
                error = np.abs(scores[known, target.start] - y[known])
                loss = np.minimum(error / self._scale(t, error), _LARGEST_ERROR)
            elif target.kind == "binary":
                p = scores[known, target.start]
                loss = -np.log(np.maximum(np.where(y[known] > 0.5, p, 1.0 - p), _TINY))
            else:
                at = target.start + y[known].astype(np.int64)
                loss = -np.log(np.maximum(scores[known, at], _TINY))
            total[known] += loss
            count[known] += 1
        with np.errstate(invalid="ignore"):
            return total / count

    def grow_scales(self, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> None:
        """Take the errors of number targets into what is usual for them."""
        for t, target in enumerate(self._schema.targets):
            if target.kind != "number":
                continue
            error = np.abs(scores[:, target.start] - labels[:, t])
            error = error[np.isfinite(error)]
            if len(error):
                scale = self._scale(t, error)
                mean = float(np.minimum(error, _LARGEST_ERROR * scale).mean())
                rate = min(1.0, len(error) * 1e-4)
                self._scales[t] = max(scale + rate * (mean - scale), 1e-300)

    def take(self, losses: Losses) -> str | None:
        """Return why there is an alarm, or None. losses [N]; NaN is not counted."""
        losses = losses[np.isfinite(losses)]
        first = min(self._block - self._n, len(losses))
        alarm = self._add(float(losses[:first].sum()), first)
        whole = (len(losses) - first) // self._block
        rest = first + whole * self._block
        for total in losses[first:rest].reshape(whole, self._block).sum(axis=1).tolist():
            alarm = self._add(total, self._block) or alarm
        return self._add(float(losses[rest:].sum()), len(losses) - rest) or alarm

    def begin_again(self) -> None:
        """What was usual is so no more (a new version serves, the world changed): learn it anew."""
        self._blocks = min(self._blocks, GRACE_BLOCKS // 3)
        self.calm()

    def calm(self) -> None:
        """Forget the suspicion, keep what is usual."""
        self.height, self._rising_blocks, self._rising_sum = 0.0, 0, 0.0
        self._sum, self._n = 0.0, 0

    def saved(self) -> dict[str, Any]:
        """Return all that it knows, as JSON values."""
        return {
            "scales": self._scales.tolist(),
            "usual": [self._blocks, self._mean, self._variance],
            "block": [self._sum, self._n],
            "rising": [self.height, self._rising_blocks, self._rising_sum],
        }

    def _scale(self, t: int, errors: NDArray[np.float64]) -> float:
        return float(self._scales[t]) or max(float(np.median(errors)), 1e-300)

    def _add(self, total: float, n: int) -> str | None:
        self._sum += total
        self._n += n
        if self._n < self._block:
            return None
        mean = self._sum / self._n
        self._sum, self._n = 0.0, 0
        return self._close(mean)

    def _close(self, mean: float) -> str | None:
        if self._blocks < GRACE_BLOCKS:
            self._grow(mean)
            return None
        deviation = max(math.sqrt(self._variance), 0.05 * self._mean, 1e-6)
        z = min(max((mean - self._mean) / deviation, -_MOST), _MOST)
        self.height = max(0.0, self.height + z - _SLACK)
        if self.height == 0.0:
            self._rising_blocks, self._rising_sum = 0, 0.0
        else:
            self._rising_blocks += 1
            self._rising_sum += mean
        if not self.suspicious:
            self._grow(min(max(mean, self._mean - 3 * deviation), self._mean + 3 * deviation))
            return None
        risen = self._rising_sum / max(self._rising_blocks, 1)
        if self.height < ALARM or risen < _RISE * self._mean:
            self.height = min(self.height, 2 * ALARM)
            # a slow rise is followed slowly, or a suspicion would never end
            self._mean += 0.2 * _SLOWEST * (mean - self._mean)
            return None
        events, usual = self._rising_blocks * self._block, self._mean
        self.calm()
        return f"the loss over the last {events} events is {risen:.4g}, usually {usual:.4g}"

    def _grow(self, mean: float) -> None:
        self._blocks += 1
        rate = max(1.0 / self._blocks, _SLOWEST)
        delta = mean - self._mean
        self._mean += rate * delta
        self._variance = (1.0 - rate) * (self._variance + rate * delta * delta)
