"""The passes of the crosses, compiled; see cross.py. kind: 0 binary, 1 multiclass, 2 number."""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece

RATES = np.array([1.0, 4.0])
BINS, PAIR_BINS, TRIPLE_BINS = 16, 8, 4
FIRST = 1e-3
KEEP = 0.999
HUBER = 1.5
FAR = np.float32(32.0)
"""Furthest that a dense input lies from 0; deviations end at 8."""


@piece
def _places(salts, combos, ranks, ids, rows, keys, out):
    """Write the row of the table of each active input; return how many there are. keys: uint64
    [F + V, 3], room for what each field is in 16, 8 and 4 bins. rows is a power of two."""
    golden, mask = np.uint64(0x9E3779B97F4A7C15), np.uint64(rows - 1)
    n, n_numbers = salts.shape[0], ranks.shape[0]
    for f in range(n):
        if f < n_numbers:
            for i, bins in enumerate((BINS, PAIR_BINS, TRIPLE_BINS)):
                value = min(int(ranks[f] * np.float32(bins)) + 1, bins)
                keys[f, i] = salts[f] + np.uint64(0 if ranks[f] < 0 else value) * golden
        else:
            keys[f, :] = salts[f] + np.uint64(ids[f - n_numbers]) * golden
        out[f] = np.int64(mixed(keys[f, 0]) & mask)
    for m in range(combos.shape[0]):
        i, j, k = combos[m, 0], combos[m, 1], combos[m, 2]
        if i < 0:
            continue
        if k < 0:
            code = (keys[i, 1] * golden) ^ keys[j, 1]
        else:
            code = (((keys[i, 2] * golden) ^ keys[j, 2]) * golden) ^ keys[k, 2]
        out[n] = np.int64(mixed(code) & mask)
        n += 1
    return n


@piece
def _outputs(kind, near, places, table, dense, k, out):
    """Write the outputs of member k [O]: sums, then the link. near: dense inputs."""
    n = near.shape[0]
    for o in range(out.shape[0]):
        total = dense[n, k, o, 0]
        for m in range(places.shape[0]):
            total += table[places[m], k, o, 0]
        for j in range(n):
            total += near[j] * dense[j, k, o, 0]
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


@kernel
def learn(
    kind, salts, combos, dense_at, x, ranks, ids, y, weights, table, dense, t_flags, d_flags, into
):  # fmt: skip
    n_dense, n_out = dense_at.shape[0], into.shape[2]
    room = np.empty(salts.shape[0] + combos.shape[0], dtype=np.int64)
    keys, out = np.empty((salts.shape[0], 3), dtype=np.uint64), np.empty(n_out)
    row, near = table.shape[1] * n_out * 2, np.empty(n_dense, dtype=np.float32)
    for r in range(x.shape[0]):
        for j in range(n_dense):
            near[j] = min(max(x[r, dense_at[j]], -FAR), FAR)
        n = _places(salts, combos, ranks[r], ids[r], table.shape[0], keys, room)
        places = room[:n]
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        for k in range(into.shape[1]):
            _outputs(kind, near, places, table, dense, k, out)
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
                    value = near[j] if j < n_dense else np.float32(1.0)
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
