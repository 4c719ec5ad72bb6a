"""Logistic and softmax regression by Newton's method, online: no rate, but several memories.

Two sets of columns, see curvature.py: the event itself, and with it lags, context and pieces of
ranks. For each, three memories (the share of the past that a row keeps). One curvature serves all
classes: h = 3/4 sum of p (1 - p) bounds that of the softmax (Boehning 1992; for two classes it is
p (1 - p)). It comes from the middle memory, for all three in common.

Cost: about (9 n^2 + 3 n^2 / EVERY * n) / 2 multiplications a row for n columns in use, n <= 128.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.experts.curvature import Curved, all_columns, plain_columns
from service.model.experts.curvature_pass import (
    EVERY,
    HEAVY,
    add,
    along,
    gather,
    mark,
    outputs,
    renew,
    sink,
    value_of,
    widen,
)
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor

KEEPS = (0.99999, 0.9998, 0.998)
MIDDLE = 1
"""The memory whose predictions give the curvature."""
RIDGES = (0.5, 1.0)
"""Of the two sets, for two classes; for more each class has weights of its own, and twice that."""
LEAST = 0.01
"""Smallest curvature of a row, in units of p (1 - p)."""


class Newton:
    """Linear models of two sets of columns and three memories each."""

    name: ClassVar[str] = "newton"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._classes = task.classes
        self.members = tuple(f"newton/{s}/{keep:g}" for s in ("plain", "all") for keep in KEEPS)
        times = 1.0 if task.outputs == 1 else 2.0
        self._sets = tuple(
            Curved(name, order, KEEPS, task.outputs, ridge * times)
            for name, order, ridge in (
                ("plain", plain_columns(fields), RIDGES[0]),
                ("all", all_columns(fields), RIDGES[1]),
            )
        )
        self.tensors: tuple[Tensor, ...] = tuple(t for s in self._sets for t in s.tensors)

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        plain, full = self._sets
        _score(rows.x, *plain.served(held), *full.served(held), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        plain, full = self._sets
        k = len(KEEPS)
        _learn(plain.part(held), rows.x, rows.y, rows.weights, into[:, :k])
        _learn(full.part(held), rows.x, rows.y, rows.weights, into[:, k:])


@njit(nogil=True, cache=True)
def _linked(out, k, into):
    """Write the probabilities [O] of memory k from the outputs [K * O]."""
    n = into.shape[0]
    if n == 1:
        into[0] = 1.0 / (1.0 + math.exp(-min(max(out[k], -30.0), 30.0)))
        return
    top = out[k * n]
    for c in range(1, n):
        top = max(top, out[k * n + c])
    total = 0.0
    for c in range(n):
        into[c] = math.exp(out[k * n + c] - top)
        total += into[c]
    for c in range(n):
        into[c] /= total


@njit(nogil=True, cache=True)
def _bend(p):
    """Return the curvature of a row with probabilities p [O]."""
    if p.shape[0] == 1:
        return max(p[0] * (1.0 - p[0]), LEAST)
    total = 0.0
    for c in range(p.shape[0]):
        total += p[c] * (1.0 - p[c])
    return 0.75 * max(total, 2.0 * LEAST)


@njit(nogil=True, cache=True)
def _score(x, order0, counts0, weights0, order1, counts1, weights1, into):
    k_n, o_n = into.shape[1] // 2, into.shape[2]
    out, p = np.empty(k_n * o_n), np.empty(o_n)
    for r in range(x.shape[0]):
        for s in range(2):
            order, weights = (order0, weights0) if s == 0 else (order1, weights1)
            out[:] = 0.0
            for i in range(int(counts0[0] if s == 0 else counts1[0])):
                value = value_of(x[r], order[i])
                for m in range(out.shape[0]):
                    out[m] += value * weights[i, m]
            for k in range(k_n):
                _linked(out, k, p)
                for c in range(o_n):
                    into[r, s * k_n + k, c] = p[c]


@njit(nogil=True, cache=True)
def _learn(part, x, y, weights, into):
    """Predict and learn one set. into: float32 [N, K, O]."""
    k_n, o_n, most = into.shape[1], into.shape[2], part.inverse.shape[1]
    values, v = np.empty(most, dtype=np.float32), np.empty(most, dtype=np.float32)
    out, p = np.empty(k_n * o_n), np.empty((k_n, o_n))
    changed = False
    for r in range(x.shape[0]):
        n = gather(part, x[r], values)
        outputs(part, values, n, out)
        for k in range(k_n):
            _linked(out, k, p[k])
            for c in range(o_n):
                into[r, k, c] = p[k, c]
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        changed = True
        n = widen(part, x[r], values, n)
        weight = min(weights[r], HEAVY)
        h = weight * _bend(p[MIDDLE])
        for k in range(k_n):
            spread = along(part, k, values, n, v)
            if not spread >= 0.0:  # by rounding: begin anew from the curvature
                renew(part, n)
                spread = along(part, k, values, n, v)
            own = max(h, weight * _bend(p[k]))
            by = weight * part.scales[k] / (1.0 + own * spread)
            for c in range(o_n):
                truth = y[r] if o_n == 1 else (1.0 if int(y[r]) == c else 0.0)
                step = np.float32(by * (truth - p[k, c]))
                at = k * o_n + c
                for i in range(n):
                    part.weights[i, at] += step * v[i]
            sink(part, k, n, v, spread, h)
        add(part, values, n, h)
        part.counts[2] += 1.0
        if part.counts[1] >= EVERY:
            renew(part, n)
    if changed:
        mark(part, np.int64(part.counts[0]))
