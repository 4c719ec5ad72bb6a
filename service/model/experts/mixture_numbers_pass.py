"""The mixture of experts for a number, compiled: Bayes by Laplace likelihoods, medians, two stacks.

Members and candidates are judged by how far they were from the label against their own usual
distance: a Laplace density, so that one wild label costs no more than it must.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.experts.mixture_pass import (
    ALL,
    DISCOUNTS,
    SHARES,
    cholesky_solve,
    normalise,
    note,
)

LOWEST = -7.0
USUAL = 1.0 / 256.0
"""Slowest rate of a member's usual distance."""
LEAST = 1e-6
"""Smallest usual distance, in units of the target's frame."""
RIDGES = np.array([10.0, 100.0])
MEMORIES = np.array([0.999, 0.9998])
BEGIN = 32
"""Rows before the stacks are asked."""
HUBER = 1.5
EVERY = 8
CANDIDATES = 3 + 3 + 1 + 2
"""Means and medians of three mixtures, their mixture, two stacks."""


@njit(nogil=True, cache=True, error_model="numpy")
def _weights(logs, awake, w):
    total = 0.0
    for k in range(logs.shape[0]):
        w[k] = math.exp(logs[k]) if awake[k] else 0.0
        total += w[k]
    for k in range(logs.shape[0]):
        w[k] /= total


@njit(nogil=True, cache=True, error_model="numpy")
def _median(values, order, w):
    """Return the weighted median; order: indices that sort values."""
    total = 0.0
    for i in range(order.shape[0]):
        total += w[order[i]]
        if total >= 0.5:
            return values[order[i]]
    return values[order[-1]]


@njit(nogil=True, cache=True, error_model="numpy")
def _sort(values, order):
    """Sort indices by value; nearly sorted already from the row before."""
    for i in range(1, order.shape[0]):
        one = order[i]
        j = i - 1
        while j >= 0 and values[order[j]] > values[one]:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = one


@njit(nogil=True, cache=True, error_model="numpy")
def _candidates(p, awake, logs, tops, usual, stacks, seen, order, w, found):
    """Write the candidates [CANDIDATES] of one row. p: [K]; usual: [K + CANDIDATES]."""
    n = p.shape[0]
    _sort(p, order)
    for i in range(3):
        _weights(logs[i], awake, w[:n])
        total = 0.0
        for k in range(n):
            total += w[k] * p[k]
        found[i] = total
        found[3 + i] = _median(p, order, w)
    _weights(tops, ALL, w[:3])
    base = w[0] * found[0] + w[1] * found[1] + w[2] * found[2]
    found[6] = base
    scale = max(usual[n + 6], LEAST)
    low, high = base, base
    for k in range(n):
        if awake[k]:
            low, high = min(low, p[k]), max(high, p[k])
    low, high = low - scale, high + scale
    for s in range(2):
        total = stacks[s, n]
        for k in range(n):
            if awake[k]:
                total += stacks[s, k] * (p[k] - base) / scale
        value = base + scale * total
        found[7 + s] = min(max(value, low), high) if seen >= BEGIN else base


@njit(nogil=True, cache=True, error_model="numpy")
def _final(found, ends, w):
    _weights(ends, ALL, w[:CANDIDATES])
    total = 0.0
    for i in range(CANDIDATES):
        total += w[i] * found[i]
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def score(p, awake, logs, tops, ends, usual, stacks, counts, out):
    """Write the mixture of N rows. p: float32 [N, K, 1]; out: float64 [N, 1]."""
    n = p.shape[1]
    each, w, found = np.empty(n), np.empty(max(n, CANDIDATES)), np.empty(CANDIDATES)
    order = np.arange(n)
    for r in range(p.shape[0]):
        for k in range(n):
            each[k] = p[r, k, 0]
        order[:] = np.arange(n)
        _candidates(each, awake, logs, tops, usual, stacks, counts[1], order, w, found)
        out[r, 0] = _final(found, ends, w)


@njit(nogil=True, cache=True, error_model="numpy")
def _reward(logs, distances, usual, share, discount, awake, w):
    """Give every member its due; w: [2 K] room to work."""
    n, count, best = logs.shape[0], 0, -math.inf
    for k in range(n):
        if awake[k]:
            count += 1
            b = max(usual[k], LEAST)
            w[n + k] = -distances[k] / b - math.log(2.0 * b)
            best = max(best, w[n + k])
    _weights(logs, awake, w[:n])
    for k in range(n):
        if awake[k]:
            prior = math.log((1.0 - share) * w[k] + share / count)
            logs[k] = discount * prior + max(w[n + k] - best, LOWEST)
    normalise(logs, awake)


@njit(nogil=True, cache=True, error_model="numpy")
def _follow(usual, distance, seen):
    rate = max(1.0 / (seen + 1.0), USUAL)
    return usual + rate * (distance - usual)


@njit(nogil=True, cache=True, error_model="numpy")
def learn(
    p,
    y,
    learn_it,
    awake,
    logs,
    tops,
    ends,
    usual,
    stacks,
    gradients,
    curvatures,
    counts,
    tally,
    out,
):
    """Write the mixture of each row, then learn from its label, row after row.

    gradients: [2, M], curvatures: [2, M, M] with M = K + 1; counts: [2]: rows since the last
    solution, rows learned. tally: [K, 5], see mixture_pass.note.
    """
    n_rows, n = p.shape[0], p.shape[1]
    m = n + 1
    each, w, found = np.empty(n), np.empty(2 * max(n, CANDIDATES)), np.empty(CANDIDATES)
    far, order, j = np.empty(max(n, CANDIDATES)), np.arange(n), np.empty(m)
    for r in range(n_rows):
        for k in range(n):
            each[k] = p[r, k, 0]
        order[:] = np.arange(n)
        _candidates(each, awake, logs, tops, usual, stacks, counts[1], order, w, found)
        out[r, 0] = _final(found, ends, w)
        if not learn_it[r] or math.isnan(y[r]):
            continue
        seen = counts[1]
        base, scale = found[6], max(usual[n + 6], LEAST)
        for k in range(n):
            far[k] = abs(y[r] - each[k])
            if awake[k]:
                note(tally[k], far[k] * far[k], far[k])
        if seen > 0:
            for i in range(3):
                _reward(logs[i], far, usual, SHARES[i], DISCOUNTS[i], awake, w)
        for k in range(n):
            if awake[k]:
                usual[k] = _follow(usual[k], far[k], seen)
        for i in range(CANDIDATES):
            far[i] = abs(y[r] - found[i])
        if seen > 0:
            _reward(tops, far[:3], usual[n:], 1e-2, 0.998, ALL, w)
            _reward(ends, far, usual[n:], 1e-3, 0.999, ALL, w)
        for k in range(n):
            near = min(max((each[k] - base) / scale, -30.0), 30.0)
            j[k] = near if awake[k] else 0.0
        j[n] = 1.0
        for s in range(2):
            e = (y[r] - found[7 + s]) / scale
            if seen < BEGIN:
                e = (y[r] - base) / scale
            h = 1.0 if abs(e) <= HUBER else HUBER / abs(e)
            for i in range(m):
                gradients[s, i] += h * e * j[i]
                g = h * j[i]
                for k in range(m):
                    curvatures[s, i, k] += g * j[k]
        for i in range(CANDIDATES):
            usual[n + i] = _follow(usual[n + i], far[i], seen)
        counts[0] += 1.0
        counts[1] += 1.0
        if counts[0] >= min(EVERY, max(1.0, counts[1] / 64.0)):
            for s in range(2):
                kept = MEMORIES[s] ** counts[0]
                for i in range(m):
                    for k in range(m):
                        curvatures[s, i, k] *= kept
                    curvatures[s, i, i] += (1.0 - kept) * RIDGES[s]
                    gradients[s, i] -= (1.0 - kept) * RIDGES[s] * stacks[s, i]
                cholesky_solve(curvatures[s], gradients[s])
                for i in range(m):
                    stacks[s, i] += gradients[s, i]
                    gradients[s, i] = 0.0
            counts[0] = 0.0
