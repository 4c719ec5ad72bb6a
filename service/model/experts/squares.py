"""Least squares with forgetting, for numbers: the value itself, and its change since the last one.

Two sets of columns (see curvature.py), three memories each. On the larger set two outputs share the
curvatures: the label, and the label less the last one of its kind, so that a ridge pulls either
towards 0 or towards no change. A label further off than some times the usual error counts less,
so that it pulls no harder than one at that distance (Huber 1964).

Beside them two members that only remember: `last`, the last label, of all events or of those that
share the value of a category; `near`, that or a mean of such labels. Which of them is chosen by
their running errors; `last` is also what changes are counted from.
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
from service.model.experts.inputs_pass import KEY_INPUTS
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor

SHORT_KEEPS = (0.9999, 0.998, 0.98)
"""What the memories of the smaller set keep from row to row: it can follow faster."""
KEEPS = (0.9999, 0.999, 0.99)
"""Those of the larger set."""
MIDDLE = 1
"""The memory whose error says how much a row counts in the curvature."""
RIDGES = (1.0, 2.0)
FIRM = np.array([5.0])
LOOSE = np.array([5.0, 0.4])
"""HUBER of the outputs of either set, in running means of the absolute error: where what is left is
mostly 0, as of changes, the median is worth more than the mean."""
LONGEST = 1000.0
"""Rows that a running error looks back on."""
ROOM = 0.1
"""How far predictions may leave the labels' range, in its length."""
FURTHEST = 1e6
"""Where labels are cut off, in units of the frame."""


class Squares:
    """Linear models of numbers, by least squares."""

    name: ClassVar[str] = "squares"
    fits: ClassVar[tuple[str, ...]] = ("number",)

    def __init__(self, fields: Fields, task: Task) -> None:
        del task
        kinds = {"plain": SHORT_KEEPS, "all": KEEPS, "change": KEEPS}
        self.members = (
            *(f"squares/{kind}/{keep:g}" for kind, keeps in kinds.items() for keep in keeps),
            "squares/last",
            "squares/near",
        )
        self._plain = Curved("plain", plain_columns(fields), SHORT_KEEPS, 1, RIDGES[0])
        self._all = Curved("all", all_columns(fields), KEEPS, 2, RIDGES[1])
        v = len(fields.keys) // KEY_INPUTS
        firsts = [fields.keys.start + c * KEY_INPUTS for c in range(v)]
        lasts = [fields.lags.start, *firsts]
        nears = [*fields.lags[1:], *(first + i for i in (1, 3, 4) for first in firsts)]
        self._lasts = len(lasts)
        self._columns = np.array(lasts + nears, dtype=np.int64)
        """Of earlier labels: the lasts, then means."""
        self.tensors: tuple[Tensor, ...] = (
            *self._plain.tensors,
            *self._all.tensors,
            Tensor("errors", (3 * len(KEEPS),), "float64", 1.0),
            Tensor("remembered", (len(self._columns),), "float64"),
            Tensor("labels", (3,), "float64"),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        _score(
            rows.x, *self._plain.served(held), *self._all.served(held), self._columns,
            self._lasts, at["remembered"], at["labels"], into,
        )  # fmt: skip

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        _learn(
            self._plain.part(held), self._all.part(held), rows.x, rows.y, rows.weights,
            self._columns, self._lasts, at["errors"], at["remembered"], at["labels"], into,
        )  # fmt: skip


@njit(nogil=True, cache=True)
def _least(errors, n):
    """Return which of the first n has the least error."""
    best = 0
    for i in range(1, n):
        if errors[i] < errors[best]:
            best = i
    return best


@njit(nogil=True, cache=True)
def _inside(value, labels):
    """Return a value brought into the range of the labels so far and a little more. labels: [3]:
    how many, the lowest, the highest."""
    room = ROOM * (labels[2] - labels[1])
    return min(max(value, labels[1] - room), labels[2] + room)


@njit(nogil=True, cache=True)
def _predict(x, columns, lasts, plain, full, remembered, labels, into):
    """Write the predictions [2 * K + K + 2] of a row x [D] from the outputs plain [K], full [2 K];
    return the last label that changes are counted from."""
    k_n = plain.shape[0]
    last = float(x[columns[_least(remembered, lasts)]])
    near = float(x[columns[_least(remembered, columns.shape[0])]])
    for k in range(k_n):
        into[k, 0] = _inside(plain[k], labels)
        into[k_n + k, 0] = _inside(full[2 * k], labels)
        into[2 * k_n + k, 0] = _inside(last + full[2 * k + 1], labels)
    into[3 * k_n, 0] = _inside(last, labels)
    into[3 * k_n + 1, 0] = _inside(near, labels)
    return last


@njit(nogil=True, cache=True)
def _score(
    x, order0, counts0, weights0, order1, counts1, weights1, columns, lasts, remembered, labels, into
):
    plain, full = np.empty(weights0.shape[1]), np.empty(weights1.shape[1])
    for r in range(x.shape[0]):
        for s in range(2):
            order, weights, out = (order0, weights0, plain) if s == 0 else (order1, weights1, full)
            out[:] = 0.0
            for i in range(int(counts0[0] if s == 0 else counts1[0])):
                value = value_of(x[r], order[i])
                for m in range(out.shape[0]):
                    out[m] += value * weights[i, m]
        _predict(x[r], columns, lasts, plain, full, remembered, labels, into[r])


@njit(nogil=True, cache=True)
def _learn(
    part0, part1, x, y, weights, columns, lasts, errors, remembered, labels, into
):
    k_n = part0.inverse.shape[0]
    values0 = np.empty(part0.inverse.shape[1], dtype=np.float32)
    values1 = np.empty(part1.inverse.shape[1], dtype=np.float32)
    v = np.empty(part1.inverse.shape[1], dtype=np.float32)
    plain, full = np.empty(k_n), np.empty(2 * k_n)
    changed = False
    for r in range(x.shape[0]):
        n0, n1 = gather(part0, x[r], values0), gather(part1, x[r], values1)
        outputs(part0, values0, n0, plain)
        outputs(part1, values1, n1, full)
        last = _predict(x[r], columns, lasts, plain, full, remembered, labels, into[r])
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        changed = True
        label, weight = min(max(y[r], -FURTHEST), FURTHEST), min(weights[r], HEAVY)
        labels[1] = min(labels[1], label) if labels[0] > 0.0 else label
        labels[2] = max(labels[2], label) if labels[0] > 0.0 else label
        labels[0] += 1.0
        rate = max(1.0 / (labels[0] + 1.0), 1.0 / LONGEST)
        for i in range(columns.shape[0]):
            remembered[i] += rate * (abs(label - x[r, columns[i]]) - remembered[i])
        n0, n1 = widen(part0, x[r], values0, n0), widen(part1, x[r], values1, n1)
        for k in range(k_n):  # outputs become errors
            plain[k] = label - plain[k]
            full[2 * k] = label - full[2 * k]
            full[2 * k + 1] = label - last - full[2 * k + 1]
        _solve(part0, values0, n0, plain, errors[:k_n], FIRM, weight, v)
        _solve(part1, values1, n1, full, errors[k_n:], LOOSE, weight, v)
        for k in range(k_n):
            errors[k] += rate * (abs(plain[k]) - errors[k])
            errors[k_n + 2 * k] += rate * (abs(full[2 * k]) - errors[k_n + 2 * k])
            errors[k_n + 2 * k + 1] += rate * (abs(full[2 * k + 1]) - errors[k_n + 2 * k + 1])
    if changed:
        mark(part0, np.int64(part0.counts[0]))
        mark(part1, np.int64(part1.counts[0]))


@njit(nogil=True, cache=True)
def _share(error, usual, huber):
    """Return how much a row with this error counts."""
    return min(1.0, huber * usual / max(abs(error), 1e-12))


@njit(nogil=True, cache=True)
def _solve(part, values, n, away, usual, huber, weight, v):
    """Learn one row. away: errors [K * O] of the outputs; usual: running means of them.
    huber: [O]."""
    k_n = part.inverse.shape[0]
    o_n = away.shape[0] // k_n
    h = weight * _share(away[MIDDLE * o_n], usual[MIDDLE * o_n], huber[0])
    for k in range(k_n):
        spread = along(part, k, values, n, v)
        if not spread >= 0.0:  # by rounding: begin anew from the curvature
            renew(part, n)
            spread = along(part, k, values, n, v)
        scale = part.scales[k]
        for at in range(k * o_n, (k + 1) * o_n):
            own = weight * _share(away[at], usual[at], huber[at - k * o_n])
            step = np.float32(scale * own * away[at] / (1.0 + max(own, h) * spread))
            for i in range(n):
                part.weights[i, at] += step * v[i]
        sink(part, k, n, v, spread, h)
    add(part, values, n, h)
    part.counts[2] += 1.0
    if part.counts[1] >= EVERY:
        renew(part, n)
