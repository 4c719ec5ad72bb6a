"""From columns to rows: the one featurizer, used by learner and API. Knows no model.

Numbers become (z, unknown flag): z = (x - mean) / deviation with the running mean and variance
*before* this event, clipped to +-8; `scale: none` takes the value as it is. Categories become
a row of their field's table: 0 is "missing", other codes are spread over 1 .. buckets-1.
An unseen category therefore needs nothing.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.events.decode import Columns
from service.events.schema import Schema
from service.model.losses import FORGET

CLIP = 8.0


class Rows(msgspec.Struct):
    """N rows ready to be scored or learned."""

    x: NDArray[np.float32]
    """[N, 2 Dn]: value and unknown flag of each number field."""
    ids: NDArray[np.int64]
    """[N, Dc]: row of each category field's table."""
    y: NDArray[np.float64]
    """[N, T]; NaN is "missing"."""

    def __len__(self) -> int:
        return len(self.x)

    def part(self, at: int, to: int) -> Rows:
        """Return the rows from `at` up to `to`, without a copy."""
        return Rows(self.x[at:to], self.ids[at:to], self.y[at:to])


@njit(nogil=True, cache=True)
def _standardise(numbers, normaliser, scaled, learn, x):  # type: ignore[no-untyped-def]
    """Write x [N, 2 Dn]; rows with `learn` set then move the normaliser [Dn, 3] (count, mean,
    variance). A value moves it by at most 32 deviations once 100 were seen."""
    for r in range(numbers.shape[0]):
        for j in range(numbers.shape[1]):
            value = numbers[r, j]
            if math.isnan(value):
                x[r, 2 * j] = 0.0
                x[r, 2 * j + 1] = 1.0
                continue
            x[r, 2 * j + 1] = 0.0
            if not scaled[j]:
                x[r, 2 * j] = value
                continue
            count = normaliser[j, 0]
            mean = normaliser[j, 1]
            variance = normaliser[j, 2]
            z = 0.0
            if variance > 0.0:
                z = min(max((value - mean) / math.sqrt(variance), -CLIP), CLIP)
            x[r, 2 * j] = z
            if learn[r]:
                if count >= 100.0 and variance > 0.0:
                    reach = 32.0 * math.sqrt(variance)
                    value = min(max(value, mean - reach), mean + reach)
                rate = max(1.0 / (count + 1.0), FORGET)
                delta = value - mean
                normaliser[j, 0] = count + 1.0
                normaliser[j, 1] = mean + rate * delta
                normaliser[j, 2] = (1.0 - rate) * (variance + rate * delta * delta)


class Featurizer:
    """Columns -> Rows for one schema. Holds no state: the normaliser is passed in."""

    def __init__(self, schema: Schema) -> None:
        self._width = 2 * len(schema.numbers)
        self._scaled = np.array(schema.scaled, dtype=np.uint8)
        self._spread = np.array([b - 1 for b in schema.buckets], dtype=np.uint64)

    def rows(
        self,
        columns: Columns,
        normaliser: NDArray[np.float64],
        learn: NDArray[np.uint8] | None = None,
    ) -> Rows:
        """Return the rows of the columns.

        normaliser: [Dn, 3], moved by the rows where `learn` [N] is set, in row order. Without
        `learn` it only serves.
        """
        n = len(columns)
        x = np.empty((n, self._width), dtype=np.float32)
        flags = np.zeros(n, dtype=np.uint8) if learn is None else learn
        _standardise(columns.numbers, normaliser, self._scaled, flags, x)
        codes = columns.codes
        if codes.shape[1]:
            spread = np.uint64(1) + codes % self._spread
            ids = np.where(codes == 0, np.uint64(0), spread).astype(np.int64)
        else:
            ids = np.empty((n, 0), dtype=np.int64)
        return Rows(x, ids, columns.targets)
