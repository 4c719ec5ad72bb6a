"""The passes of linear models and naive Bayes on bags, compiled; see words.py.

kind: 0 binary, 1 multiclass, 2 number.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece
from service.model.experts.cross_pass import FAR

RATES = np.array([6.25, 16.0, 0.3, 1.0, 2.5])
"""Steps of the linear members."""
BY_VALUE = np.array([0, 0, 1, 1, 1])
"""0: an entry counts 1, and a row's step is shared among its entries; 1: it counts as its value."""
DENSE = 0.3
"""Step of the dense inputs and of the bias, for all members."""
FIRST = 1e-3
KEEP = 0.9999
HUBER = 1.5
MOST = 4096
"""Entries of a row that count."""
SMOOTH = 0.3
TAMED = 0.4
"""Power of the likelihoods of naive Bayes: entries are far from independent."""
BETWEEN = 1.5
"""Between the value of a piece of a word, which is 1 here, and that of a word."""
MANY = 30.0
"""Known entries of a row from which on the power falls, so that long texts are not surer."""


@piece
def _place(salts, bag, entry, rows):
    code = mixed(salts[bag] + np.uint64(entry) * np.uint64(0x9E3779B97F4A7C15))
    return np.int64(code & np.uint64(rows - 1))


@piece
def _places(salts, pieces, spans, entries, values, rows, places, counts, whole):
    """Write rows of the table and values of a row's entries, and of those that are no pieces of
    words the rows into whole; return how many there are of both. pieces: [B] whether there are any."""
    n, n_whole = 0, 0
    for b in range(salts.shape[0]):
        first, low, top = n, math.inf, 0.0
        for e in range(spans[b], spans[b + 1]):
            if n < places.shape[0]:
                places[n] = _place(salts, b, entries[e], rows)
                counts[n] = values[e]
                low, top = min(low, counts[n]), max(top, counts[n])
                n += 1
        least = BETWEEN * low if pieces[b] and top > BETWEEN * low else -math.inf
        for m in range(first, n):
            if counts[m] > least:
                whole[n_whole] = places[m]
                n_whole += 1
    return n, n_whole


@piece
def _outputs(kind, dense_at, x, places, values, table, bias, k, out):
    """Write the outputs of linear member k [O]."""
    plain = BY_VALUE[k] == 0
    for o in range(out.shape[0]):
        total = bias[0, k, o, 0]
        for j in range(dense_at.shape[0]):
            total += bias[1 + j, k, o, 0] * min(max(x[dense_at[j]], -FAR), FAR)
        for m in range(places.shape[0]):
            w = float(table[places[m], k, o, 0])
            total += w if plain else w * values[m]
        out[o] = total
    if kind == 0:
        out[0] = 1.0 / (1.0 + math.exp(-min(max(out[0], -30.0), 30.0)))
    elif kind == 1:
        _softmax(out)


@piece
def _most(row):
    most = row[0]
    for i in range(1, row.shape[0]):
        most = max(most, row[i])
    return most


@piece
def _softmax(out):
    top, total = _most(out), 0.0
    for o in range(out.shape[0]):
        out[o] = math.exp(out[o] - top)
        total += out[o]
    for o in range(out.shape[0]):
        out[o] /= total


@piece
def _bayes(places, table, classes, seen, out):
    """Write the probabilities [C] of naive Bayes. classes: [C, 2] rows and entries."""
    n, total, known = out.shape[0], 0.0, 0
    for c in range(n):
        total += classes[c, 0]
    for c in range(n):
        out[c] = math.log((classes[c, 0] + SMOOTH) / (total + n * SMOOTH))
    for m in range(places.shape[0]):
        known += _most(table[places[m]]) > 0.0  # others say nothing
    power = TAMED * min(1.0, MANY / max(known, 1))
    for m in range(places.shape[0]):
        row = table[places[m]]
        if _most(row) > 0.0:
            for c in range(n):
                wide = classes[c, 1] + SMOOTH * (seen[0] + 1.0)
                out[c] += power * math.log((row[c] + SMOOTH) / wide)
    _softmax(out)


@piece
def _probabilities(p, into):
    if into.shape[0] == 1:
        into[0] = p[1]
    else:
        for c in range(p.shape[0]):
            into[c] = p[c]


@kernel
def learn(
    kind, dense_at, x, salts, pieces, spans, entries, values, y, weights, table, bias, counted, classes, seen,
    t_flags, c_flags, into,
):  # fmt: skip
    n_linear, n_out = RATES.shape[0], into.shape[2]
    room, each, whole = np.empty(MOST, np.int64), np.empty(MOST), np.empty(MOST, np.int64)
    out, p = np.empty(n_out), np.empty(classes.shape[0])
    width = table.shape[1] * n_out * 2
    for r in range(into.shape[0]):
        n, n_whole = _places(
            salts, pieces, spans[r], entries, values, table.shape[0], room, each, whole
        )
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        for k in range(n_linear):
            _outputs(kind, dense_at, x[r], room[:n], each[:n], table, bias, k, out)
            plain = BY_VALUE[k] == 0
            rate = RATES[k] / (n + 1.0) if plain else RATES[k]
            for o in range(n_out):
                into[r, k, o] = out[o]
                if not learned:
                    continue
                truth = y[r] if kind != 1 else (1.0 if int(y[r]) == o else 0.0)
                g = (out[o] - truth) * weights[r]
                if kind == 2:
                    g = min(max(g, -HUBER), HUBER)
                for m in range(n):
                    cell = table[room[m], k, o]
                    step = g if plain else g * each[m]
                    cell[1] = KEEP * cell[1] + step * step
                    cell[0] -= rate * step / math.sqrt(FIRST + cell[1])
                for j in range(bias.shape[0]):
                    step = g * min(max(x[r, dense_at[j - 1]], -FAR), FAR) if j > 0 else g
                    cell = bias[j, k, o]
                    cell[1] = KEEP * cell[1] + step * step
                    cell[0] -= DENSE * step / math.sqrt(FIRST + cell[1])
        if kind != 2:
            _bayes(whole[:n_whole], counted, classes, seen, p)
            _probabilities(p, into[r, n_linear])
        if not learned:
            continue
        for m in range(n):
            first = room[m] * width
            for b in range(first >> 6, ((first + width - 1) >> 6) + 1):
                t_flags[b] = 1
        if kind != 2:
            _count(whole[:n_whole], int(y[r]), weights[r], counted, classes, seen, c_flags)


@piece
def _count(places, label, weight, counted, classes, seen, flags):
    n = counted.shape[1]
    for m in range(places.shape[0]):
        row = counted[places[m]]
        if _most(row) == 0.0:
            seen[0] += 1.0
        row[label] += weight
        classes[label, 1] += weight
        first = places[m] * n
        for b in range(first >> 6, ((first + n - 1) >> 6) + 1):
            flags[b] = 1
    classes[label, 0] += weight
