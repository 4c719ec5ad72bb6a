"""The mixture of experts, compiled: Bayes mixtures with a fixed share, a stack, Bayes over both.

Fixed share: Herbster and Warmuth 1998. What is forgotten goes by the information that labels carry,
not by their number: a row whose label was nearly sure counts little.

Legend: K members, C classes (two for a binary target), M = K + C + 1. Inside the passes K and M are
rounded up, see mixture_shares_pass.full.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece
from service.model.experts.mixture_shares_pass import (
    DISCOUNTS,
    HEAVIEST,
    LOWEST,
    SHARES,
    add,
    any_of,
    awakened,
    dot,
    evened,
    full,
    keep,
    logarithms,
    note,
    of_awake,
    reward,
    solve,
    total,
    weigh,
    wide,
)

CLIP = -8.0
RIDGE = 100.0
MEMORY = 0.9998
EVERY = 16
"""Rows between two solutions of the stack, once it has begun."""
TINY = 1e-7
TOP_SHARE, END_SHARE = 1e-2, 1e-3
"""Shares of the mixture of the three mixtures of Bayes, and of that of Bayes and the stack."""
_UNLIKELY = math.exp(LOWEST)


@piece
def _mixed(w, p, out):
    """Write the mixture [C] of a few distributions p [N, C] by weights w [N]."""
    norm = 1.0 / total(w, w.shape[0])
    for c in range(out.shape[0]):
        out[c] = 0.0
        for i in range(w.shape[0]):
            out[c] += w[i] * p[i, c]
        out[c] *= norm


@piece
def _row(p, n, on, w, tops, ends, a, work, pb, ps, sure, j, room, out):
    """Write the mixture of one row.

    n: members. p: [C, K]. on: [K] 1: awake. w: [3, K] weights, of sleepers 0. tops [3], ends [2]: weights. a: [M]
    the stack. work: [3 + 2, C]. pb, ps, out: [C]. sure: [C, K] logarithms of p. j: [C, M] what the
    stack sees; 0 behind its M inputs. room: [2, K].
    """
    c_n = p.shape[0]
    for i in range(3):
        norm = 1.0 / total(w[i], n)
        for c in range(c_n):
            work[i, c] = dot(w[i], p[c], n) * norm
    _mixed(tops, work[:3], pb)
    top = -math.inf
    for c in range(c_n):
        logarithms(p[c], sure[c], room)
        base = math.log(max(pb[c], TINY))
        near, known = j[c], sure[c]
        for k in range(min(on.shape[0], near.shape[0])):
            near[k] = (max(known[k], CLIP) - base) * on[k]
        for d in range(c_n):
            near[n + d] = 1.0 if d == c else 0.0
        near[n + c_n] = base
        ps[c] = base + dot(a, near, n + c_n + 1)
        top = max(top, ps[c])
    norm = 0.0
    for c in range(c_n):
        ps[c] = math.exp(ps[c] - top)
        norm += ps[c]
    for c in range(c_n):
        ps[c] /= norm
        work[3, c], work[4, c] = pb[c], ps[c]
    _mixed(ends, work[3:5], out)


@piece
def _open(p, each):
    """Write the probabilities p [K, O] into each [C, K], none of them below TINY."""
    n = p.shape[0]
    if p.shape[1] == 1:
        no, yes = each[0], each[1]
        for k in range(n):
            yes[k] = max(float(p[k, 0]), TINY)
            no[k] = max(1.0 - float(p[k, 0]), TINY)
        return
    for k in range(n):
        for c in range(p.shape[1]):
            each[c, k] = max(float(p[k, c]), TINY)


@piece
def _close(mixed, out):
    if out.shape[0] == 1:
        out[0] = min(max(mixed[1], TINY), 1.0 - TINY)
    else:
        for c in range(out.shape[0]):
            out[c] = mixed[c]


@piece
def _note(each, sure, label, on, tally, losses, right, seen):
    """Take how every member did into its tally [5, K]: whether the class that came had the highest
    probability, and the first of those that had."""
    known, mine = sure[label], each[label]
    for k in range(on.shape[0]):
        losses[k] = -known[k]
        right[k] = 1.0
    for c in range(each.shape[0]):
        one = each[c]
        if c < label:
            for k in range(on.shape[0]):
                right[k] = right[k] if mine[k] > one[k] else 0.0
        else:
            for k in range(on.shape[0]):
                right[k] = right[k] if mine[k] >= one[k] else 0.0
    note(tally, losses, right, on, seen)


@piece
def _few(w, p, label, by, share, discount):
    """Give mixtures of mixtures their due: p [N, C]. by: what the row counts."""
    n, norm, best = w.shape[0], 0.0, _UNLIKELY
    for i in range(n):
        best = max(best, p[i, label])
    for i in range(n):
        prior = (1.0 - share) * w[i] + share / n
        if discount != 1.0:
            prior = math.exp(discount * math.log(prior))
        if by == 1.0:
            w[i] = prior * max(p[i, label], _UNLIKELY)
        else:
            w[i] = prior * max(p[i, label] / best, _UNLIKELY) ** by
        norm += w[i]
    for i in range(n):
        w[i] /= norm


@piece
def _step(j, ps, label, by, gradient, curvature, mean, m):
    """Take a row, which counts `by`, into the slope and the curvature of the stack, of m inputs.
    j: [C, M]."""
    c_n, wide_m = j.shape
    if c_n == 2:  # both classes say the same
        e, far, no, yes = by * ((1.0 if label == 1 else 0.0) - ps[1]), mean, j[0], j[1]
        for i in range(wide_m):
            far[i] = yes[i] - no[i]
        for i in range(wide_m):
            gradient[i] += e * far[i]
        add(curvature, far, by * ps[0] * ps[1], m)
        return
    mean[:] = 0.0
    for c in range(c_n):
        one, share = j[c], ps[c]
        for i in range(wide_m):
            mean[i] += share * one[i]
    for c in range(c_n):
        one, e = j[c], by * ((1.0 if c == label else 0.0) - ps[c])
        for i in range(wide_m):
            gradient[i] += e * one[i]
        for i in range(wide_m):
            one[i] -= mean[i]
        add(curvature, one, by * ps[c], m)


@kernel
def learn(p, y, worth, awake, weights, tops, ends, a, gradient, curvature, counts, tally, out):
    """Write the mixture of each row, then learn from its label, row after row.

    worth: [N] what a row counts, 0: score only. gradient: [M], curvature: [M, M], see
    mixture_shares_pass.solve; counts: [5]: rows since the last solution, rows learned, information
    since the last solution, see mixture_shares_pass.evened. tally: [K, 5], see mixture_shares_pass.note.
    """
    n_rows, n, o = p.shape
    c_n = max(o, 2)
    on, m = awakened(awake), n + c_n + 1
    wide_n, wide_m, count = on.shape[0], full(m), total(on, n)
    w = of_awake(weights, on)
    held = wide_m if any_of(worth) else 0  # what scoring has no use for
    slope, curved, noted = np.zeros(wide_m), wide(curvature, held, held), np.zeros((5, wide_n))
    for i in range(m):
        slope[i] = gradient[i]
    for k in range(n):
        for i in range(5):
            noted[i, k] = tally[k, i]
    each, work, sure = np.ones((c_n, wide_n)), np.empty((5, c_n)), np.empty((c_n, wide_n))
    pb, ps, mixed = np.empty(c_n), np.empty(c_n), np.empty(c_n)
    j, mean, low = np.zeros((c_n, wide_m)), np.empty(wide_m), np.empty((held, held))
    likely, prior, room = np.empty(wide_n), np.empty(wide_n), np.empty((4, wide_n))
    for r in range(n_rows):
        _open(p[r], each)
        _row(each, n, on, w, tops, ends, a, work, pb, ps, sure, j, room, mixed)
        _close(mixed, out[r])
        if not worth[r] > 0.0 or math.isnan(y[r]):
            continue
        label, by = int(y[r]), min(worth[r], HEAVIEST)
        own = by * evened(counts[3:], by, counts[1])
        _note(each, sure, label, on, noted, likely, prior, room[0])
        spread = 1.0
        for c in range(c_n):
            spread -= mixed[c] * mixed[c]
        u = max(0.01, spread * c_n / (c_n - 1.0))
        came = each[label]
        for k in range(wide_n):
            likely[k] = max(came[k], _UNLIKELY)
        if own != 1.0:
            weigh(likely, own, on, room)
        for i in range(3):
            kept = math.exp(u * math.log(DISCOUNTS[i])) if i > 0 else 1.0
            reward(w[i], likely, SHARES[i], kept, on, count, prior, room)
        _few(tops, work[:3], label, own, TOP_SHARE, math.exp(u * math.log(DISCOUNTS[1])))
        _few(ends, work[3:5], label, own, END_SHARE, 1.0)
        _step(j, ps, label, by, slope, curved, mean, m)
        counts[0] += 1.0
        counts[1] += 1.0
        counts[2] += u
        if counts[0] >= min(EVERY, max(1.0, counts[1] / 64.0)):
            solve(curved, slope, a, MEMORY ** counts[2], RIDGE, low, m)
            counts[0] = counts[2] = 0.0
    if held == 0:
        return
    for k in range(n):
        for i in range(3):
            weights[i, k] = w[i, k] if awake[k] else weights[i, k]
        for i in range(5):
            tally[k, i] = noted[i, k]
    for i in range(m):
        gradient[i] = slope[i]
    keep(curved, curvature)
