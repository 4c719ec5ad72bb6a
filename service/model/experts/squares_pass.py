"""The passes of Squares, compiled. Legend: K memories of a set, O outputs; part: curvature.Part.

Of the smaller set O is 1, of the larger 2: the label, and the label less the last one."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, making_piece, piece
from service.model.experts.curvature_pass import (
    HEAVY,
    along,
    brings,
    gather,
    look,
    look_anew,
    outputs,
    step,
    take,
    wait,
)
from service.model.experts.curvature_whole_pass import mark_row

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
    values0 = np.zeros(part0.inverse.shape[1], dtype=np.float32)
    values1 = np.zeros(part1.inverse.shape[1], dtype=np.float32)
    plain, full, spreads = np.empty(k_n), np.empty(2 * k_n), np.empty(k_n)
    ready0, ready1, changed = 0, 0, False
    for r in range(x.shape[0]):
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        if learned:
            ready0 = _answer(part0, x, y, weights, r, ready0, plain)
            ready1 = _answer(part1, x, y, weights, r, ready1, full)
        else:
            _score(part0, x[r], values0, plain)
            _score(part1, x[r], values1, full)
        last = _predict(x[r], columns, lasts, plain, full, remembered, labels, into[r])
        if not learned:
            continue
        changed = True
        label, weight = min(max(y[r], -FURTHEST), FURTHEST), min(weights[r], HEAVY)
        labels[1] = min(labels[1], label) if labels[0] > 0.0 else label
        labels[2] = max(labels[2], label) if labels[0] > 0.0 else label
        labels[0] += 1.0
        rate = max(1.0 / (labels[0] + 1.0), 1.0 / LONGEST)
        for i in range(columns.shape[0]):
            remembered[i] += rate * (abs(label - x[r, columns[i]]) - remembered[i])
        for k in range(k_n):  # outputs become errors
            plain[k] = label - plain[k]
            full[2 * k] = label - full[2 * k]
            full[2 * k + 1] = label - last - full[2 * k + 1]
        if not _along(part0, spreads):
            ready0 = look_anew(part0, x, y, weights, r)
            _along(part0, spreads)
        ready0 -= 1
        if _solve(part0, plain, errors[:k_n], FIRM, shares[:k_n], rate, weight, spreads):
            take(part0)
            ready0 = 0
        if not _along(part1, spreads):
            ready1 = look_anew(part1, x, y, weights, r)
            _along(part1, spreads)
        ready1 -= 1
        if _solve(part1, full, errors[k_n:], LOOSE, shares[k_n:], rate, weight, spreads):
            take(part1)
            ready1 = 0
        for k in range(k_n):
            errors[k] += rate * (abs(plain[k]) - errors[k])
            errors[k_n + 2 * k] += rate * (abs(full[2 * k]) - errors[k_n + 2 * k])
            errors[k_n + 2 * k + 1] += rate * (abs(full[2 * k + 1]) - errors[k_n + 2 * k + 1])
    if changed:
        mark_row(part0)
        mark_row(part1)


@piece
def _answer(part, x, y, weights, r, ready, out):
    """Write the outputs [K * O] of a row that is to be learned; return for how many rows from it on
    there was a look."""
    if ready == 0 or brings(part.order, np.int64(part.counts[0]), part.rows.shape[1], x[r]):
        ready = look(part, x, y, weights, r)
    at = np.int64(part.counts[3])
    outputs(part.weights, part.rows[at], out)
    return ready


@piece
def _score(part, x, values, out):
    """Write the outputs [K * O] of a row x [D] that is not."""
    n = np.int64(part.counts[0])
    gather(part.order, x, n, values)
    outputs(part.weights, values, out)


@piece
def _along(part, spreads):
    n, at = np.int64(part.counts[0]), np.int64(part.counts[3])
    return along(part.rows, part.along, part.bends, part.scales, at, n, spreads)


@piece
def _share(error, usual, huber):
    """Return how much a row with this error counts."""
    return min(1.0, huber * usual / max(abs(error), 1e-12))


@making_piece
def _solve(part, away, usual, huber, shares, rate, weight, spreads):
    """Learn the row at hand; return whether it is time to take what waits. away: errors [K * O] of the outputs; usual: running means of them; huber: [O].
    shares: [K * O] running means of how much rows count: errors are weighed against those, since the
    curvature is of rows that count in full."""
    k_n, n, at = part.inverse.shape[0], np.int64(part.counts[0]), np.int64(part.counts[3])
    o_n = away.shape[0] // k_n
    steps = np.empty(o_n, dtype=np.float32)
    h = weight * _share(away[MIDDLE * o_n], usual[MIDDLE * o_n], huber[0])
    for k in range(k_n):
        scale = part.scales[k]
        for c in range(o_n):
            i = k * o_n + c
            share = _share(away[i], usual[i], huber[c])
            own = weight * share / max(shares[i], 0.05)
            shares[i] += rate * (share - shares[i])
            steps[c] = scale * own * away[i] / (1.0 + max(own, h) * spreads[k])
        step(part.weights, k * o_n, part.along[k, at], n, steps)
    return wait(part.bends, part.scales, part.keeps, part.counts, spreads, h)
