"""The passes of factors, compiled; see factors.py. kind: 0 binary, 2 number."""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece

SETTINGS = ((3.0, 0.0, 20.0), (3.0, 0.6, 20.0), (3.0, 0.6, 60.0), (8.0, 0.6, 30.0))
"""m, rate of the factors, and memory in rows, of each member."""
WIDTH = 16
"""Factors of a value."""
PLACE = 64
"""Floats of a value: how often it came, a bias and factors for each member, some to spare."""
BIASES, FACTORS = 4, 8
"""Where they begin; the first member has no factors."""
MOST_CATEGORIES, MOST_VALUES = 12, 16384
MEMORY = 256.0
"""Rows of a value that are counted, at most."""
CONSTANT_MEMORY = 2000.0
"""Rows that the constant is the mean of, at most."""
BEGIN = 0.05
"""Deviation of factors at the beginning."""
HUBER = 1.5
"""Error of a number, in units of its frame, beyond which the slope grows no more."""
FURTHEST = 1e6
"""Largest output."""
SEED = np.uint64(40)
"""Where the seed stands in the code that a value's factors are drawn from."""
LARGEST = np.float32(8.0)
"""Largest factor."""


@piece
def _places(ids, rows, into):
    """Write where the values of a row are kept; return how many are not missing."""
    first, count = 0, 0
    for c in range(rows.shape[0]):
        if ids[c] > 0:
            into[count] = first + ids[c] % rows[c]
            count += 1
        first += rows[c]
    return count


@piece
def _outputs(kind, places, count, values, constant, sums, out):
    """Write the prediction of each member into out [K], and the sums of factors [K, WIDTH]."""
    for k in range(out.shape[0]):
        total, pairs = constant[k], 0.0
        for i in range(count):
            total += values[places[i], BIASES + k]
        for f in range(WIDTH):
            sums[k, f] = 0.0
        if k > 0:
            for i in range(count):
                for f in range(WIDTH):
                    sums[k, f] += values[places[i], FACTORS + (k - 1) * WIDTH + f]
            for f in range(WIDTH):
                square = sums[k, f] * sums[k, f]
                for i in range(count):
                    v = values[places[i], FACTORS + (k - 1) * WIDTH + f]
                    square -= v * v
                pairs += square
        out[k] = min(max(total + 0.5 * pairs, -FURTHEST), FURTHEST)
        if kind == 0:
            out[k] = 1.0 / (1.0 + math.exp(-min(max(out[k], -30.0), 30.0)))


@kernel
def learn(kind, ids, y, weights, rows, settings, seed, values, constant, touched, into):
    places, n = np.empty(rows.shape[0], dtype=np.int64), settings.shape[0]
    sums, out = np.empty((n, WIDTH), dtype=np.float32), np.empty(n)
    for r in range(ids.shape[0]):
        count = _places(ids[r], rows, places)
        _outputs(kind, places, count, values, constant, sums, out)
        for k in range(n):
            into[r, k, 0] = out[k]
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        weight = min(weights[r], MEMORY)
        fresh = False
        for i in range(count):
            if values[places[i], 0] == 0.0:
                begin(values[places[i]], np.uint64(places[i]) ^ (seed << SEED))
                fresh = True
            values[places[i], 0] = min(values[places[i], 0] + weight, MEMORY)
            touched[places[i]] = 1
        if fresh:
            _outputs(kind, places, count, values, constant, sums, out)
        constant[n] = min(constant[n] + weight, CONSTANT_MEMORY)
        for k in range(n):
            m, rate, memory = float(settings[k, 0]), settings[k, 1], float(settings[k, 2])
            e = out[k] - y[r]
            g = weight * (e if kind == 0 else min(max(e, -HUBER), HUBER))
            # no step of a row goes beyond its own label
            steep = 0.25 if kind == 0 else 1.0
            reach = 1.0 / (steep * constant[n] + m)
            for i in range(count):
                reach += 1.0 / (steep * min(values[places[i], 0], memory) + m)
            g /= max(1.0, reach * weight * steep)
            constant[k] -= g / (steep * constant[n] + m)
            for i in range(count):
                p = places[i]
                seen = values[p, 0]
                values[p, BIASES + k] -= np.float32(g / (steep * min(seen, memory) + m))
                if k > 0:
                    by = np.float32(g / math.sqrt(seen)) * rate
                    at = FACTORS + (k - 1) * WIDTH
                    for f in range(WIDTH):
                        v = values[p, at + f]
                        v -= by * (sums[k, f] - v)
                        values[p, at + f] = min(max(v, -LARGEST), LARGEST)


@piece
def begin(place, code):
    """Draw the factors of a value that comes for the first time: evenly, with deviation BEGIN."""
    for f in range(FACTORS, FACTORS + (BIASES - 1) * WIDTH):
        code = mixed(code + np.uint64(f))
        even = np.float64(code >> np.uint64(11)) / 9007199254740992.0
        place[f] = BEGIN * math.sqrt(12.0) * (even - 0.5)
