"""Histograms of the rows in a node, and the best split that they show, compiled.

Legend: BINS bins, F columns (filled up to packs of LANES), P planes: one for all rows, then one for
each label of some. Loops run over many columns and bins at a time, and over few arrays: LLVM makes
vectors of no loop over so many that it must ask too often whether they overlap.
"""

from __future__ import annotations

import numpy as np

from service.model.compiling import piece

BINS = 32
LANES = 16
"""Columns of a histogram come in such packs, the last filled up with nothing."""
PACK = 512
"""Bins of all columns that are compared at a time; divides BINS * LANES."""
FINAL = 32
"""Lanes that are left when packs were compared lane by lane; divides PACK."""
ROOM = 5 * PACK + 3 * FINAL
"""Floats to compare splits in."""
GAIN = np.float32(1e-12)
"""Least gain of a split, in squared labels times the squared weight of a row."""
TINY = np.float32(1e-6)
"""Least share of a node's weight that may be split off, about: below that sums are rounded away."""


@piece
def fill_labels(codes, y, w, order, first, end, hist):
    """Add up weights and labels. hist: [BINS, F, 2]."""
    hist[:] = 0.0
    for i in range(first, end):
        r = order[i]
        weight, label, row = np.float32(w[r]), np.float32(w[r] * y[r]), codes[r]
        for f in range(row.shape[0]):
            cell = hist[row[f], f]
            cell[0] += weight
            cell[1] += label


@piece
def fill_classes(codes, y, w, order, first, end, plane_of, hist):
    """Add up weights by the label's plane; plane 0 is all rows. hist: [P, BINS, F]."""
    hist[:] = 0.0
    n = hist[0]
    for i in range(first, end):
        r = order[i]
        weight, row, p = np.float32(w[r]), codes[r], plane_of[int(y[r])]
        for f in range(row.shape[0]):
            n[row[f], f] += weight
        if p > 0:
            s = hist[p]
            for f in range(row.shape[0]):
                s[row[f], f] += weight


@piece
def take_apart(hist, sums):
    """Write a histogram [BINS, F, 2] as [2, BINS, F]."""
    h, n, s = hist.reshape(-1), sums[0].reshape(-1), sums[1].reshape(-1)
    for i in range(n.shape[0]):
        n[i], s[i] = h[2 * i], h[2 * i + 1]


@piece
def cumulate(hist, used, room):
    """Put what lies at or below each bin in the place of what lies in it. hist: [P, BINS, F]; room:
    [>= F]."""
    wide = hist.shape[2]
    for p in range(hist.shape[0]):
        h = hist[p].reshape(-1)
        room[:wide] = 0.0
        for b in range(used + 1):
            row = h[b * wide : (b + 1) * wide]
            for f in range(wide):
                below = room[f] + row[f]
                room[f] = below
                row[f] = below


@piece
def part(whole, child, swap):
    """Take a child's histogram out of its parent's: what remains is the other child's. With swap
    both change places."""
    a, b = whole.reshape(-1), child.reshape(-1)
    if swap:
        for i in range(a.shape[0]):
            rest = a[i] - b[i]
            a[i] = b[i]
            b[i] = rest
    else:
        for i in range(a.shape[0]):
            a[i] -= b[i]


@piece
def _compare(at, n, each, room):
    """Keep the best of squares / (n (1 - n)) in each of PACK lanes. each: one over the weight of the
    node. room: [ROOM], one array so that LLVM need not ask whether they overlap: squares, n (1 - n)
    and place of the best, then the squares to compare."""
    where, one = np.float32(at), np.float32(1.0)
    for i in range(PACK):
        share = n[i] * each
        both = share * (one - share)
        squares, top, under = room[3 * PACK + i], room[i], room[PACK + i]
        place = room[2 * PACK + i]
        better = (both > TINY) & (squares * under > top * both)
        room[i] = squares if better else top
        room[PACK + i] = both if better else under
        room[2 * PACK + i] = where if better else place


@piece
def _begin(room):
    for i in range(PACK):
        room[i] = 0.0
        room[PACK + i] = 1.0
        room[2 * PACK + i] = 0.0


@piece
def _winner(room):
    """Return the place of the best of all lanes, or -1 if none is better than GAIN."""
    last = room[5 * PACK :]
    for i in range(FINAL):
        last[i], last[FINAL + i] = room[i], room[PACK + i]
        last[2 * FINAL + i] = room[2 * PACK + i] + np.float32(i)
    for at in range(FINAL, PACK, FINAL):
        lanes = room[at : 2 * PACK + at + FINAL]
        for i in range(FINAL):
            t, u, p = last[i], last[FINAL + i], last[2 * FINAL + i]
            other, under = lanes[i], lanes[PACK + i]
            place = lanes[2 * PACK + i] + np.float32(at + i)
            better = other * u > t * under
            last[i] = other if better else t
            last[FINAL + i] = under if better else u
            last[2 * FINAL + i] = place if better else p
    best = 0
    for i in range(1, FINAL):
        if last[i] * last[FINAL + best] > last[best] * last[FINAL + i]:
            best = i
    if last[best] > GAIN * last[FINAL + best]:
        return np.int64(last[2 * FINAL + best])
    return np.int64(-1)


@piece
def best_labels(sums, used, total, label, room):
    """Return where the best split is, bin * F + column, or -1. sums: [2, BINS, F]; total, label: of
    the node; room: see _compare."""
    n, s = sums[0].reshape(-1), sums[1].reshape(-1)
    mean, each = np.float32(label / total), np.float32(1.0 / total)
    _begin(room)
    for at in range(0, used * sums.shape[2], PACK):
        a, c = n[at : at + PACK], s[at : at + PACK]
        for i in range(PACK):
            d = c[i] - a[i] * mean
            room[3 * PACK + i] = d * d
        _compare(at, a, each, room)
    return _winner(room)


@piece
def best_classes(sums, used, total, weights, room):
    """The same of classes. sums: [P, BINS, F]; weights: [P]."""
    n, each = sums[0].reshape(-1), np.float32(1.0 / total)
    _begin(room)
    for at in range(0, used * sums.shape[2], PACK):
        a = n[at : at + PACK]
        for i in range(PACK):
            room[3 * PACK + i] = 0.0
            room[4 * PACK + i] = 0.0
        for p in range(1, sums.shape[0]):
            c, mean = sums[p].reshape(-1)[at : at + PACK], np.float32(weights[p] / total)
            for i in range(PACK):
                d = c[i] - a[i] * mean
                room[3 * PACK + i] += d * d
                room[4 * PACK + i] += d
        for i in range(PACK):
            room[3 * PACK + i] += room[4 * PACK + i] * room[4 * PACK + i]
        _compare(at, a, each, room)
    return _winner(room)
