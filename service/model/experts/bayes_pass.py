"""The passes of naive Bayes, compiled; see bayes.py."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece

KEEP = np.array([0.9998, 0.998])
"""What is left of a count after one row, by member."""
SMOOTH = 0.3
BINS = 16
LARGEST = 1e30
"""What a new row counts grows instead of old ones shrinking; from here on all are made small."""


@piece
def _places(first, rows, ranks, ids, out):
    n = ranks.shape[0]
    for f in range(out.shape[0]):
        if f < n:
            value = 0 if ranks[f] < 0 else min(int(ranks[f] * BINS) + 1, BINS)
        else:
            value = ids[f - n] % rows[f]
        out[f] = first[f] + value


@piece
def _predict(places, counts, totals, classes, gain, values, k, p):
    """Write member k's probabilities [C]."""
    n = p.shape[0]
    s = SMOOTH * gain[k]
    for c in range(n):
        p[c] = classes[k, c] + s
    for f in range(places.shape[0]):
        wide = s * (values[f] + 1.0)
        cell = counts[places[f], k]
        top = 0.0
        for c in range(n):
            p[c] *= (cell[c] + s) / (totals[f, k, c] + wide)
            top = max(top, p[c])
        if top < 1e-60 or top > 1e60:
            for c in range(n):
                p[c] = max(p[c] / top, 1e-60)
    total = 0.0
    for c in range(n):
        total += p[c]
    for c in range(n):
        p[c] /= total


@piece
def _into(p, into):
    if into.shape[0] == 1:
        into[0] = p[1]
    else:
        for c in range(p.shape[0]):
            into[c] = p[c]


@kernel
def learn(
    first, rows, ranks, ids, y, weights, counts, flags, totals, classes, gain, values, into
):  # fmt: skip
    n_members, n_classes = classes.shape
    places, p = np.empty(first.shape[0] - 1, dtype=np.int64), np.empty(n_classes)
    width = n_members * n_classes
    for r in range(ranks.shape[0]):
        _places(first, rows, ranks[r], ids[r], places)
        for k in range(n_members):
            _predict(places, counts, totals, classes, gain, values, k, p)
            _into(p, into[r, k])
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        label = int(y[r])
        for f in range(places.shape[0]):
            seen = 0.0
            for c in range(n_classes):
                seen += counts[places[f], 0, c]
            if seen == 0.0:
                values[f] += 1.0
            for k in range(n_members):
                counts[places[f], k, label] += weights[r] * gain[k]
                totals[f, k, label] += weights[r] * gain[k]
            at = places[f] * width
            for b in range(at >> 6, ((at + width - 1) >> 6) + 1):
                flags[b] = 1
        for k in range(n_members):
            classes[k, label] += weights[r] * gain[k]
            gain[k] /= KEEP[k]
            if gain[k] > LARGEST:
                for i in range(counts.shape[0]):
                    for c in range(n_classes):
                        counts[i, k, c] /= gain[k]
                for c in range(n_classes):
                    classes[k, c] /= gain[k]
                    for f in range(totals.shape[0]):
                        totals[f, k, c] /= gain[k]
                gain[k] = 1.0
                flags[:] = 1
