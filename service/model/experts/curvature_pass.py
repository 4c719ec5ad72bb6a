"""Second-order learning of linear members, row by row, compiled: what Newton and Squares share.

A set is a choice of columns of Inputs.x with K memories; each has weights for O outputs and, in
common for its outputs, the inverse of its curvature

    C = sum over rows of l^age h x x' + rho I,    P = C^-1,

l the memory's forgetting, h the row's curvature, rho the memory's ridge. A row moves P by the formula of
Sherman and Morrison, and the weights by P x times the slope (recursive least squares; Haykin 1996,
chapter 9). After every so many rows P is computed anew from C, in float64, which undoes rounding and gives
back the ridge that was forgotten meanwhile. So no row waits for a sub-batch.

Only columns that were once other than 0 take part: they are taken in when they first are, and until
then neither cost nor matter.

Rows wait in groups of WAIT before they are taken into P, all at once: memory is what limits a row by itself.
Meanwhile P x of a later row is that of the P held, less what each row that waits takes from it; so all
is as if P had followed row by row. Legend: D columns of x, M those of the set at most, n <= M in use, K
memories, O outputs, T = M (M + 1) / 2. A set is the named tuple curvature.Part.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import fused_making_piece, fused_piece, piece
from service.model.experts.curvature_whole_pass import STRIDE, WAIT, mark, renew, settle, width_of

FAR = np.float32(32.0)
"""Furthest that an input lies from 0; deviations end at 8."""
HEAVY = 1e6
"""Most that a row weighs."""
BIAS = -1
"""Stands for a column that is always 1."""
GONE = -2
"""Stands for a column that is no more: always 0."""


@piece
def gather(order, x, n, values):
    """Write the n inputs in use of a row x [D] into values [M]; behind them is 0."""
    for i in range(n):
        values[i] = value_of(x, order[i])


@piece
def value_of(x, column):
    if column == BIAS:
        return np.float32(1.0)
    if column < 0:
        return np.float32(0.0)
    value = x[column]
    return min(max(value, -FAR), FAR) if math.isfinite(value) else np.float32(0.0)


@piece
def brings(order, n, most, x):
    """Return whether a row has columns that are to be taken in."""
    if n < most:
        for i in range(n, order.shape[0]):
            if value_of(x, order[i]) != 0.0:
                return True
    return False


@piece
def _widen(part, x):
    """Take in the columns that are other than 0 for the first time, those of most worth first. Their
    weights are 0, so the row's outputs stand."""
    order, most = part.order, part.inverse.shape[1]
    n = before = np.int64(part.counts[0])
    i = n
    while n < most and i < order.shape[0]:
        column = order[i]
        if value_of(x, column) != 0.0:
            for j in range(i, n, -1):
                order[j] = order[j - 1]
            order[n] = column
            for k in range(part.inverse.shape[0]):
                part.inverse[k, n, n] = 1.0 / (part.ridges[k] * part.scales[k])
                part.curvature[k, n * (n + 1) // 2 + n] = part.ridges[k]
            n += 1
        i += 1
    if n > before:
        part.counts[0] = n
        mark(part, n)


@piece
def look(part, x, y, weights, r):
    """Put the inputs of row r, which is to be learned, where the next row waits, and with it those
    of later rows while there is room; return for how many rows that was done."""
    _widen(part, x[r])
    n = np.int64(part.counts[0])
    first = last = np.int64(part.counts[3])
    while r < x.shape[0] and last < WAIT:
        if weights[r] > 0.0 and not math.isnan(y[r]):
            gather(part.order, x[r], n, part.rows[last])
            last += 1
        r += 1
    for k in range(part.inverse.shape[0]):
        _times(part.inverse[k], part.rows, first, last, n, part.along[k])
    return last - first


@piece
def look_anew(part, x, y, weights, r):
    """Begin anew from the curvature, then look."""
    renew(part, np.int64(part.counts[0]))
    return look(part, x, y, weights, r)


@fused_making_piece
def _times(held, rows, first, last, n, into):
    """Write P x of some rows."""
    wide = width_of(n)
    room = np.zeros((WAIT, STRIDE), dtype=np.float32)
    for i in range(0, n, 4):
        p, q = held[i, :wide], held[i + 1, :wide]
        r, s = held[i + 2, :wide], held[i + 3, :wide]
        for w in range(first, last):
            a, b, c, d = rows[w, i], rows[w, i + 1], rows[w, i + 2], rows[w, i + 3]
            if a != 0.0 or b != 0.0 or c != 0.0 or d != 0.0:
                for j in range(wide):
                    room[w, j] += (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
    for w in range(first, last):
        for j in range(wide):
            into[w, j] = room[w, j]


@fused_piece
def outputs(weights, values, out):
    """Write the outputs [K * O] of all memories. All M places are added up, 0 where nothing is in use:
    so the sum has the same bits before a column is taken in, whose weight is 0, and after."""
    for o in range(out.shape[0]):
        total = np.float32(0.0)
        for j in range(weights.shape[1]):
            total += weights[o, j] * values[j]
        out[o] = total


@fused_piece
def along(rows, others, bends, scales, at, n, spreads):
    """Make P x of the row that waits at a place that of the P after those before it, for every
    memory; write x' P x of each into spreads [K]. Return False where rounding made one of them less
    than 0."""
    sound, wide = True, width_of(n)
    for k in range(spreads.shape[0]):
        for w in range(at):
            s = np.float32(0.0)
            for j in range(wide):
                s += others[k, w, j] * rows[at, j]
            s *= np.float32(bends[1 + k, w])
            for j in range(wide):
                others[k, at, j] -= s * others[k, w, j]
        spread = np.float32(0.0)
        for j in range(wide):
            spread += others[k, at, j] * rows[at, j]
        spreads[k] = scales[k] * spread
        sound &= spreads[k] >= 0.0
    return sound


@fused_piece
def step(weights, first, v, n, by):
    """Move weights along P x of the row at hand, by that much for each output: float32 [O], those of
    outputs from `first` on."""
    for o in range(by.shape[0]):
        for j in range(n):
            weights[first + o, j] += by[o] * v[j]


@piece
def wait(bends, scales, keeps, counts, spreads, h):
    """Have the row at hand, of curvature h, wait; return whether it is time to take what waits."""
    at = np.int64(counts[3])
    bends[0, at] = h
    for k in range(spreads.shape[0]):
        bends[1 + k, at] = h * scales[k] / (1.0 + h * spreads[k])
        scales[k] /= keeps[k]
    for i in range(1, 4):
        counts[i] += 1.0
    return counts[3] == WAIT


@piece
def take(part):
    """Take the rows that wait into P and curvatures, or renew the inverses where it is time."""
    n = np.int64(part.counts[0])
    if part.counts[1] >= part.every[0]:
        renew(part, n)
        return
    for k in range(part.inverse.shape[0]):
        _sink(part.inverse[k], part.along[k], part.bends[1 + k], n)
    settle(part, n)
    mark(part, n)


@fused_making_piece
def _sink(held, others, bends, n):
    """Take WAIT rows into P."""
    wide = width_of(n)
    room, s = np.zeros((WAIT, STRIDE), dtype=np.float32), np.zeros((STRIDE, WAIT), dtype=np.float32)
    for w in range(WAIT):
        for j in range(n):
            room[w, j] = others[w, j]
    for i in range(n):
        for w in range(WAIT):
            s[i, w] = -np.float32(bends[w]) * room[w, i]
    for i in range(n):
        a, b, c, d, e, f, g, h = (
            s[i, 0],
            s[i, 1],
            s[i, 2],
            s[i, 3],
            s[i, 4],
            s[i, 5],
            s[i, 6],
            s[i, 7],
        )
        for j in range(wide):
            held[i, j] += (
                (a * room[0, j] + b * room[1, j]) + (c * room[2, j] + d * room[3, j])
            ) + ((e * room[4, j] + f * room[5, j]) + (g * room[6, j] + h * room[7, j]))
