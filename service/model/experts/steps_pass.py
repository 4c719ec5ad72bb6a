"""The passes of steps, compiled; see steps.py.

Legend: L kinds of last labels; classes 0 lower, 1 the same, 2 higher. far: [L] usual
distance of each last label. moves: [2, 3] of labels that were lower, and higher: the median and the
mean of how far, and how many. level: [3] mean and mean distance from it of labels, and how many.
grid: see grid_pass.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece
from service.model.experts import grid_pass as grids
from service.model.experts.curvature_pass import HEAVY

RATE = 1.0
FIRST, KEEP = np.float32(1e-3), np.float32(0.9999)
"""AdaGrad: what each sum begins with, and what it keeps when it is touched."""
LANES = 4
"""Classes, and one that is none: a row of the table is of weights [LANES], then of sums of squares."""
SAME = 1e-5
"""Labels that are nearer are the same."""
LONGEST = 1000.0
"""Rows that a usual distance looks back on."""
SLOWEST = 0.01
"""Of the median of moves, which goes up or down by this share."""
CORE = 7
"""What came lately, of which all pairs count: the category's value, hour, weekday, the time since the
last label, the last label, its distance from two averages."""
NUMBER_BINS, HOURS, DAYS, AGES, MOST_AWAY = 16, 24.0, 7.0, 20.0, 4.0
_STEP = np.uint64(0x9E3779B97F4A7C15)


@piece
def _bin(value, low, high):
    """Return a whole number from 0. What lies on a border stays on one side of it when rounded."""
    return np.int64(min(max(math.floor(value + 1e-4), low), high) - low)


@piece
def _angle(x, sine, cosine, parts):
    """Return which of so many equal parts of a circle; 0: there is no time."""
    if sine < 0:
        return np.int64(0)
    turn = math.atan2(float(x[sine]), float(x[cosine])) / (2.0 * math.pi)
    return 1 + _bin((turn - math.floor(turn)) * parts, 0.0, parts - 1.0)


@piece
def _core(x, ids, salts, n_numbers, clock, source, moves, level, grid, core):
    """Write what came lately, each as a whole number, into core [CORE]."""
    last, v = np.float64(x[source[0]]), source[4]
    core[0] = np.uint64(0)
    if v >= 0:
        core[0] = mixed(salts[n_numbers + v] + np.uint64(ids[v]) * _STEP)
    core[1] = _angle(x, clock[0], clock[1], HOURS)
    core[2] = _angle(x, clock[2], clock[3], DAYS)
    core[3] = _bin(x[source[3]] * AGES, 0.0, 31.0) if source[3] >= 0 else 0
    unit = grid[0]
    if unit > 0.0:
        core[4] = _bin(float(grids.steps(grid, last)), -1000.0, 1000.0)
    else:
        core[4] = 4096 + _bin(2.0 * (last - level[0]) / max(level[1], SAME), -8.0, 8.0)
        unit = max(0.5 * (moves[0, 0] + moves[1, 0]), SAME)
    core[5] = _bin(2.0 * (last - x[source[1]]) / unit + 0.5, -MOST_AWAY, MOST_AWAY)
    core[6] = _bin((last - x[source[2]]) / unit + 0.5, -MOST_AWAY, MOST_AWAY)
    return last


@piece
def _places(ranks, ids, numbers, categories, salts, core, rows, out):
    """Write the row of the table of each active input; return how many there are."""
    mask, n = np.uint64(rows - 1), 0
    for i in range(CORE):
        one = core[i] * _STEP + np.uint64(i + 1)
        out[n] = np.int64(mixed(one) & mask)
        n += 1
        for j in range(i):
            other = np.uint64(64 * (i + 1) + j)
            out[n] = np.int64(mixed((mixed(one) + core[j]) * _STEP + other) & mask)
            n += 1
    for f in numbers:
        value = 0 if ranks[f] < 0 else 1 + min(int(ranks[f] * NUMBER_BINS), NUMBER_BINS - 1)
        out[n] = np.int64(mixed(salts[f] + np.uint64(value) * _STEP) & mask)
        n += 1
    for v in categories:
        code = salts[ranks.shape[0] + v] + np.uint64(ids[v]) * _STEP
        out[n] = np.int64(mixed(code) & mask)
        n += 1
    return n


@piece
def _chances(table, places, p):
    """Write the probabilities of the classes into p [LANES], 0 behind them."""
    p[:] = np.float32(0.0)
    for m in range(places.shape[0]):
        row = table[places[m]]
        for c in range(LANES):
            p[c] += row[c]
    top = max(p[0], p[1], p[2])
    for c in range(3):
        p[c] = math.exp(p[c] - top)
    norm = p[0] + p[1] + p[2]
    for c in range(3):
        p[c] /= norm


@piece
def _predict(last, p, moves, grid, into):
    """Write the predictions [2, 1] from probabilities p: the median and the mean."""
    into[0, 0] = last
    if p[0] > 0.5:
        into[0, 0] = grids.nearest(grid, last - moves[0, 0])
    elif p[2] > 0.5:
        into[0, 0] = grids.nearest(grid, last + moves[1, 0])
    into[1, 0] = last + p[2] * moves[1, 1] - p[0] * moves[0, 1]


@piece
def _least(far):
    best = 0
    for i in range(1, far.shape[0]):
        if far[i] < far[best]:
            best = i
    return best


@kernel
def learn(
    x, ranks, ids, numbers, categories, salts, clock, sources, table, far, moves, level, grid, y,
    weights, flags, into,
):  # fmt: skip
    core, p = np.empty(CORE, dtype=np.uint64), np.empty(LANES, dtype=np.float32)
    room = np.empty(CORE * CORE + numbers.shape[0] + categories.shape[0], dtype=np.int64)
    for r in range(x.shape[0]):
        source = sources[_least(far)]
        last = _core(x[r], ids[r], salts, ranks.shape[1], clock, source, moves, level, grid, core)
        n = _places(ranks[r], ids[r], numbers, categories, salts, core, table.shape[0], room)
        _chances(table, room[:n], p)
        _predict(last, p, moves, grid, into[r])
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        change = y[r] - last
        same = abs(change) <= SAME * (1.0 + abs(last))
        label = 1 if same else 0 if change < 0.0 else 2
        _step(table, room[:n], label, weights[r], p, flags)
        _remember(x[r], y[r], sources, far, level)
        if not same:
            _move(moves[label >> 1], abs(change))
        grids.follow(grid, y[r])


@piece
def _step(table, places, label, weight, p, flags):
    """Learn which class it was; p becomes the slopes."""
    p[label] -= np.float32(1.0)
    for c in range(LANES):
        p[c] *= np.float32(min(weight, HEAVY))
    rate = np.float32(RATE / places.shape[0])
    for m in range(places.shape[0]):
        row = table[places[m]]
        weights, squares = row[:LANES], row[LANES:]
        for c in range(LANES):
            squares[c] = KEEP * squares[c] + p[c] * p[c]
            weights[c] -= rate * p[c] / math.sqrt(FIRST + squares[c])
        flags[places[m] * 2 * LANES >> 6] = 1


@piece
def _remember(x, y, sources, far, level):
    """Take a label into what is usual."""
    level[2] += 1.0
    rate = max(1.0 / level[2], 1.0 / LONGEST)
    for i in range(far.shape[0]):
        far[i] += rate * (abs(y - x[sources[i, 0]]) - far[i])
    level[0] += rate * (y - level[0])
    level[1] += rate * (abs(y - level[0]) - level[1])


@piece
def _move(move, length):
    """Take how far a label was from the last one into median and mean of those of its direction."""
    move[2] += 1.0
    if move[2] == 1.0:
        move[0] = length
    by = max(1.0 / move[2], SLOWEST)
    move[0] *= 1.0 + by if length > move[0] else 1.0 / (1.0 + by) if length < move[0] else 1.0
    move[1] += max(1.0 / move[2], 1.0 / LONGEST) * (length - move[1])
