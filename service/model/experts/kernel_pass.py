"""The passes of the memory of similar rows, compiled: distances, weights, means; float32 throughout.

Legend: N rows, Q numbers of a key, R rows of the ring, W widths, L kinds of label. Inner loops run
over the ring, which lies field by field; sums are taken by halves, so their order is fixed.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece

RING = 2048
"""Rows that are remembered; a multiple of 4 LANES. Half of them are as good on electricity and phishing,
and worse by .003 to .006 on bananas, image segments, mixed and moving RBF, at half the time."""
WIDTHS = (1.8, 0.6, 0.2)
"""Of the kernel, in usual distances to the nearest row. Each is a third of the one before: its
weights are the third power."""
DEVIATION, RANK = np.float32(0.7), np.float32(2.4)
"""What one deviation, and the way from the lowest to the highest rank, count in a distance."""
OTHER = np.float32(0.98)
"""Squared distance of two values of a category: that of two one-hot codes times DEVIATION."""
SLOW = 5e-4
"""Slowest rate at which the usual distance to the nearest row is learned."""
MASS = 0.1
"""Rows that the answer of one who remembers nothing counts for."""
LANES = 128
FURTHEST = np.float32(28.0)
"""Weights are no smaller than exp(-28), so that their powers remain ordinary numbers."""
LEAST = np.float32(math.exp(-28.0))
FAR = np.float32(1e30)
FAST = 1.0 / 200.0
"""Rate at which it is learned which earlier label is nearest to the next one."""


@kernel
def keys(x, ranks, ids, numbers, z, plain, categories, into):
    """Write the key of each row, float32 [N, Q]: deviations and ranks of numbers (missing: the
    middle), plain inputs, then categories."""
    for r in range(into.shape[0]):
        for j in range(numbers):
            rank = ranks[r, j] if ranks[r, j] >= 0 else np.float32(0.5)
            into[r, 2 * j] = DEVIATION * x[r, z + j]
            into[r, 2 * j + 1] = RANK * rank
        at = 2 * numbers
        for p in range(plain.shape[0]):
            into[r, at + p] = DEVIATION * min(max(x[r, plain[p]], np.float32(-8)), np.float32(8))
        at += plain.shape[0]
        for c in range(categories):
            into[r, at + c] = ids[r, c] & 0xFFFFFF  # a float32 holds no larger ones


@piece
def distances(key, categories, ring, filled, d):
    """Write the squared distance [R] of a key [Q] to each row of the ring [Q, R]."""
    n = key.shape[0] - categories
    for i in range(d.shape[0]):
        d[i] = np.float32(0.0) if i < filled else FAR
    whole = n // 8 * 8
    for j in range(0, whole, 8):
        k0, k1, k2, k3 = key[j], key[j + 1], key[j + 2], key[j + 3]
        k4, k5, k6, k7 = key[j + 4], key[j + 5], key[j + 6], key[j + 7]
        r0, r1, r2, r3 = ring[j], ring[j + 1], ring[j + 2], ring[j + 3]
        r4, r5, r6, r7 = ring[j + 4], ring[j + 5], ring[j + 6], ring[j + 7]
        for i in range(d.shape[0]):
            a, b, c, e = r0[i] - k0, r1[i] - k1, r2[i] - k2, r3[i] - k3
            f, g, h, m = r4[i] - k4, r5[i] - k5, r6[i] - k6, r7[i] - k7
            d[i] += ((a * a + b * b) + (c * c + e * e)) + ((f * f + g * g) + (h * h + m * m))
    fours = whole + (n - whole) // 4 * 4
    for j in range(whole, fours, 4):
        k0, k1, k2, k3 = key[j], key[j + 1], key[j + 2], key[j + 3]
        r0, r1, r2, r3 = ring[j], ring[j + 1], ring[j + 2], ring[j + 3]
        for i in range(d.shape[0]):
            a, b, c, e = r0[i] - k0, r1[i] - k1, r2[i] - k2, r3[i] - k3
            d[i] += (a * a + b * b) + (c * c + e * e)
    for j in range(fours, n):
        k0, r0 = key[j], ring[j]
        for i in range(d.shape[0]):
            a = r0[i] - k0
            d[i] += a * a
    for j in range(n, key.shape[0]):
        k0, r0 = key[j], ring[j]
        for i in range(d.shape[0]):
            d[i] += np.float32(0.0) if r0[i] == k0 else OTHER


@piece
def least(d, room):
    """Return the least of d [R]."""
    room[:] = FAR
    for at in range(0, d.shape[0], 4 * LANES):
        d0, d1 = d[at : at + LANES], d[at + LANES : at + 2 * LANES]
        d2, d3 = d[at + 2 * LANES : at + 3 * LANES], d[at + 3 * LANES : at + 4 * LANES]
        for i in range(LANES):
            room[i] = min(room[i], min(min(d0[i], d1[i]), min(d2[i], d3[i])))
    low = room[0]
    for i in range(1, LANES):
        low = min(low, room[i])
    return low


@piece
def closeness(d, low, scale, e):
    """Write the weights e [W, R] of distances d: exp(-(d - low) * scale), and its powers."""
    e0, e1, e2 = e[0], e[1], e[2]
    one, part = np.float32(1.0), np.float32(-1.0 / 64.0)
    for i in range(d.shape[0]):
        q = min((d[i] - low) * scale, FURTHEST) * part
        # exp(q) to the sixth term, then its 64th power
        w = one + q * np.float32(1.0 / 5.0)
        w = one + q * np.float32(1.0 / 4.0) * w
        w = one + q * np.float32(1.0 / 3.0) * w
        w = one + q * np.float32(1.0 / 2.0) * w
        w = one + q * w
        w *= w
        w *= w
        w *= w
        w *= w
        w *= w
        w *= w
        e0[i] = w
        w = max(w * w * w, LEAST)
        e1[i] = w
        e2[i] = w * w * w


@piece
def weighted(e, m, room):
    """Return the sum of e * m, both [R]."""
    room[:] = 0.0
    for at in range(0, e.shape[0], 2 * LANES):
        e0, e1 = e[at : at + LANES], e[at + LANES : at + 2 * LANES]
        m0, m1 = m[at : at + LANES], m[at + LANES : at + 2 * LANES]
        for i in range(LANES):
            room[i] += e0[i] * m0[i] + e1[i] * m1[i]
    half = LANES // 2
    while half >= 8:
        for i in range(half):
            room[i] += room[i + half]
        half //= 2
    total = 0.0
    for i in range(8):
        total += room[i]
    return total


@piece
def by_class(e, labels, sums):
    """Write the weights of each class, sums [C, W]."""
    sums[:] = 0.0
    mass, label, e0, e1, e2 = labels[0], labels[1], e[0], e[1], e[2]
    for i in range(e0.shape[0]):
        of, m = sums[int(label[i])], mass[i]
        of[0] += e0[i] * m
        of[1] += e1[i] * m
        of[2] += e2[i] * m


@piece
def nearest_base(x, last, bases):
    """Return which of the earlier labels, columns `last` of x, was nearest lately."""
    best = 0
    for j in range(1, last.shape[0]):
        if bases[j] < bases[best]:
            best = j
    return float(x[last[best]])


@piece
def predict(kind, key, categories, x, last, ring, labels, near, base, d, e, room, sums, into):
    """Write the predictions [K, O] of a row; return the distance of the nearest.

    See learn; d, e, room and sums are room to work in.
    """
    low, n_widths, n_out = np.float32(0.0), e.shape[0], into.shape[1]
    if near[0] > 0:
        distances(key, categories, ring, near[0], d)
        low = least(d, room)
        closeness(d, low, np.float32(1.0 / (WIDTHS[0] * max(near[1], 1e-6))), e)
    else:
        e[:] = 0.0
    if kind == 1:
        by_class(e, labels, sums)
    for k in range(n_widths):
        if kind == 1:
            total = 0.0
            for c in range(n_out):
                total += sums[c, k]
            for c in range(n_out):
                into[k, c] = (sums[c, k] + MASS / n_out) / (total + MASS)
            continue
        total = weighted(e[k], labels[0], room) + MASS
        held = weighted(e[k], labels[1], room)
        if kind == 0:
            into[k, 0] = min(max((held + MASS * 0.5) / total, 0.0), 1.0)
        else:
            into[k, 0] = (held + MASS * x[last[0]]) / total
            into[n_widths + k, 0] = base + weighted(e[k], labels[2], room) / total
    return low


@kernel
def learn(
    kind, key, categories, x, last, y, weights, size, ring, labels, near, bases, flags, l_flags, into
):  # fmt: skip
    """Write the predictions of each row, then remember it if it has a weight and a label.

    kind: 0 binary, 1 classes, 2 a number. key: [N, Q]. size: how much of the ring is used, from its
    beginning: RING, or half of it. ring: [Q, R]; labels: [L, R] mass, then mass
    times label, or the class; of a number also mass times change. near: rows remembered, usual
    distance of the nearest. bases: [B] usual errors of earlier labels, x[last], as predictions.
    flags, l_flags: of ring and labels. into: float32 [N, K, O].
    """
    d, room = np.empty(size, dtype=np.float32), np.empty(LANES, dtype=np.float32)
    e = np.empty((len(WIDTHS), size), dtype=np.float32)
    sums = np.empty((into.shape[2], len(WIDTHS)), dtype=np.float32)
    for r in range(key.shape[0]):
        base = nearest_base(x[r], last, bases) if kind == 2 else 0.0
        low = predict(
            kind, key[r], categories, x[r], last, ring, labels, near, base, d, e, room, sums,
            into[r],
        )  # fmt: skip
        if weights[r] > 0.0 and not math.isnan(y[r]):
            _remember(
                kind, key[r], y[r], weights[r], low, base, size, ring, labels, near, flags, l_flags
            )  # fmt: skip
            for j in range(last.shape[0]):
                rate = max(1.0 / near[0], FAST)
                bases[j] += rate * (abs(y[r] - x[r, last[j]]) - bases[j])


@piece
def _remember(kind, key, y, weight, low, base, size, ring, labels, near, flags, l_flags):
    """Put a row in the place of the oldest."""
    slot = int(near[0]) % size
    for j in range(key.shape[0]):
        ring[j, slot] = key[j]
        flags[(j * RING + slot) >> 6] = 1
    labels[0, slot] = weight
    labels[1, slot] = y if kind == 1 else y * weight
    if kind == 2:
        labels[2, slot] = (y - base) * weight
    for j in range(labels.shape[0]):
        l_flags[(j * RING + slot) >> 6] = 1
    if near[0] > 0:
        near[1] += max(SLOW, 1.0 / near[0]) * (low - near[1])
    near[0] += 1.0
