"""What mixtures for classes and for numbers have in common, compiled: shares and a solver.

Logarithms and powers are computed for many values at once. Loops take vector form: they run over few
arrays that do not overlap, of LANES values and multiples of it (see `full`; members that are not
there are asleep), have no branches, and do not look whether they divide by 0, which the error model
of numpy leaves to the processor. Sums have a fixed order.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import making_piece, piece

SHARES = np.array([1e-4, 1e-3, 1e-2])
DISCOUNTS = np.array([1.0, 0.998, 0.99])
SLEEPING = 1e-13
"""Weight of a member that is asleep, or new among others: it earns its place by the share."""
LOWEST = -7.0
"""A member that was worse than this loses no more, in nats."""
HEAVIEST = 64.0
"""A row counts as no more than so many."""
EVENED = 1.0 / 4096.0
"""Slowest rate of the means of what rows count."""
FADE = 0.001
LANES = 16
"""Values that a loop in vector form does at once."""
_FRACTION, _POWER = np.uint64(52), np.uint64(1023 << 52)
_ROOT = np.uint64((1023 << 52) - np.float64(math.sqrt(0.5)).view(np.int64))
"""Added to the bits of a number, carries into the power where the fraction is above the root of 2."""
_LARGE = np.uint64(0x4330000000000000)
_NEAREST = 6755399441055744.0
"""1.5 * 2^52: what is added to it is rounded to whole numbers."""
_LN2, _LN2_HIGH, _LN2_LOW = math.log(2.0), 0.693147180369123816490, 1.90821492927058770002e-10


@piece
def logarithms(x, out, room):
    """Write the logarithms [N] of positive x [N], to within 1e-12, not into x. room: [2, N or more]."""
    n = x.shape[0]
    bits, fraction, power = x.view(np.uint64), room[0].view(np.uint64), room[1].view(np.uint64)
    for i in range(n):
        k = (bits[i] + _ROOT) >> _FRACTION
        fraction[i] = bits[i] - (k << _FRACTION) + _POWER
        power[i] = k | _LARGE
    for i in range(n):
        m = room[0, i]
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        t = 1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0))
        t = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * t)))
        out[i] = (room[1, i] - 4503599627371519.0) * _LN2 + 2.0 * s * t


@piece
def exponentials(x, out, room):
    """Write the exponentials [N] of x [N] within -700 .. 700, to within 1e-12 of each, not into x."""
    n = x.shape[0]
    bits, power = room[0].view(np.uint64), room[1].view(np.uint64)
    for i in range(n):
        room[0, i] = x[i] * (1.0 / _LN2) + _NEAREST
    for i in range(n):
        power[i] = (bits[i] << _FRACTION) + _POWER
    for i in range(n):
        whole = room[0, i] - _NEAREST
        r = (x[i] - whole * _LN2_HIGH) - whole * _LN2_LOW
        t = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r * (1.0 / 3628800.0))
        t = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * t))
        t = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * t))))
        out[i] = t * room[1, i]


@piece
def total(x, n):
    """Return the sum of the first n."""
    whole = n // 4 * 4
    a = b = c = d = 0.0
    for i in range(0, whole, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(whole, n):
        a += x[i]
    return (a + b) + (c + d)


@piece
def dot(x, y, n):
    """Return the sum of the first n products."""
    whole = n // 4 * 4
    a = b = c = d = 0.0
    for i in range(0, whole, 4):
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
    for i in range(whole, n):
        a += x[i] * y[i]
    return (a + b) + (c + d)


@piece
def reward(w, likely, share, discount, on, count, prior, room):
    """Give every member its due: fixed share, what is forgotten, then Bayes.

    w: [K] weights, whose sum is 1 afterwards. likely: [K] likelihoods of what came, at least
    exp(LOWEST) of the best. on: [K] 1: awake, 0: asleep; count: how many are awake. prior: [K] room;
    room: [4, K].
    """
    n, each = w.shape[0], share / count
    for k in range(n):
        prior[k] = ((1.0 - share) * w[k] + each) * on[k] + (1.0 - on[k])
    if discount != 1.0:
        logs, other = room[2], room[3]
        logarithms(prior, logs, room)
        for k in range(n):
            logs[k] *= discount
        exponentials(logs, other, room)
        for k in range(n):
            w[k] = other[k] * likely[k] * on[k]
    else:
        for k in range(n):
            w[k] = prior[k] * likely[k] * on[k]
    norm = 1.0 / total(w, n)
    for k in range(n):
        w[k] *= norm


@piece
def evened(means, by, seen):
    """Take what a row counts into the means of that and of its square, [2]; return what to multiply
    it by so that rows count in all as many as there are of like weight. Else one row that counts
    fifty would turn the weights of members over and those after it turn them back. seen: rows."""
    rate = max(1.0 / (seen + 1.0), EVENED)
    means[0] += rate * (by - means[0])
    means[1] += rate * (by * by - means[1])
    return means[0] / means[1] if means[1] > 0.0 else 1.0


@piece
def weigh(likely, by, on, room):
    """Take likelihoods [K] to the power of what the row counts, against the best of those that are
    awake: on [K]. by: at most HEAVIEST. room: [4, K]."""
    n, best = likely.shape[0], 0.0
    logs, powers = room[2, :n], room[3, :n]
    for k in range(n):
        best = max(best, likely[k] * on[k])
    logarithms(likely, logs, room)
    top = math.log(best)
    for k in range(n):
        powers[k] = by * max(min(logs[k] - top, 0.0), LOWEST)
    exponentials(powers, likely, room)


@piece
def note(tally, losses, marks, on, seen):
    """Take losses and marks [K] (1: the class was right; of a number, how far it was off) of those
    that are awake into the tally [5, K]: rows, mean loss and mark of all of them, and both as fading
    means. seen: [K] room."""
    rows = tally[0]
    for k in range(rows.shape[0]):
        rows[k] += on[k]
        seen[k] = on[k] / max(rows[k], 1.0)
    _follow(tally[1], losses, seen)
    _follow(tally[2], marks, seen)
    for k in range(rows.shape[0]):
        seen[k] = max(seen[k], FADE * on[k])
    _follow(tally[3], losses, seen)
    _follow(tally[4], marks, seen)


@piece
def _follow(means, values, rates):
    for k in range(means.shape[0]):
        means[k] += rates[k] * (values[k] - means[k])


@piece
def full(n):
    """Return the next multiple of LANES: loops over so many have no rest to do one by one."""
    return (n + LANES - 1) // LANES * LANES


@making_piece
def awakened(awake):
    """Return [full(K)] 1: awake, 0: asleep, or not there."""
    on = np.zeros(full(awake.shape[0]))
    for k in range(awake.shape[0]):
        on[k] = awake[k]
    return on


@making_piece
def of_awake(weights, on):
    """Return weights [3, K] times on [full(K)], with as many columns as that."""
    into = np.zeros((weights.shape[0], on.shape[0]))
    for i in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            into[i, k] = weights[i, k] * on[k]
    return into


@piece
def any_of(flags):
    """Return whether one of the flags [N] is set."""
    found = False
    for r in range(flags.shape[0]):
        found = found or flags[r] != 0
    return found


@making_piece
def wide(matrix, rows, columns):
    """Return a copy with so many rows and columns; what is added is 0, but for ones on the diagonal
    of what has as many of both. Of no rows and columns there is nothing to copy."""
    into = np.zeros((rows, columns))
    if rows == columns:
        for i in range(rows):
            into[i, i] = 1.0
    for i in range(min(rows, matrix.shape[0])):
        for k in range(matrix.shape[1]):
            into[i, k] = matrix[i, k]
    return into


@piece
def keep(matrix, into):
    """Write what `wide` was given back, the lower triangle of a square one from the upper."""
    square = matrix.shape[0] == matrix.shape[1]
    for i in range(into.shape[0]):
        for k in range(into.shape[1]):
            into[i, k] = matrix[k, i] if square and k < i else matrix[i, k]


@piece
def add(curvature, j, by, m):
    """Add by * j j' to a symmetric matrix [full(m), full(m)]: to its upper triangle."""
    for i in range(m):
        s, first = by * j[i], i // LANES * LANES
        row, along = curvature[i, first:], j[first:]
        for k in range(row.shape[0]):
            row[k] += s * along[k]


@piece
def solve(curvature, gradient, stack, kept, ridge, low, m):
    """Forget, give back the ridge that was forgotten, and take the stack to where it pays best.

    curvature: [full(m), full(m)], of which the upper triangle counts. gradient: [full(m)], 0
    afterwards. kept: share that is not forgotten. low: room as large as the curvature.
    """
    for i in range(m):
        row, into = curvature[i], low[i]
        for k in range(row.shape[0]):
            row[k] *= kept
        row[i] += (1.0 - kept) * ridge
        for k in range(row.shape[0]):
            into[k] = row[k]
        gradient[i] -= (1.0 - kept) * ridge * stack[i]
    _cholesky(low, gradient, m)
    for i in range(m):
        stack[i] += gradient[i]
        gradient[i] = 0.0


@piece
def _cholesky(u, b, n):
    """Solve A x = b in place of b, for a positive definite A [n, n] given by its upper triangle u;
    what is below it is spoilt."""
    for i in range(n):  # u becomes U with U' U = A
        whole, first = i // 4 * 4, i // LANES * LANES
        top = u[i, first:]
        for k in range(0, whole, 4):
            p, q, r, s = u[k, first:], u[k + 1, first:], u[k + 2, first:], u[k + 3, first:]
            a0, a1, a2, a3 = u[k, i], u[k + 1, i], u[k + 2, i], u[k + 3, i]
            for j in range(top.shape[0]):
                top[j] -= (a0 * p[j] + a1 * q[j]) + (a2 * r[j] + a3 * s[j])
        for k in range(whole, i):
            e, t = u[k, i], u[k, first:]
            for j in range(top.shape[0]):
                top[j] -= e * t[j]
        by = 1.0 / math.sqrt(max(u[i, i], 1e-9))
        for j in range(top.shape[0]):
            top[j] *= by
        u[i, i] = by  # its inverse is what is asked for
    for i in range(n):
        b[i] *= u[i, i]
        e, top = b[i], u[i]
        for j in range(i + 1, n):
            b[j] -= e * top[j]
    for i in range(n - 1, -1, -1):
        b[i] = (b[i] - dot(u[i, i + 1 :], b[i + 1 :], n - i - 1)) * u[i, i]
