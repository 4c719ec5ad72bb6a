"""The passes of the crosses, compiled; see cross.py. kind: 0 binary, 1 multiclass, 2 number."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.codes import mixed

RATES = np.array([1.0, 4.0])
BINS, PAIR_BINS, TRIPLE_BINS = 16, 8, 4
FIRST = 1e-3
KEEP = 0.999
HUBER = 1.5


@njit(nogil=True, cache=True)
def _value(f, bins, ranks, ids):
    """Return the bin of a number, 0 where it is missing, or the row of a category."""
    n = ranks.shape[0]
    if f >= n:
        return ids[f - n]
    return np.int64(0) if ranks[f] < 0 else 1 + min(np.int64(ranks[f] * bins), bins - 1)


@njit(nogil=True, cache=True)
def _places(salts, combos, ranks, ids, rows, out):
    """Write the row of the table of each active input; return how many there are."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    n = salts.shape[0]
    for f in range(n):
        value = np.uint64(_value(f, BINS, ranks, ids))
        out[f] = np.int64(mixed(salts[f] + value * golden) % np.uint64(rows))
    for m in range(combos.shape[0]):
        if combos[m, 0] < 0:
            continue
        bins = PAIR_BINS if combos[m, 2] < 0 else TRIPLE_BINS
        code = np.uint64(0)
        for i in range(3):
            f = combos[m, i]
            if f >= 0:
                code = mixed(code + salts[f] + np.uint64(_value(f, bins, ranks, ids)) * golden)
        out[n] = np.int64(code % np.uint64(rows))
        n += 1
    return n


@njit(nogil=True, cache=True)
def _outputs(kind, dense_at, x, places, table, dense, k, out):
    """Write the outputs of member k [O]: sums, then the link."""
    n = dense_at.shape[0]
    for o in range(out.shape[0]):
        total = float(dense[n, k, o, 0])
        for m in range(places.shape[0]):
            total += table[places[m], k, o, 0]
        for j in range(n):
            total += x[dense_at[j]] * dense[j, k, o, 0]
        out[o] = total
    if kind == 0:
        out[0] = 1.0 / (1.0 + math.exp(-min(max(out[0], -30.0), 30.0)))
    elif kind == 1:
        top = out[0]
        for o in range(1, out.shape[0]):
            top = max(top, out[o])
        total = 0.0
        for o in range(out.shape[0]):
            out[o] = math.exp(out[o] - top)
            total += out[o]
        for o in range(out.shape[0]):
            out[o] /= total


@njit(nogil=True, cache=True)
def score(kind, salts, combos, dense_at, x, ranks, ids, table, dense, into):
    room = np.empty(salts.shape[0] + combos.shape[0], dtype=np.int64)
    out = np.empty(into.shape[2])
    for r in range(x.shape[0]):
        n = _places(salts, combos, ranks[r], ids[r], table.shape[0], room)
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], room[:n], table, dense, k, out)
            for o in range(out.shape[0]):
                into[r, k, o] = out[o]


@njit(nogil=True, cache=True)
def learn(
    kind, salts, combos, dense_at, x, ranks, ids, y, weights, table, dense, t_flags, d_flags, into
):  # fmt: skip
    n_dense, n_out = dense_at.shape[0], into.shape[2]
    room = np.empty(salts.shape[0] + combos.shape[0], dtype=np.int64)
    out = np.empty(n_out)
    row = table.shape[1] * n_out * 2
    for r in range(x.shape[0]):
        n = _places(salts, combos, ranks[r], ids[r], table.shape[0], room)
        places = room[:n]
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], places, table, dense, k, out)
            rate = RATES[k] / (n + n_dense + 1)
            for o in range(n_out):
                into[r, k, o] = out[o]
                if not learned:
                    continue
                truth = y[r] if kind != 1 else (1.0 if int(y[r]) == o else 0.0)
                g = (out[o] - truth) * weights[r]
                if kind == 2:
                    g = min(max(g, -HUBER), HUBER)
                for m in range(n):
                    cell = table[places[m], k, o]
                    cell[1] = KEEP * cell[1] + g * g
                    cell[0] -= rate * g / math.sqrt(FIRST + cell[1])
                for j in range(n_dense + 1):
                    value = x[r, dense_at[j]] if j < n_dense else np.float32(1.0)
                    if value != 0.0:
                        cell, gj = dense[j, k, o], g * value
                        cell[1] = KEEP * cell[1] + gj * gj
                        cell[0] -= rate * gj / math.sqrt(FIRST + cell[1])
        if learned:
            d_flags[:] = 1
            for m in range(n):
                first = places[m] * row
                for b in range(first >> 6, ((first + row - 1) >> 6) + 1):
                    t_flags[b] = 1
