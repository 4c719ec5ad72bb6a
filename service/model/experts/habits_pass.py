"""The pass of Habits, compiled; see habits.py. Legend: S sources, the first of which is all events; C
classes; M members: by own counts, by the last label, by the last two."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece

HEAVIEST = 64.0
"""A row counts as no more than so many."""
DRAWN = 1.0
"""Rows that draw counts towards what is known with less."""
MOST, MOST_COMMON = 512.0, 4096.0
"""Rows of one context, and of all, from which on what was counted is halved."""
SLOWEST = 1.0 / 1000.0
"""Slowest rate of the loss of a source."""
LEAST = 1e-4


@piece
def _drawn(counts, base, out):
    """Write the distribution [C] of counts [C], drawn towards base [C]."""
    total = DRAWN
    for c in range(out.shape[0]):
        total += counts[c]
    for c in range(out.shape[0]):
        out[c] = (counts[c] + DRAWN * base[c]) / total


@piece
def _count(counts, label, by, most):
    counts[label] += by
    total = 0.0
    for c in range(counts.shape[0]):
        total += counts[c]
    if total > most:
        for c in range(counts.shape[0]):
            counts[c] *= 0.5


@piece
def _flag(flags, row, width):
    first = row * width
    for b in range(first >> 6, ((first + width - 1) >> 6) + 1):
        flags[b] = 1


@kernel
def learn(
    first, rows, ids, y, weights, before, own, after, pairs, common, losses, seen, b_flags, o_flags,
    into,
):  # fmt: skip
    """first, rows: [S] of the sources among the rows of before [., 2], their last labels (0: none,
    else the class + 1), and of own [., C]. after: [S, C + 1, C]; pairs: [S, (C + 1)^2, C]."""
    n_rows, m_n, c_n = into.shape
    s_n = first.shape[0]
    p, keys, base = np.empty((s_n, m_n, c_n)), np.empty(s_n, dtype=np.int64), np.empty(c_n)
    even = np.full(c_n, 1.0 / c_n)
    for r in range(n_rows):
        _drawn(common, even, base)
        for s in range(s_n):
            keys[s] = first[s] + (ids[r, s - 1] % rows[s] if s > 0 else 0)
            last, other = int(before[keys[s], 0]), int(before[keys[s], 1])
            _drawn(own[keys[s]], base, p[s, 0])
            _drawn(after[s, last], base, p[s, 1])
            if m_n > 2:
                _drawn(pairs[s, last * (c_n + 1) + other], p[s, 1], p[s, 2])
        for m in range(m_n):
            best = 0
            for s in range(1, s_n):
                if losses[s, m] < losses[best, m]:
                    best = s
            for c in range(c_n):
                into[r, m, c] = p[best, m, c]
        if not weights[r] > 0.0 or math.isnan(y[r]):
            continue
        label, by = int(y[r]), min(weights[r], HEAVIEST)
        seen[0] += 1.0
        rate = max(1.0 / seen[0], SLOWEST)
        for s in range(s_n):
            for m in range(m_n):
                losses[s, m] += rate * (-math.log(max(p[s, m, label], LEAST)) - losses[s, m])
            last, other = int(before[keys[s], 0]), int(before[keys[s], 1])
            _count(own[keys[s]], label, by, MOST)
            _count(after[s, last], label, by, MOST)
            if m_n > 2:
                _count(pairs[s, last * (c_n + 1) + other], label, by, MOST)
            before[keys[s], 1], before[keys[s], 0] = last, label + 1
            _flag(b_flags, keys[s], 2)
            _flag(o_flags, keys[s], c_n)
        _count(common, label, by, MOST_COMMON)
