"""Curvatures and their inverses as a whole: what is done to them every so many rows, compiled. Legend: see
curvature_pass."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import fused_making_piece, fused_piece, kernel, piece

WAIT = 8
"""Rows that wait before P hears of them."""
STRIDE = 128
"""Most columns of a set."""


@piece
def width_of(n):
    """Return n, or a little more where all is 0: loops of such lengths have no remainder."""
    return (n + 15) // 16 * 16


@fused_making_piece
def settle(part, n):
    """Take the rows that wait into what the curvatures have not heard of yet; none waits then."""
    waiting, at = np.int64(part.counts[3]), 0
    room, s = np.zeros((WAIT, STRIDE), dtype=np.float32), np.zeros((STRIDE, WAIT), dtype=np.float32)
    for w in range(waiting):
        for j in range(n):
            room[w, j] = part.rows[w, j]
    for i in range(n):
        for w in range(waiting):
            s[i, w] = np.float32(part.bends[0, w]) * room[w, i]
    for i in range(n):
        a, b, c, d, e, f, g, h = (
            s[i, 0],
            s[i, 1],
            s[i, 2],
            s[i, 3],
            s[i, 4],
            s[i, 5],
            s[i, 6],
            s[i, 7],
        )
        row = part.fresh[at : at + i + 1]
        for j in range(i + 1):
            row[j] += ((a * room[0, j] + b * room[1, j]) + (c * room[2, j] + d * room[3, j])) + (
                (e * room[4, j] + f * room[5, j]) + (g * room[6, j] + h * room[7, j])
            )
        at += i + 1
    part.counts[3] = 0.0


@kernel
def renew(part, n):
    """Compute every P from its curvature and the rows since, give back the ridge forgotten since,
    and let it pull the weights towards 0 for as much."""
    settle(part, n)
    curvature, fresh = part.curvature, part.fresh
    outs = part.weights.shape[0] // part.inverse.shape[0]
    work, low, pull = np.empty((n, n)), np.empty((n, n)), np.empty(n)
    for k in range(curvature.shape[0]):
        kept, ridge = part.keeps[k] ** part.counts[1], part.ridges[k]
        at = 0
        for i in range(n):
            for j in range(i + 1):
                curvature[k, at] = kept * curvature[k, at] + fresh[at]
                if i == j:
                    curvature[k, at] += (1.0 - kept) * ridge
                work[j, i] = curvature[k, at]
                at += 1
        invert(work, low, ridge, part.inverse[k])
        part.scales[k] = 1.0
        for m in range(k * outs, (k + 1) * outs):
            pull[:] = 0.0
            for i in range(n):
                value = part.weights[m, i]
                if value != 0.0:
                    for j in range(n):
                        pull[j] += value * part.inverse[k, i, j]
            for j in range(n):
                part.weights[m, j] -= (1.0 - kept) * ridge * pull[j]
    fresh[: n * (n + 1) // 2] = np.float32(0.0)
    part.rows[:] = np.float32(0.0)  # how many rows there was a look at depends on where a cut ends
    part.along[:] = np.float32(0.0)
    part.counts[1] = 0.0
    mark(part, n)


@fused_piece
def invert(work, low, least, into):
    """Write the inverse of a symmetric matrix, given by its upper triangle work [n, n], into
    into [n, n] or larger, by Cholesky. No eigenvalue is below `least`: a pivot that is has been
    rounded. low: room for [n, n]; work is spoilt."""
    n = work.shape[0]
    for i in range(n):  # work becomes U with U' U = work, low becomes U'^-1
        top, whole = work[i], i // 4 * 4
        for k in range(0, whole, 4):
            p, q, r, s = work[k], work[k + 1], work[k + 2], work[k + 3]
            a, b, c, d = p[i], q[i], r[i], s[i]
            for j in range(i, n):
                top[j] -= (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
        for k in range(whole, i):
            e, t = work[k, i], work[k]
            for j in range(i, n):
                top[j] -= e * t[j]
        by = 1.0 / math.sqrt(max(top[i], least))
        for j in range(i, n):
            top[j] *= by
        row = low[i]
        row[:] = 0.0
        for k in range(0, whole, 4):
            p, q, r, s = low[k], low[k + 1], low[k + 2], low[k + 3]
            a, b, c, d = work[k, i], work[k + 1, i], work[k + 2, i], work[k + 3, i]
            for j in range(k + 4):
                row[j] -= (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
        for k in range(whole, i):
            e, t = work[k, i], low[k]
            for j in range(k + 1):
                row[j] -= e * t[j]
        row[i] = 1.0
        for j in range(i + 1):
            row[j] *= by
    for i in range(n):  # the inverse is low' low
        row, whole = work[i], i + (n - i) // 4 * 4
        row[: i + 1] = 0.0
        for k in range(i, whole, 4):
            p, q, r, s = low[k], low[k + 1], low[k + 2], low[k + 3]
            a, b, c, d = p[i], q[i], r[i], s[i]
            for j in range(i + 1):
                row[j] += (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
        for k in range(whole, n):
            e, t = low[k, i], low[k]
            for j in range(i + 1):
                row[j] += e * t[j]
        for j in range(i + 1):
            into[i, j] = row[j]
            into[j, i] = row[j]


@piece
def mark(part, n):
    """Flag what n columns in use have of what is remembered."""
    k_n, most = part.inverse.shape[0], part.inverse.shape[1]
    tri, all_of = n * (n + 1) // 2, part.curvature.shape[1]
    _flag(part.f_inverse, k_n * most, most, n)
    _flag(part.f_curvature, k_n, all_of, tri)
    _flag(part.f_fresh, 1, all_of, tri)
    mark_row(part)


@piece
def mark_row(part):
    """Flag what every row changes: weights, and what waits."""
    n, most = np.int64(part.counts[0]), part.inverse.shape[1]
    _flag(part.f_weights, part.weights.shape[0], most, n)
    _flag(part.f_rows, WAIT, most, n)
    _flag(part.f_along, part.inverse.shape[0] * WAIT, most, n)


@piece
def _flag(flags, lines, wide, n):
    """Flag the first n floats of each line; a line is `wide` floats, in whole blocks."""
    for line in range(lines):
        for b in range(line * wide >> 6, ((line * wide + n - 1) >> 6) + 1):
            flags[b] = 1
