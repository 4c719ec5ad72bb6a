"""The passes of the rolling forests, compiled: walk the trees, move their leaves, make new ones.

Legend: N rows, K members, O outputs, G groups of TREES trees (one for each member), D columns.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, making_piece, piece
from service.model.experts.forest_grow_pass import (
    DEPTH,
    MOST_COLUMNS,
    choose_columns,
    code_rows,
    grow,
)

TREES = 8
"""Of a group. The oldest is replaced; more of them would be older ones."""
LEAST_GAP = 256
"""Rows between two trees of a group, at last: trees of a short window cost more than they gain."""
ROWS = 8192
"""Of the ring: the longest window."""
WINDOW, WIDTH, LABEL, MOST_LEAVES, FIRST_NODE, FIRST_LEAF, PLACE = range(7)
"""What is known of a group, int64 [G, 7]: rows and columns that it learns from, where in a row of
the ring its label is, how many leaves a tree has at most, where its nodes and leaves begin, and which
of all groups it is."""
SEEN, RENEW, DUE, MADE = 0, 1, 2, 3
"""Counters, int64 [2 + 2 G]: rows learned, and at which of them the borders are renewed; then of
each group, when a tree is due and how many were made."""
FAST = 1.0 / 200.0
"""Rate at which it is learned which earlier label is nearest to the next one."""


@piece
def walk(row, splits, first, stride, at):
    """Write the leaf [T] that a row [D] comes to, in each of T trees with `stride` nodes each."""
    n = at.shape[0]
    at[:] = 0
    for _ in range(DEPTH):
        moved = False
        for k in range(n):
            node = splits[first + k * stride + at[k]]
            column = int(node[0])
            if column > 0:
                at[k] = int(node[2]) + (1 if row[column - 1] > node[1] else 0)
                moved = True
        if not moved:
            break
    for k in range(n):
        at[k] = int(splits[first + k * stride + at[k], 2])


@piece
def predict(row, base, groups, splits, leaves, at, into):
    """Write the predictions [G, O] of a row [D], and the leaves [G, TREES] that it comes to."""
    for g in range(groups.shape[0]):
        size = groups[g, MOST_LEAVES]
        walk(row, splits, groups[g, FIRST_NODE], 2 * size, at[g])
        for k in range(TREES):
            at[g, k] += groups[g, FIRST_LEAF] + k * size
        change = base if groups[g, LABEL] == row.shape[0] + 2 else 0.0
        for c in range(into.shape[1]):
            total = 0.0
            for k in range(TREES):
                total += leaves[at[g, k], 1 + c]
            into[g, c] = total / TREES + change


@kernel
def learn(
    kind, x, columns, last, y, weights, start, groups, ring, splits, leaves, counts, bases,
    r_flags, l_flags, into,
):  # fmt: skip
    """Write the predictions of rows from `start` on, and learn each that has a weight and a label;
    return the row before which borders or trees are to be made, or N.

    kind: 0 binary, 1 classes, 2 a number. columns: [D] of x. last: columns of x that hold earlier
    labels, bases [B] their usual errors. ring: float32 [ROWS, D + 3]: columns, label, weight,
    change. splits, leaves: see forest_grow_pass.grow, group by group, tree by
    tree. into: float32 [N, K, O].
    """
    n_groups, d = groups.shape[0], columns.shape[0]
    row = np.empty(d, dtype=np.float32)
    at = np.empty((n_groups, TREES), dtype=np.int64)
    for r in range(start, x.shape[0]):
        for j in range(d):
            row[j] = x[r, columns[j]]
        base = _base(x[r], last, bases)
        predict(row, base, groups, splits, leaves, at, into[r])
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        for g in range(n_groups):
            label = y[r] - base if groups[g, LABEL] == d + 2 else y[r]
            for k in range(TREES):
                _move(kind, leaves, at[g, k], label, weights[r], l_flags)
        _append(row, y[r], weights[r], base, ring, counts[SEEN], r_flags)
        for j in range(last.shape[0]):
            rate = max(1.0 / (counts[SEEN] + 1.0), FAST)
            bases[j] += rate * (abs(y[r] - x[r, last[j]]) - bases[j])
        counts[SEEN] += 1
        if _is_due(groups, counts):
            return r + 1
    return x.shape[0]


@piece
def _is_due(groups, counts):
    """Return whether borders are to be renewed, or a tree is to be made."""
    due = counts[SEEN] >= counts[RENEW]
    for g in range(groups.shape[0]):
        due = due or counts[SEEN] >= counts[DUE + 2 * groups[g, PLACE]]
    return due


@piece
def _base(x, last, bases):
    """Return the earlier label that was nearest lately."""
    if last.shape[0] == 0:
        return 0.0
    best = 0
    for j in range(1, last.shape[0]):
        if bases[j] < bases[best]:
            best = j
    return float(x[last[best]])


@piece
def _move(kind, leaves, at, label, weight, flags):
    """Take a label into a leaf."""
    leaf = leaves[at]
    leaf[0] += weight
    rate = weight / leaf[0]
    for c in range(1, leaf.shape[0]):
        truth = label if kind != 1 else (1.0 if int(label) == c - 1 else 0.0)
        leaf[c] += rate * (truth - leaf[c])
    first = at * leaf.shape[0]
    for b in range(first >> 6, ((first + leaf.shape[0] - 1) >> 6) + 1):
        flags[b] = 1


@piece
def _append(row, y, weight, base, ring, seen, flags):
    d, slot = row.shape[0], seen % ROWS
    for j in range(d):
        ring[slot, j] = row[j]
    ring[slot, d] = y
    ring[slot, d + 1] = weight
    ring[slot, d + 2] = y - base
    first = slot * (d + 3)
    for b in range(first >> 6, ((first + d + 2) >> 6) + 1):
        flags[b] = 1


@kernel
def make_due(kind, groups, ring, edges, splits, leaves, counts, s_flags, l_flags, seed):
    """Make the tree of each group that is due: one for every eighth of the window or
    LEAST_GAP rows, or every eighth of the rows seen while these are fewer."""
    for g in range(groups.shape[0]):
        place = groups[g, PLACE]
        at = 2 * place
        seen, window = counts[SEEN], groups[g, WINDOW]
        if seen < counts[DUE + at]:
            continue
        _make(
            kind, groups[g], min(seen, window), ring, edges, splits, leaves, seen,
            counts[MADE + at], s_flags, l_flags,
            mixed(np.uint64(seed) + np.uint64(counts[MADE + at]) * np.uint64(64) + np.uint64(place)),
        )  # fmt: skip
        counts[MADE + at] += 1
        gap = max(1, min(seen // TREES, max(window // TREES, LEAST_GAP)))
        phase = place * gap // groups.shape[0]  # so that groups make theirs at different rows
        counts[DUE + at] = ((seen + phase) // gap + 1) * gap - phase


@making_piece
def _make(kind, group, window, ring, edges, splits, leaves, end, made, s_flags, l_flags, seed):
    """Make one tree of a group in place of its oldest."""
    size = group[MOST_LEAVES]
    chosen = np.empty(MOST_COLUMNS, dtype=np.int64)
    chosen = chosen[: choose_columns(edges, group[WIDTH], seed, chosen)]
    most = window if window < 64 else int(window * 0.68)
    codes = np.empty((most, chosen.shape[0]), dtype=np.uint8)
    y, w = np.empty(most), np.empty(most)
    label = group[LABEL]
    n = code_rows(ring, edges, end, window, seed, chosen, label, ring.shape[1] - 2, codes, y, w)
    n_out = leaves.shape[1] - 1
    prior = np.zeros(n_out)
    if kind != 2:
        prior[:] = 0.5 if n_out == 1 else 1.0 / n_out
    tree = made % TREES
    node, leaf = group[FIRST_NODE] + tree * 2 * size, group[FIRST_LEAF] + tree * size
    nodes, ends = grow(
        kind, codes, y, w, n, edges, chosen, 2 * n // size, prior, splits[node : node + 2 * size],
        leaves[leaf : leaf + size],
    )  # fmt: skip
    s_flags[node * 4 >> 6 : ((node + nodes) * 4 - 1 >> 6) + 1] = 1
    one = leaves.shape[1]
    l_flags[leaf * one >> 6 : ((leaf + ends) * one - 1 >> 6) + 1] = 1
