"""The watch on the loss: a cumulative sum of how far the mean loss of blocks lies above its usual.

CUSUM (Page 1954) over standardised means of blocks of events, each event scored before it is
learned. What is usual is a running mean and variance over blocks that raise no suspicion. Pure;
what it knows is plain JSON, so it goes with the snapshots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
_SCALE_EVENTS = 10_000
"""A target's usual loss forgets after about so many events."""
_EFFECTIVE = 10.0
"""A block is so long that its losses weigh like those of so many equal events (Kish's effective
size): where one event in a thousand has nearly all the loss, blocks are longer."""
_LONGEST = 200
"""But not longer than so many times `block_events`."""
_BURST = 3.0
"""A block ends early when it has so many times the loss that a whole one usually has."""


class Watch:
    """Takes losses in order of learning; says when they have risen beyond chance."""

    def __init__(
        self, schema: Schema, block_events: int, saved: dict[str, Any] | None = None
    ) -> None:
        self._schema = schema
        self._block = block_events
        self._scales = np.zeros(len(schema.targets))
        self._scored = np.zeros(len(schema.targets))
        self._blocks, self._mean, self._variance, self._second = 0, 0.0, 0.0, 0.0
        self._sum, self._squares, self._n = 0.0, 0.0, 0
        self.height = 0.0
        self._rising_events, self._rising_sum = 0, 0.0
        names = [target.name for target in schema.targets]
        if saved and saved["of"] == [block_events, names]:
            self._scales[:], self._scored[:] = saved["scales"], saved["scored"]
            self._blocks, self._mean, self._variance, self._second = saved["usual"]
            self._sum, self._squares, self._n = saved["block"]
            self.height, self._rising_events, self._rising_sum = saved["rising"]

    @property
    def usual(self) -> float | None:
        """Mean loss of a block that is nothing special; None before there were any."""
        return self._mean if self._blocks else None

    @property
    def suspicious(self) -> bool:
        """Too little for an alarm, too much to call the present weights good."""
        return self.height >= SUSPICION

    def losses(self, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Losses:
        """Return one loss per event [N]: the mean over its labelled targets of the loss in units
        of what is usual for that target; NaN without any.

        scores [N, O], labels [N, T] (NaN: missing). Log loss, or the absolute error of a number, at
        most ten times the usual: one absurd label is not a trend.
        """
        total, count = np.zeros(len(labels)), np.zeros(len(labels))
        for t, loss in enumerate(self._by_target(scores, labels)):
            known = ~np.isnan(loss)
            if known.any():
                total[known] += loss[known] / self._scale(t, loss[known])
                count[known] += 1
        with np.errstate(invalid="ignore"):
            return total / count

    def grow_scales(self, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> None:
        """Take the losses into what is usual for each target."""
        for t, loss in enumerate(self._by_target(scores, labels)):
            known = loss[~np.isnan(loss)]
            if not len(known):
                continue
            if self._schema.targets[t].kind == "number":
                known = np.minimum(known, _LARGEST_ERROR * self._scale(t, known))
            self._scored[t] = min(self._scored[t] + len(known), _SCALE_EVENTS)
            rate = min(1.0, len(known) / self._scored[t])
            self._scales[t] += rate * (float(known.mean()) - self._scales[t])

    def _by_target(
        self, scores: NDArray[np.float64], labels: NDArray[np.float64]
    ) -> Iterator[Losses]:
        """Yield the losses [N] of each target; NaN where it is missing."""
        for t, target in enumerate(self._schema.targets):
            y = labels[:, t]
            loss = np.full(len(y), np.nan)
            known = ~np.isnan(y)
            if target.kind == "number":
                loss[known] = np.abs(scores[known, target.start] - y[known])
            elif target.kind == "binary":
                p = scores[known, target.start]
                loss[known] = -np.log(np.maximum(np.where(y[known] > 0.5, p, 1.0 - p), _TINY))
            else:
                at = target.start + y[known].astype(np.int64)
                loss[known] = -np.log(np.maximum(scores[known, at], _TINY))
            if target.kind == "number":
                scale = self._scale(t, loss[known]) if known.any() else 1.0
                loss = np.minimum(loss, _LARGEST_ERROR * scale)
            yield loss

    def take(self, losses: Losses) -> str | None:
        """Return why there is an alarm, or None. losses [N]; NaN is not counted."""
        losses = losses[np.isfinite(losses)]
        alarm, at = None, 0
        while at < len(losses):
            part = losses[at : at + self._mark - self._n]
            at += len(part)
            alarm = self._add(part) or alarm
        return alarm

    def begin_again(self) -> None:
        """What was usual is so no more (a new version serves, the world changed): learn it anew."""
        self._blocks = min(self._blocks, GRACE_BLOCKS // 3)
        self.calm()

    def calm(self) -> None:
        """Forget the suspicion, keep what is usual."""
        self.height, self._rising_events, self._rising_sum = 0.0, 0, 0.0
        self._sum, self._squares, self._n = 0.0, 0.0, 0

    def saved(self) -> dict[str, Any]:
        """Return all that it knows, as JSON values."""
        names = [target.name for target in self._schema.targets]
        return {
            "of": [self._block, names],
            "scales": self._scales.tolist(),
            "scored": self._scored.tolist(),
            "usual": [self._blocks, self._mean, self._variance, self._second],
            "block": [self._sum, self._squares, self._n],
            "rising": [self.height, self._rising_events, self._rising_sum],
        }

    @property
    def _mark(self) -> int:
        """The size at which the open block is looked at next; how events are cut is no matter."""
        return (self._n // self._block + 1) * self._block

    @property
    def _length(self) -> float:
        """How many events a block takes, going by how unequal losses usually are."""
        if self._mean <= 0.0:
            return self._block
        needed = _EFFECTIVE * self._second / self._mean**2
        return min(max(self._block, needed), _LONGEST * self._block)

    def _scale(self, t: int, losses: Losses) -> float:
        return float(self._scales[t]) or max(float(np.median(losses)), 1e-300)

    def _add(self, part: Losses) -> str | None:
        mark = self._mark
        self._sum += float(part.sum())
        self._squares += float((part * part).sum())
        self._n += len(part)
        if self._n < mark:
            return None
        length = self._length
        burst = (
            self._sum > _BURST * length * self._mean
            and self._sum * self._sum > _EFFECTIVE * self._squares
        )
        if self._n < length and not burst:
            return None
        mean, second, n = self._sum / self._n, self._squares / self._n, self._n
        self._sum, self._squares, self._n = 0.0, 0.0, 0
        return self._close(mean, second, n)

    def _close(self, mean: float, second: float, n: int) -> str | None:
        if self._blocks < GRACE_BLOCKS:
            self._grow(mean, second)
            return None
        deviation = max(math.sqrt(self._variance), 0.05 * self._mean, 1e-6)
        z = min(max((mean - self._mean) / deviation, -_MOST), _MOST)
        self.height = max(0.0, self.height + z - _SLACK)
        if self.height == 0.0:
            self._rising_events, self._rising_sum = 0, 0.0
        else:
            self._rising_events += n
            self._rising_sum += mean * n
        if not self.suspicious:
            low, high = self._mean - 3 * deviation, self._mean + 3 * deviation
            self._grow(min(max(mean, low), high), second)
            return None
        risen = self._rising_sum / max(self._rising_events, 1)
        if self.height < ALARM or risen < _RISE * self._mean:
            self.height = min(self.height, 2 * ALARM)
            # a slow rise is followed slowly, or a suspicion would never end
            self._mean += 0.2 * _SLOWEST * (mean - self._mean)
            return None
        events, times = self._rising_events, risen / max(self._mean, 1e-300)
        self.calm()
        return f"the loss over the last {events} events is {times:.3g} times the usual"

    def _grow(self, mean: float, second: float) -> None:
        self._blocks += 1
        rate = max(1.0 / self._blocks, _SLOWEST)
        delta = mean - self._mean
        self._mean += rate * delta
        self._second += rate * (second - self._second)
        self._variance = (1.0 - rate) * (self._variance + rate * delta * delta)
