"""The mixture of experts for a number, compiled: Bayes by Laplace likelihoods, medians, two stacks.

Members and candidates are judged by how far they were from the label against their own usual
distance: a Laplace density, so that one wild label costs no more than it must. Where labels stand
on a grid (grid_pass.py), what has been nearest to them is said: the mixture, or the place on the
grid that is nearest to it or to one of the candidates.

Legend: K members, M = K + 1; inside the passes rounded up, see mixture_shares_pass.full.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece
from service.model.experts import grid_pass as grids
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
    exponentials,
    full,
    keep,
    logarithms,
    note,
    of_awake,
    reward,
    solve,
    total,
    wide,
)

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
PLACES = 2 + CANDIDATES
"""What may be said: the mixture, where it is on the grid, and where candidates are on it."""
SLOW = 1.0 / 4096.0
"""Slowest rate of how far those were off."""
DOUBT = 0.5
"""Share by which a place must have been nearer than the mixture after one row; falls with the root of
their number."""
TIE = 1e-4
"""Part of its distance from the mixture by which a place on the grid is missed."""
TOP_SHARE, TOP_DISCOUNT = 1e-2, 0.998
END_SHARE, END_DISCOUNT = 1e-3, 0.999


@piece
def _sort(values, order):
    """Sort indices by value, equal ones by themselves; they are nearly sorted from the row before."""
    for i in range(1, order.shape[0]):
        one = order[i]
        value = values[one]
        j = i - 1
        while j >= 0 and (
            values[order[j]] > value or (values[order[j]] == value and order[j] > one)
        ):
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = one


@piece
def _median(values, order, w, half):
    """Return the weighted median; order: indices that sort values; half: of the sum of weights."""
    reached = 0.0
    for i in range(order.shape[0]):
        reached += w[order[i]]
        if reached >= half:
            return values[order[i]]
    return values[order[-1]]


@piece
def _candidates(p, on, w, tops, usual, stacks, seen, order, near, found):
    """Write the candidates [CANDIDATES] of one row, and what the stacks see of it, near [M].

    p: [K]; on: [K] 1: awake; w: [3, K] weights, of sleepers 0; usual: [K + CANDIDATES].
    """
    wide_n, n = p.shape[0], order.shape[0]
    _sort(p, order)
    for i in range(3):
        norm = total(w[i], wide_n)
        found[i] = dot(w[i], p, wide_n) / norm
        found[3 + i] = _median(p, order, w[i], 0.5 * norm)
    base = dot(tops, found, tops.shape[0]) / total(tops, tops.shape[0])
    found[6] = base
    scale = max(usual[n + 6], LEAST)
    by = 1.0 / scale
    for k in range(min(wide_n, near.shape[0])):
        near[k] = (p[k] - base) * on[k] * by
    low, high = base, base
    for k in range(n):
        value = p[order[k]]
        if on[order[k]] > 0.0:
            low, high = min(low, value), max(high, value)
    near[n] = 1.0
    low, high = low - scale, high + scale
    for s in range(2):
        value = base + scale * dot(stacks[s], near, n + 1)
        found[7 + s] = min(max(value, low), high) if seen >= BEGIN else base


@piece
def _final(found, ends, grid, seen, said):
    """Return what is said of one row, and write what may be, said [PLACES]. grid: [SIZE + PLACES]
    see grid_pass; then how far off those were as a rule. seen: rows learned. What is said on one place of
    the grid keeps the order of the mixture, for whoever ranks by it."""
    said[0] = dot(ends, found, ends.shape[0]) / total(ends, ends.shape[0])
    said[1] = grids.nearest(grid, said[0])
    for i in range(CANDIDATES):
        said[2 + i] = grids.nearest(grid, found[i])
    if grid[0] <= 0.0:
        return said[0]
    off, best = grid[grids.SIZE :], 1
    for i in range(2, PLACES):
        if off[i] < off[best]:
            best = i
    nearer = 1.0 - DOUBT / math.sqrt(min(seen, 1.0 / SLOW) + 1.0)
    if off[best] >= nearer * off[0]:
        return said[0]
    return said[best] + TIE * (said[0] - said[best])


@piece
def _likelihoods(distances, usual, by, on, likely, room):
    """Write how likely the label was by each of K, against the likeliest, to the power of what the
    row counts. usual, likely: [K]; room: [4, K]. A label that surprises all of them, as where a level
    shifts, says nothing for those that are often far off: nobody is judged by less than the nearest
    one's distance."""
    n, best = likely.shape[0], -math.inf
    own, logs = room[2], room[3]
    least = math.inf
    for k in range(n):
        least = min(least, distances[k] if on[k] > 0.0 else least)
    least = max(least, LEAST)
    for k in range(n):
        own[k] = 2.0 * max(usual[k], least)
    logarithms(own[:n], logs, room)
    for k in range(n):
        logs[k] = -2.0 * distances[k] / own[k] - logs[k]
    for k in range(n):
        best = max(best, logs[k] if on[k] > 0.0 else best)
    for k in range(n):
        own[k] = by * max(min(logs[k] - best, 0.0), LOWEST)
    exponentials(own[:n], likely, room)


@piece
def _follow(usual, distances, seen, n):
    """Take the first n distances into what is usual."""
    rate = max(1.0 / (seen + 1.0), USUAL)
    for k in range(n):
        usual[k] += rate * (distances[k] - usual[k])


@kernel
def learn(
    p,
    y,
    worth,
    awake,
    weights,
    tops,
    ends,
    usual,
    stacks,
    gradients,
    curvatures,
    counts,
    tally,
    grid,
    out,
):
    """Write the mixture of each row, then learn from its label, row after row.

    worth: [N] what a row counts, 0: score only. gradients: [2, M], curvatures: [2, M, M], see
    mixture_shares_pass.solve; counts: [4]: rows since the last solution, rows learned, see
    mixture_shares_pass.evened. tally: [K, 5],
    see mixture_shares_pass.note. grid: see _final.
    """
    n_rows, n = p.shape[0], p.shape[1]
    on, all_on = awakened(awake), np.ones(CANDIDATES)
    m, wide_n, wide_m, count = n + 1, on.shape[0], full(n + 1), total(on, n)
    w = of_awake(weights, on)
    held = wide_m if any_of(worth) else 0  # what scoring has no use for
    slopes, noted, own = (
        wide(gradients, gradients.shape[0], wide_m),
        np.zeros((5, wide_n)),
        np.ones(wide_n),
    )
    first, second = wide(curvatures[0], held, held), wide(curvatures[1], held, held)
    for k in range(n):
        own[k] = usual[k]
        for i in range(5):
            noted[i, k] = tally[k, i]
    ours = usual[n:]
    each, near, found, order = (
        np.zeros(wide_n),
        np.zeros(wide_m),
        np.empty(CANDIDATES),
        np.arange(n),
    )
    far, squares, likely, prior = (
        np.empty(wide_n),
        np.empty(wide_n),
        np.empty(wide_n),
        np.empty(wide_n),
    )
    off, judged, mine = np.empty(CANDIDATES), np.empty(CANDIDATES), np.empty(CANDIDATES)
    said, low, room = np.empty(PLACES), np.empty((held, held)), np.empty((4, wide_n))
    for r in range(n_rows):
        for k in range(n):
            each[k] = p[r, k, 0]
        _candidates(each, on, w, tops, usual, stacks, counts[1], order, near, found)
        out[r, 0] = _final(found, ends, grid, counts[1], said)
        if not worth[r] > 0.0 or math.isnan(y[r]):
            continue
        seen, counted = counts[1], min(worth[r], HEAVIEST)
        even = counted * evened(counts[2:], counted, seen)
        base, scale = found[6], max(ours[6], LEAST)
        for k in range(wide_n):
            far[k] = abs(y[r] - each[k])
        for k in range(wide_n):
            squares[k] = far[k] * far[k]
        note(noted, squares, far, on, prior)
        if seen > 0:
            _likelihoods(far, own, even, on, likely, room)
            for i in range(3):
                reward(w[i], likely, SHARES[i], DISCOUNTS[i], on, count, prior, room)
        for k in range(n):
            prior[k] = own[k]
        _follow(own, far, seen, n)
        for k in range(n):
            own[k] = own[k] if awake[k] else prior[k]
        for i in range(CANDIDATES):
            off[i] = abs(y[r] - found[i])
        if seen > 0:
            _likelihoods(off, ours, even, all_on, judged, room)
            reward(ends, judged, END_SHARE, END_DISCOUNT, all_on, float(CANDIDATES), mine, room)
            _likelihoods(off, ours, even, all_on, judged[:3], room)
            reward(tops, judged, TOP_SHARE, TOP_DISCOUNT, all_on, 3.0, mine[:3], room)
        for k in range(wide_m):
            near[k] = min(max(near[k], -30.0), 30.0)
        for s in range(2):
            e = (y[r] - (found[7 + s] if seen >= BEGIN else base)) / scale
            h = counted * (1.0 if abs(e) <= HUBER else HUBER / abs(e))
            slope, by = slopes[s], h * e
            for i in range(wide_m):
                slope[i] += by * near[i]
            add(first if s == 0 else second, near, h, m)
        _follow(ours, off, seen, off.shape[0])
        rate = max(1.0 / (seen + 1.0), SLOW)
        for i in range(PLACES):
            grid[grids.SIZE + i] += rate * (abs(y[r] - said[i]) - grid[grids.SIZE + i])
        grids.follow(grid, y[r])
        counts[0] += 1.0
        counts[1] += 1.0
        if counts[0] >= min(EVERY, max(1.0, counts[1] / 64.0)):
            for s in range(2):
                kept = MEMORIES[s] ** counts[0]
                curved = first if s == 0 else second
                solve(curved, slopes[s], stacks[s], kept, RIDGES[s], low, m)
            counts[0] = 0.0
    if held == 0:
        return
    for k in range(n):
        usual[k] = own[k]
        for i in range(3):
            weights[i, k] = w[i, k] if awake[k] else weights[i, k]
        for i in range(5):
            tally[k, i] = noted[i, k]
    keep(slopes, gradients)
    keep(first, curvatures[0])
    keep(second, curvatures[1])
