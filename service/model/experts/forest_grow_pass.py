"""How a tree of the forest is made from a window of rows, compiled.

Histograms of 32 bins, best gain first come (Breiman 2001; bins as in Ke et al. 2017, LightGBM), from
the root down, left before right. A tree is made in one go: about a millisecond for 5,000 rows.

Legend: D columns, M rows of the window's sample, F columns of the tree, O outputs, P planes.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import making_piece, piece
from service.model.experts.forest_bins_pass import (
    BINS,
    LANES,
    ROOM,
    best_classes,
    best_labels,
    cumulate,
    fill_classes,
    fill_labels,
    part,
    take_apart,
)

DEPTH = 12
SHARE, COLUMNS = 0.63, 0.8
"""Of the window's rows and of the columns that a tree sees."""
MOST_COLUMNS = 64
"""That a tree sees."""
MOST_PLANES = 4
"""Of a node's histogram: rows, then a label each but the most frequent; rarer ones count as that."""
TOGETHER = 256
"""Rows whose values of a column are compared at a time."""
PURE = 1e-6
"""Least sum of squared deviations, or weight of other classes, in a node that is split."""
_ONE = np.uint64(0x9E3779B97F4A7C15)


@piece
def _chance(seed, i):
    """Return the i-th draw, in [0, 1)."""
    return (mixed(seed + np.uint64(i) * _ONE) >> np.uint64(40)) / 2.0**24


@making_piece
def choose_columns(edges, width, seed, chosen):
    """Write which of the first `width` columns a tree sees, those with the most bins first, else in
    any order; return how many. edges: [D, BINS], its last the number of edges."""
    usable = 0
    for j in range(width):
        usable += edges[j, BINS - 1] > 0
    wanted = min(math.ceil(COLUMNS * usable), MOST_COLUMNS)
    keys = np.empty(MOST_COLUMNS)
    n = 0
    for j in range(width):
        if edges[j, BINS - 1] == 0:
            continue
        if _chance(seed, j) * usable < wanted - n:  # so many of those that are left are wanted
            key = edges[j, BINS - 1] + _chance(seed, -1 - j)
            at = n
            while at > 0 and keys[at - 1] < key:
                chosen[at], keys[at] = chosen[at - 1], keys[at - 1]
                at -= 1
            chosen[at], keys[at] = j, key
            n += 1
        usable -= 1
    return n


@making_piece
def code_rows(ring, edges, end, window, seed, chosen, y_at, w_at, codes, y, w):
    """Write codes uint8 [<= M, F], labels and weights of the rows that a tree sees, of the `window`
    rows before the end-th; return how many."""
    size, n = ring.shape[0], 0
    slots = np.empty(codes.shape[0], dtype=np.int64)
    for i in range(end - window, end):
        if n == codes.shape[0] or (_chance(seed, i) >= SHARE and (n > 0 or i < end - 1)):
            continue
        slots[n] = i % size
        y[n], w[n] = ring[slots[n], y_at], ring[slots[n], w_at]
        n += 1
    for first in range(0, n, TOGETHER):
        last = min(first + TOGETHER, n)
        _code(ring, slots[first:last], edges, chosen, codes[first:last])
    return n


@making_piece
def _code(ring, slots, edges, chosen, codes):
    """Write codes of some rows: how many borders lie below each value."""
    values, below = np.zeros(TOGETHER, dtype=np.float32), np.zeros(TOGETHER, dtype=np.int32)
    for f in range(chosen.shape[0]):
        column = chosen[f]
        for i in range(slots.shape[0]):
            values[i] = ring[slots[i], column]
        below[:] = 0
        for b in range(int(edges[column, BINS - 1])):
            border = edges[column, b]
            for i in range(TOGETHER):
                below[i] += 1 if values[i] > border else 0
        for i in range(slots.shape[0]):
            codes[i, f] = below[i]


@piece
def _planes(sums, plane_of, weights):
    """Give each label of a node but the most frequent a plane, while there are some; return how
    many planes there are, that of all rows among them. weights: [P] of each plane."""
    most = 0
    for c in range(1, plane_of.shape[0]):
        if sums[2 + c] > sums[2 + most]:
            most = c
    n = 1
    for c in range(plane_of.shape[0]):
        plane_of[c] = 0
        if c != most and sums[2 + c] > 0.0 and n < MOST_PLANES:
            plane_of[c], weights[n] = n, sums[2 + c]
            n += 1
    return n


@piece
def _add(kind, y, w, order, first, end, sums):
    """Write the sums of rows: weight, squared labels, then labels, or weights of classes [O]."""
    for o in range(sums.shape[0]):
        sums[o] = 0.0
    for i in range(first, end):
        label, weight = y[order[i]], w[order[i]]
        sums[0] += weight
        if kind == 1:
            sums[2 + int(label)] += weight
        else:
            sums[1] += weight * label * label
            sums[2] += weight * label


@piece
def _is_open(kind, sums, rows, depth, least):
    """Return whether a node is to be split, if it can be."""
    if depth >= DEPTH or rows < least or not sums[0] > 0.0:
        return False
    if kind != 1:
        return sums[1] - sums[2] * sums[2] / sums[0] > PURE
    most = 0.0
    for c in range(2, sums.shape[0]):
        most = max(most, sums[c])
    return sums[0] - most > PURE


@piece
def _divide(codes, border, order, spare, first, end):
    """Bring the rows with a code up to the border to the front; return where the others begin."""
    middle, rest = first, 0
    for i in range(first, end):
        r = order[i]
        low = 1 if codes[r] <= border else 0
        order[middle] = r
        spare[rest] = r
        middle += low
        rest += 1 - low
    for i in range(rest):
        order[middle + i] = spare[i]
    return middle


@piece
def _most_edges(edges, chosen):
    """Return how many edges the column with the most of them has."""
    most = 0
    for f in range(chosen.shape[0]):
        most = max(most, int(edges[chosen[f], BINS - 1]))
    return most


@making_piece
def grow(kind, codes, y, w, n, edges, chosen, least, prior, splits, leaves):
    """Make a tree of n coded rows. kind: 1: labels are classes; else numbers. least: rows that a
    node to be split has. prior: [O] the value above the root's.

    splits: float32 [2 L, 4]: 1 + column (0: a leaf), border, first child or leaf. leaves: [L, 1 + O]:
    weight + 1, value. A node's value is (sum of labels + value above) / (weight + 1). Returns nodes
    and leaves used.
    """
    n_columns, n_out = chosen.shape[0], prior.shape[0]
    order, spare = np.arange(n, dtype=np.int32), np.empty(n + 1, dtype=np.int32)
    deep = DEPTH + 2
    wide, used = -(-n_columns // LANES) * LANES, _most_edges(edges, chosen)
    hist = np.empty((BINS, wide, 2), dtype=np.float32)
    hists = np.empty((1 if kind == 1 else deep, 2, BINS, wide), dtype=np.float32)
    planes = np.zeros((MOST_PLANES if kind == 1 else 1, BINS, wide), dtype=np.float32)
    room = np.empty(ROOM, dtype=np.float32)
    plane_of, weights = np.zeros(n_out, dtype=np.int64), np.zeros(MOST_PLANES)
    stack, sums = np.empty((deep, 4), dtype=np.int64), np.empty((deep, 2 + n_out))
    above, value = np.empty((deep, n_out)), np.empty(n_out)
    mine = np.empty(2 + n_out)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, n, 0
    for o in range(n_out):
        above[0, o] = prior[o]
    least = max(least, 2)
    _add(kind, y, w, order, np.int64(0), n, sums[0])
    if kind != 1 and n_columns > 0:
        fill_labels(codes, y, w, order, np.int64(0), n, hist)
        take_apart(hist, hists[0])
        cumulate(hists[0], used, room)
    height, nodes, ends = 1, 1, 0
    while height > 0:
        height -= 1
        node, first, end, depth = stack[height]
        total = sums[height, 0]
        for o in range(2 + n_out):
            mine[o] = sums[height, o]
        for o in range(n_out):
            value[o] = (mine[2 + o] + above[height, o]) / (total + 1.0)
        split, border, middle = 0, 0, first
        fits = ends + height + 2 <= leaves.shape[0] and n_columns > 0
        if fits and _is_open(kind, mine, end - first, depth, least):
            if kind == 1:
                m = _planes(mine, plane_of, weights)
                fill_classes(codes, y, w, order, first, end, plane_of, planes[:m])
                cumulate(planes[:m], used, room)
                best = best_classes(planes[:m], used, total, weights, room)
            else:
                best = best_labels(hists[height], used, total, mine[2], room)
            if best >= 0:
                border, split = best // wide, best % wide
                middle = _divide(codes[:, split], border, order, spare, first, end)
        if middle in (first, end):
            splits[node, 0], splits[node, 1], splits[node, 2] = 0.0, 0.0, ends
            leaves[ends, 0] = total + 1.0
            for o in range(n_out):
                leaves[ends, 1 + o] = value[o]
            ends += 1
            continue
        splits[node, 0] = 1.0 + chosen[split]
        splits[node, 1] = edges[chosen[split], border]
        splits[node, 2] = nodes
        right, left = height, height + 1
        stack[right, 0], stack[right, 1], stack[right, 2] = nodes + 1, middle, end
        stack[left, 0], stack[left, 1], stack[left, 2] = nodes, first, middle
        stack[right, 3] = stack[left, 3] = depth + 1
        less = middle - first <= end - middle
        small, large = (left, right) if less else (right, left)
        _add(kind, y, w, order, stack[small, 1], stack[small, 2], sums[small])
        for o in range(2 + n_out):
            sums[large, o] = mine[o] - sums[small, o]
        for o in range(n_out):
            above[left, o] = above[right, o] = value[o]
        if kind != 1:
            open_left = _is_open(kind, sums[left], middle - first, depth + 1, least)
            if open_left or _is_open(kind, sums[right], end - middle, depth + 1, least):
                fill_labels(codes, y, w, order, stack[small, 1], stack[small, 2], hist)
                take_apart(hist, hists[left])
                cumulate(hists[left], used, room)
                part(hists[right], hists[left], not less)
        nodes += 2
        height += 2
    return nodes, ends
