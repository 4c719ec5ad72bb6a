"""The passes of Squares, compiled. Legend: K memories of a set, O outputs; part: curvature.Part.

Of the smaller set O is 1, of the larger 2: the label, and the label less the last one."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece
from service.model.experts.curvature_pass import (
    HEAVY,
    add,
    along,
    gather,
    mark,
    outputs,
    renew,
    sink,
    step,
    widen,
)

MIDDLE = 1
"""The memory whose error says how much a row counts in the curvature."""
FIRM = np.array([5.0])
LOOSE = np.array([5.0, 0.4])
"""Where errors begin to count less, of the outputs of either set, in running means of the absolute error: where what is left is
mostly 0, as of changes, the median is worth more than the mean."""
LONGEST = 1000.0
"""Rows that a running error looks back on."""
ROOM = 0.1
"""How far predictions may leave the labels' range, in its length."""
FURTHEST = 1e6
"""Where labels are cut off, in units of the frame."""


@piece
def _least(errors, n):
    """Return which of the first n has the least error."""
    best = 0
    for i in range(1, n):
        if errors[i] < errors[best]:
            best = i
    return best


@piece
def _inside(value, labels):
    """Return a value brought into the range of the labels so far and a little more. labels: [3]:
    how many, the lowest, the highest."""
    room = ROOM * (labels[2] - labels[1])
    return min(max(value, labels[1] - room), labels[2] + room)


@piece
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
    into[3 * k_n, 0] = _inside(np.float64(last), labels)
    into[3 * k_n + 1, 0] = _inside(np.float64(near), labels)
    return last


@kernel
def learn(part0, part1, x, y, weights, columns, lasts, errors, shares, remembered, labels, into):
    """Predict and learn both sets, row after row. columns: [L] of earlier labels, of which the first
    `lasts` are last ones; remembered: [L] their running errors; errors: [3 K] those of the outputs."""
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
        _solve(part0, values0, n0, plain, errors[:k_n], FIRM, shares[:k_n], rate, weight, v)
        _solve(part1, values1, n1, full, errors[k_n:], LOOSE, shares[k_n:], rate, weight, v)
        for k in range(k_n):
            errors[k] += rate * (abs(plain[k]) - errors[k])
            errors[k_n + 2 * k] += rate * (abs(full[2 * k]) - errors[k_n + 2 * k])
            errors[k_n + 2 * k + 1] += rate * (abs(full[2 * k + 1]) - errors[k_n + 2 * k + 1])
    if changed:
        mark(part0, np.int64(part0.counts[0]))
        mark(part1, np.int64(part1.counts[0]))


@piece
def _share(error, usual, huber):
    """Return how much a row with this error counts."""
    return min(1.0, huber * usual / max(abs(error), 1e-12))


@piece
def _solve(part, values, n, away, usual, huber, shares, rate, weight, v):
    """Learn one row. away: errors [K * O] of the outputs; usual: running means of them; huber: [O].
    shares: [K * O] running means of how much rows count: errors are weighed against those, since the
    curvature is of rows that count in full."""
    k_n = part.inverse.shape[0]
    o_n = away.shape[0] // k_n
    steps = np.empty(o_n, dtype=np.float32)
    h = weight * _share(away[MIDDLE * o_n], usual[MIDDLE * o_n], huber[0])
    for k in range(k_n):
        spread = along(part, k, values, n, v)
        if not spread >= 0.0:  # by rounding: begin anew from the curvature
            renew(part, n)
            spread = along(part, k, values, n, v)
        scale = part.scales[k]
        for c in range(o_n):
            at = k * o_n + c
            share = _share(away[at], usual[at], huber[c])
            own = weight * share / max(shares[at], 0.05)
            shares[at] += rate * (share - shares[at])
            steps[c] = scale * own * away[at] / (1.0 + max(own, h) * spread)
        step(part, k, n, v, steps)
        sink(part, k, n, v, spread, h)
    add(part, values, n, h)
