"""The mixture of experts, compiled: Bayes mixtures with a fixed share, a stack, Bayes over both.

Fixed share: Herbster and Warmuth 1998. What is forgotten goes by the information that labels carry,
not by their number: a row whose label was nearly sure counts little.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SHARES = np.array([1e-4, 1e-3, 1e-2])
DISCOUNTS = np.array([1.0, 0.998, 0.99])
SLEEPING = -30.0
"""Log weight of a member that is asleep, or new among others: it earns its place by the share."""
LOWEST = -7.0
"""A member that was surer of the wrong class than this loses no more, in nats."""
CLIP = -8.0
RIDGE = 100.0
MEMORY = 0.9998
EVERY = 16
"""Rows between two solutions of the stack, once it has begun."""
TINY = 1e-7
ALL = np.ones(16, dtype=np.uint8)
"""Mixtures of mixtures have no sleepers."""


@njit(nogil=True, cache=True, error_model="numpy")
def _bayes(logs, p, awake, out):
    """Write the mixture [C] of members' probabilities p [K, C] by weights exp(logs) [K]."""
    total = 0.0
    out[:] = 0.0
    for k in range(logs.shape[0]):
        if awake[k]:
            w = math.exp(logs[k])
            total += w
            for c in range(out.shape[0]):
                out[c] += w * p[k, c]
    for c in range(out.shape[0]):
        out[c] = out[c] / total


@njit(nogil=True, cache=True, error_model="numpy")
def normalise(logs, awake):
    """Bring the weights of members that are awake to a sum of 1; those of others are SLEEPING."""
    top, total = -math.inf, 0.0
    for k in range(logs.shape[0]):
        if awake[k]:
            top = max(top, logs[k])
    for k in range(logs.shape[0]):
        if awake[k]:
            total += math.exp(logs[k] - top)
    norm = top + math.log(total)
    for k in range(logs.shape[0]):
        logs[k] = logs[k] - norm if awake[k] else SLEEPING


@njit(nogil=True, cache=True, error_model="numpy")
def _reward(logs, p, label, share, discount, awake):
    """Give every member its due for the class that came: fixed share, then Bayes."""
    n = 0
    for k in range(logs.shape[0]):
        n += awake[k]
    for k in range(logs.shape[0]):
        if awake[k]:
            w = (1.0 - share) * math.exp(logs[k]) + share / n
            logs[k] = discount * math.log(w) + max(math.log(max(p[k, label], TINY)), LOWEST)
    normalise(logs, awake)


@njit(nogil=True, cache=True, error_model="numpy")
def classes_row(p, awake, logs, tops, ends, a, work, pb, ps, out):
    """Write the mixture of one row. p: float64 [K, C]. logs [3, K], tops [3], ends [2]: log weights.
    a: [K + C + 1] the stack. work: [3 + 2, C]. pb, ps, out: [C]. awake: uint8 [K]."""
    n, c_n = p.shape[0], p.shape[1]
    for i in range(3):
        _bayes(logs[i], p, awake, work[i])
    _bayes(tops, work[:3], ALL, pb)
    top = -math.inf
    for c in range(c_n):
        base = math.log(max(pb[c], TINY))
        z = base * (1.0 + a[n + c_n]) + a[n + c]
        for k in range(n):
            if not awake[k]:
                continue
            z += a[k] * (max(math.log(max(p[k, c], TINY)), CLIP) - base)
        ps[c] = z
        top = max(top, z)
    total = 0.0
    for c in range(c_n):
        ps[c] = math.exp(ps[c] - top)
        total += ps[c]
    for c in range(c_n):
        ps[c] /= total
        work[3, c], work[4, c] = pb[c], ps[c]
    _bayes(ends, work[3:5], ALL, out)


@njit(nogil=True, cache=True, error_model="numpy")
def score(p, awake, logs, tops, ends, a, out):
    """Write the mixture of N rows. p: float32 [N, K, O] with O = 1 for two classes; out: [N, O]."""
    n_rows, n, o = p.shape
    c_n = max(o, 2)
    each, work = np.empty((n, c_n)), np.empty((5, c_n))
    pb, ps, mixed = np.empty(c_n), np.empty(c_n), np.empty(c_n)
    for r in range(n_rows):
        _open(p[r], each)
        classes_row(each, awake, logs, tops, ends, a, work, pb, ps, mixed)
        _close(mixed, out[r])


@njit(nogil=True, cache=True, error_model="numpy")
def _open(p, each):
    for k in range(p.shape[0]):
        if p.shape[1] == 1:
            each[k, 1] = p[k, 0]
            each[k, 0] = 1.0 - each[k, 1]
        else:
            for c in range(p.shape[1]):
                each[k, c] = p[k, c]


@njit(nogil=True, cache=True, error_model="numpy")
def _close(mixed, out):
    if out.shape[0] == 1:
        out[0] = min(max(mixed[1], TINY), 1.0 - TINY)
    else:
        out[:] = mixed


@njit(nogil=True, cache=True, error_model="numpy")
def learn(p, y, learn_it, awake, logs, tops, ends, a, gradient, curvature, counts, tally, out):
    """Write the mixture of each row, then learn from its label, row after row.

    gradient: [M], curvature: [M, M] with M = K + C + 1; counts: [3]: rows since the last solution,
    rows learned, information since the last solution. tally: [K, 5], see `note`.
    """
    n_rows, n, o = p.shape
    c_n = max(o, 2)
    m = n + c_n + 1
    each, work = np.empty((n, c_n)), np.empty((5, c_n))
    pb, ps, mixed = np.empty(c_n), np.empty(c_n), np.empty(c_n)
    j, mean = np.empty((c_n, m)), np.empty(m)
    for r in range(n_rows):
        _open(p[r], each)
        classes_row(each, awake, logs, tops, ends, a, work, pb, ps, mixed)
        _close(mixed, out[r])
        if not learn_it[r] or math.isnan(y[r]):
            continue
        label = int(y[r])
        for k in range(n):
            if not awake[k]:
                continue
            best = 0
            for c in range(1, c_n):
                if each[k, c] > each[k, best]:
                    best = c
            hit = 1.0 if best == label else 0.0
            note(tally[k], -math.log(max(each[k, label], TINY)), hit)
        spread = 1.0
        for c in range(c_n):
            spread -= mixed[c] * mixed[c]
        u = max(0.01, spread * c_n / (c_n - 1.0))
        for i in range(3):
            _reward(logs[i], each, label, SHARES[i], DISCOUNTS[i] ** u, awake)
        _reward(tops, work[:3], label, 1e-2, 0.998**u, ALL)
        _reward(ends, work[3:5], label, 1e-3, 1.0, ALL)
        # the stack: one row of an online Newton step
        for c in range(c_n):
            base = math.log(max(pb[c], TINY))
            for k in range(n):
                near = max(math.log(max(each[k, c], TINY)), CLIP) - base
                j[c, k] = near if awake[k] else 0.0
            for d in range(c_n):
                j[c, n + d] = 1.0 if d == c else 0.0
            j[c, n + c_n] = base
        mean[:] = 0.0
        for c in range(c_n):
            for i in range(m):
                mean[i] += ps[c] * j[c, i]
        for c in range(c_n):
            e = (1.0 if c == label else 0.0) - ps[c]
            for i in range(m):
                gradient[i] += e * j[c, i]
                j[c, i] -= mean[i]
        for c in range(c_n):
            for i in range(m):
                g = ps[c] * j[c, i]
                for k in range(m):
                    curvature[i, k] += g * j[c, k]
        counts[0] += 1.0
        counts[1] += 1.0
        counts[2] += u
        if counts[0] >= min(EVERY, max(1.0, counts[1] / 64.0)):
            kept = MEMORY ** counts[2]
            for i in range(m):
                for k in range(m):
                    curvature[i, k] *= kept
                curvature[i, i] += (1.0 - kept) * RIDGE
            # ridge pulls the stack towards the mixture of Bayes
            for i in range(m):
                gradient[i] -= (1.0 - kept) * RIDGE * a[i]
            cholesky_solve(curvature, gradient)
            for i in range(m):
                a[i] += gradient[i]
                gradient[i] = 0.0
            counts[0] = counts[2] = 0.0


FADE = 0.001


@njit(nogil=True, cache=True, error_model="numpy")
def note(tally, loss, mark):
    """Take a member's loss and mark (1: the class was right; of a number, how far it was off) into
    its tally [5]: rows, mean loss and mark of all of them, and both as fading means."""
    tally[0] += 1.0
    slow, fast = 1.0 / tally[0], max(1.0 / tally[0], FADE)
    tally[1] += slow * (loss - tally[1])
    tally[2] += slow * (mark - tally[2])
    tally[3] += fast * (loss - tally[3])
    tally[4] += fast * (mark - tally[4])


@njit(nogil=True, cache=True, error_model="numpy")
def cholesky_solve(a, b):
    """Solve a x = b in place of b, for a positive definite a, by Cholesky."""
    n = b.shape[0]
    low = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for k in range(j):
                s -= low[i, k] * low[j, k]
            if i == j:
                low[i, i] = math.sqrt(max(s, 1e-9))
            else:
                low[i, j] = s / low[j, j]
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= low[i, k] * b[k]
        b[i] = s / low[i, i]
    for i in range(n - 1, -1, -1):
        s = b[i]
        for k in range(i + 1, n):
            s -= low[k, i] * b[k]
        b[i] = s / low[i, i]
