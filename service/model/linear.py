"""The linear model: one weight per number, flag and category row, for each output.

Learned row by row in one compiled pass: score the row, then learn it. Knows tensors as numpy
arrays; the torch operators around these kernels stand in ops.py.

Weights, one float32 vector `theta` [P]. For target t with o outputs, dense at dense[t]:
bias [o], then [2, o] for each number (value, unknown flag). Category field c has a table
[buckets, o] at tables[t, c].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.losses import NUMBER, grow_frame, link, loss_and_slope, renew_frame
from service.model.steps import (
    LARGEST_NORM,
    clipped,
    grow_usual,
    is_small_step,
    rescale,
    share_of,
    step_one,
)


@njit(nogil=True, cache=True)
def outputs(theta, dense, tables, t, width, x, ids, out):  # type: ignore[no-untyped-def]
    """Write the outputs of target t for one row into out [width]; float64 sums."""
    base = dense[t]
    for o in range(width):
        out[o] = theta[base + o]
    for j in range(x.shape[0]):
        value = x[j]
        if value != 0.0:
            at = base + (1 + j) * width
            for o in range(width):
                out[o] += value * theta[at + o]
    for c in range(ids.shape[0]):
        at = tables[t, c] + ids[c] * width
        for o in range(width):
            out[o] += theta[at + o]


@njit(nogil=True, cache=True)
def score(theta, frames, targets, dense, tables, x, ids, out, scores):  # type: ignore[no-untyped-def]
    """Score N rows with the weights as they are. scores: float64 [N, O]; out: scratch [O]."""
    for r in range(x.shape[0]):
        for t in range(targets.shape[0]):
            start, width = targets[t, 1], targets[t, 2]
            outputs(theta, dense, tables, t, width, x[r], ids[r], out)
            link(targets[t, 0], width, frames[t], out, scores[r, start : start + width])


@njit(nogil=True, cache=True)
def learn(  # type: ignore[no-untyped-def]
    rule,
    theta,
    slot0,
    slot1,
    steps,
    touched,
    frames,
    targets,
    dense,
    tables,
    sizes,
    hyper,
    usual,
    x,
    ids,
    y,
    weights,
    scores,
    losses,
    norms,
    applied,
):
    """Score, then learn, row after row.

    x [N, D], ids [N, C], y [N, T] (NaN: missing), weights [N] (0: score only). Writes scores
    [N, O], losses [N, T] (NaN: missing), norms [N] (length of the applied gradient) and applied
    [N]: 1 learned, 0 only scored, 2 not finite (nothing was changed by that row), 3 learned with
    a shortened gradient. usual [4]: the usual lengths of inputs and of number slopes, see steps.py.
    """
    out = np.empty(scores.shape[1])
    slope = np.empty(scores.shape[1])
    for r in range(x.shape[0]):
        squares = 1.0 + ids.shape[1]
        for j in range(x.shape[1]):
            squares += float(x[r, j]) * float(x[r, j])
        total, steep = 0.0, 0.0
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            o = out[start : start + width]
            outputs(theta, dense, tables, t, width, x[r], ids[r], o)
            s = scores[r, start : start + width]
            link(kind, width, frames[t], o, s)
            losses[r, t] = math.nan
            if not math.isnan(y[r, t]):
                d = slope[start : start + width]
                losses[r, t] = loss_and_slope(kind, width, frames[t], o, s, y[r, t], d)
                for k in range(width):
                    total += d[k] * d[k]
                if kind == NUMBER:
                    steep += d[0] * d[0]
            if not math.isfinite(s[0]):
                total = math.inf
        norm = math.sqrt(total * squares)
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        factor = clipped(norm, weights[r], hyper)
        applied[r] = 1
        share = share_of(math.sqrt(squares), usual[:2], hyper)
        if steep > 0.0:
            share *= share_of(math.sqrt(steep), usual[2:], hyper)
            grow_usual(math.sqrt(steep), usual[2:])
        grow_usual(math.sqrt(squares), usual[:2])
        if share < 1.0:
            moved = _moved_length(theta, targets, dense, tables, x[r], ids[r], y[r])
            if not is_small_step(rule, norm * factor, moved, hyper):
                applied[r] = 3
                factor *= share
        norms[r] = norm * factor
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            steps[t] += 1
            c1 = 1.0 - hyper[2] ** steps[t]
            c2 = 1.0 - hyper[3] ** steps[t]
            base = dense[t]
            for k in range(width):
                g = slope[start + k] * factor
                step_one(rule, theta, slot0, slot1, touched, base + k, g, hyper, c1, c2)
                for j in range(x.shape[1]):
                    at = base + (1 + j) * width + k
                    gx = g * x[r, j]
                    if gx != 0.0 or rule == 1 or rule == 3:
                        step_one(rule, theta, slot0, slot1, touched, at, gx, hyper, c1, c2)
                for c in range(ids.shape[1]):
                    at = tables[t, c] + ids[r, c] * width + k
                    step_one(rule, theta, slot0, slot1, touched, at, g, hyper, c1, c2)
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                ratio, shift = renew_frame(frames[t])
                dense_size = 1 + x.shape[1]
                rescale(rule, theta, slot0, slot1, touched, base, dense_size, ratio)
                for c in range(sizes.shape[0]):
                    rescale(rule, theta, slot0, slot1, touched, tables[t, c], sizes[c], ratio)
                theta[base] += shift


@njit(nogil=True, cache=True)
def _moved_length(theta, targets, dense, tables, x, ids, y):  # type: ignore[no-untyped-def]
    """Return the length of the weights that a row moves: those of its labelled targets."""
    total = 0.0
    for t in range(targets.shape[0]):
        if math.isnan(y[t]):
            continue
        width = targets[t, 2]
        for k in range(width):
            total += theta[dense[t] + k] ** 2
            for j in range(x.shape[0]):
                if x[j] != 0.0:
                    total += theta[dense[t] + (1 + j) * width + k] ** 2
            for c in range(ids.shape[0]):
                total += theta[tables[t, c] + ids[c] * width + k] ** 2
    return math.sqrt(total)


@njit(nogil=True, cache=True)
def gradient(  # type: ignore[no-untyped-def]
    theta, frames, targets, dense, tables, x, ids, y, weights, scores, grads, moved
):
    """Add up the gradient of N rows at the weights as they are: grads [P]; moved [P] is set
    where a step would be taken (all dense weights of a labelled target, touched table rows)."""
    out = np.empty(scores.shape[1])
    slope = np.empty(scores.shape[1])
    for r in range(x.shape[0]):
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            o = out[start : start + width]
            outputs(theta, dense, tables, t, width, x[r], ids[r], o)
            s = scores[r, start : start + width]
            link(kind, width, frames[t], o, s)
            if math.isnan(y[r, t]) or weights[r] <= 0.0:
                continue
            loss_and_slope(kind, width, frames[t], o, s, y[r, t], slope)
            base = dense[t]
            for k in range(width):
                g = slope[k] * weights[r]
                grads[base + k] += g
                moved[base + k] = 1
                for j in range(x.shape[1]):
                    at = base + (1 + j) * width + k
                    grads[at] += g * x[r, j]
                    moved[at] = 1
                for c in range(ids.shape[1]):
                    at = tables[t, c] + ids[r, c] * width + k
                    grads[at] += g
                    moved[at] = 1
