"""Second-order learning of linear members, row by row, compiled: what Newton and Squares share.

A set is a choice of columns of Inputs.x with K memories; each has weights for O outputs and, in
common for its outputs, the inverse of its curvature

    C = sum over rows of l^age h x x' + rho I,    P = C^-1,

l the memory's forgetting, h the row's curvature, rho the memory's ridge. A row moves P by the formula of
Sherman and Morrison, and the weights by P x times the slope (recursive least squares; Haykin 1996,
chapter 9). After every so many rows P is computed anew from C, in float64, which undoes rounding and gives
back the ridge that was forgotten meanwhile. So no row waits for a sub-batch.

Only columns that were once other than 0 take part: they are taken in when they first are, and until
then neither cost nor matter. Legend: D columns of x, M those of the set at most, n <= M in use, K
memories, O outputs, T = M (M + 1) / 2. A set is the named tuple curvature.Part.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece

FAR = np.float32(32.0)
"""Furthest that an input lies from 0; deviations end at 8."""
HEAVY = 1e6
"""Most that a row weighs."""
BIAS = -1
"""Stands for a column that is always 1."""
GONE = -2
"""Stands for a column that is no more: always 0."""


@piece
def gather(part, x, values):
    """Write the n inputs in use of a row x [D] into values [M]; return n."""
    n = np.int64(part.counts[0])
    for i in range(n):
        values[i] = value_of(x, part.order[i])
    return n


@piece
def value_of(x, column):
    if column == BIAS:
        return np.float32(1.0)
    if column < 0:
        return np.float32(0.0)
    value = x[column]
    return min(max(value, -FAR), FAR) if math.isfinite(value) else np.float32(0.0)


@piece
def widen(part, x, values, n):
    """Take in the columns that are other than 0 for the first time, those of most worth first;
    return how many are in use now. Their weights are 0, so the row's outputs stand."""
    order, most = part.order, part.weights.shape[0]
    i = n
    while n < most and i < order.shape[0]:
        column = order[i]
        value = value_of(x, column)
        if value != np.float32(0.0):
            for j in range(i, n, -1):
                order[j] = order[j - 1]
            order[n] = column
            values[n] = value
            for k in range(part.inverse.shape[0]):
                part.inverse[k, n, n] = 1.0 / (part.ridges[k] * part.scales[k])
                part.curvature[k, n * (n + 1) // 2 + n] = part.ridges[k]
            n += 1
        i += 1
    part.counts[0] = n
    return n


@piece
def outputs(part, values, n, out):
    """Write the outputs [K * O] of all memories."""
    weights, whole = part.weights, n // 4 * 4
    out[:] = 0.0
    for i in range(0, whole, 4):  # no test for 0: it would keep the inner loop from vector form
        a, b, c, d = values[i], values[i + 1], values[i + 2], values[i + 3]
        p, q, r, s = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for m in range(out.shape[0]):
            out[m] += (a * p[m] + b * q[m]) + (c * r[m] + d * s[m])
    for i in range(whole, n):
        e, t = values[i], weights[i]
        for m in range(out.shape[0]):
            out[m] += e * t[m]


@piece
def step(part, k, n, v, by):
    """Move the weights of memory k along v by that much for each output: float32 [O]."""
    first, size = k * by.shape[0], by.shape[0]
    if size == 1:
        for i in range(n):
            part.weights[i, first] += by[0] * v[i]
        return
    for i in range(n):
        along_i, row = v[i], part.weights[i, first : first + size]
        for c in range(size):
            row[c] += along_i * by[c]


@piece
def along(part, k, values, n, v):
    """Write P x of memory k into v [M], without the memory's scale; return x' P x, which is at
    least 0 but for rounding."""
    held, whole = part.inverse[k], n // 4 * 4
    v[:n] = np.float32(0.0)
    for i in range(0, whole, 4):  # no test for 0 here: it would keep the loop from vector form
        a, b, c, d = values[i], values[i + 1], values[i + 2], values[i + 3]
        p, q, r, s = held[i], held[i + 1], held[i + 2], held[i + 3]
        for j in range(n):
            v[j] += (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
    for i in range(whole, n):
        e, t = values[i], held[i]
        for j in range(n):
            v[j] += e * t[j]
    spread = 0.0
    for j in range(n):
        spread += float(values[j]) * float(v[j])
    return spread * part.scales[k]


@piece
def sink(part, k, n, v, spread, h):
    """Take a row of curvature h into P of memory k; v and spread are those of `along`."""
    held, scale = part.inverse[k], part.scales[k]
    by = np.float32(h * scale / (1.0 + h * spread))
    for i in range(n):
        s, row = by * v[i], held[i]
        for j in range(n):
            row[j] -= s * v[j]
    part.scales[k] = scale / part.keeps[k]


@piece
def add(part, values, n, h):
    """Take a row of curvature h into what the curvatures have not heard of yet, and renew the
    inverses where it is time."""
    fresh, at = part.fresh, 0
    for i in range(n):
        s, row = np.float32(h) * values[i], fresh[at : at + i + 1]
        for j in range(i + 1):
            row[j] += s * values[j]
        at += i + 1
    part.counts[1] += 1.0
    part.counts[2] += 1.0
    if part.counts[1] >= part.every[0]:
        renew(part, n)


@kernel
def renew(part, n):
    """Compute every P from its curvature and the rows since, give back the ridge forgotten since,
    and let it pull the weights towards 0 for as much."""
    curvature, fresh = part.curvature, part.fresh
    outs = part.weights.shape[1] // part.inverse.shape[0]
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
                value = part.weights[i, m]
                if value != 0.0:
                    for j in range(n):
                        pull[j] += value * part.inverse[k, i, j]
            for j in range(n):
                part.weights[j, m] -= (1.0 - kept) * ridge * pull[j]
    fresh[: n * (n + 1) // 2] = np.float32(0.0)
    part.counts[1] = 0.0


@piece
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
    """Flag what learning n columns in use has changed."""
    k_n, most = part.inverse.shape[0], part.inverse.shape[1]
    tri, all_of = n * (n + 1) // 2, part.curvature.shape[1]
    for k in range(k_n):
        for i in range(n):
            first = (k * most + i) * most
            for b in range(first >> 6, ((first + n - 1) >> 6) + 1):
                part.f_inverse[b] = 1
        for b in range((k * all_of) >> 6, ((k * all_of + tri - 1) >> 6) + 1):
            part.f_curvature[b] = 1
    for b in range((tri + 63) >> 6):
        part.f_fresh[b] = 1
    for b in range((n * part.weights.shape[1] + 63) >> 6):
        part.f_weights[b] = 1
