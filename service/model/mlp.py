"""The multi-layer perceptron: embeddings and numbers -> one hidden layer of relu -> outputs.

Learned row by row in one compiled pass, as linear.py; every target shares the hidden layer.
Knows tensors as numpy arrays; the torch operators stand in ops.py.

Weights, one float32 vector `theta` [P]: hidden bias [H] at dense[0], input weights [I, H] at
dense[1] (numbers' two inputs each, then E inputs per category), head of target t at heads[t]:
bias [o], then weights [o, H]; embedding table [buckets, E] of category c at tables[c].
Inner loops run over H in float32, without reassociation.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.losses import NUMBER, grow_frame, link, loss_and_slope, renew_frame
from service.model.mlp_score import dot, head_of, hidden_of, inputs_of
from service.model.steps import (
    LARGEST_NORM,
    clipped,
    grow_usual,
    is_small_step,
    length_of,
    rescale,
    share_of,
    step_one,
    step_run,
)


@njit(nogil=True, cache=True)
def _forward(theta, frames, targets, heads, hidden, y, out, scores, losses, slope):  # type: ignore[no-untyped-def]
    """Score every target of one row; return the sum of squared slopes (inf: not finite)."""
    total = 0.0
    for t in range(targets.shape[0]):
        kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
        o = out[start : start + width]
        head_of(theta, heads[t], width, hidden, o)
        s = scores[start : start + width]
        link(kind, width, frames[t], o, s)
        losses[t] = math.nan
        if not math.isnan(y[t]):
            d = slope[start : start + width]
            losses[t] = loss_and_slope(kind, width, frames[t], o, s, y[t], d)
            for k in range(width):
                total += d[k] * d[k]
        if not math.isfinite(s[0]):
            total = math.inf
    return total


@njit(nogil=True, cache=True)
def _backward(theta, targets, dense, heads, hidden, inputs, y, slope, d_hidden, d_inputs, first):  # type: ignore[no-untyped-def]
    """Write d loss / d hidden sum [H] and d loss / d inputs [I] (from `first` on); return both
    squared lengths."""
    size = hidden.shape[0]
    d_hidden[:] = np.float32(0.0)
    for t in range(targets.shape[0]):
        if math.isnan(y[t]):
            continue
        start, width = targets[t, 1], targets[t, 2]
        for o in range(width):
            d = np.float32(slope[start + o])
            at = heads[t] + width + o * size
            row = theta[at : at + size]
            for h in range(size):
                d_hidden[h] += d * row[h]
    along_hidden = 0.0
    for h in range(size):
        if hidden[h] <= np.float32(0.0):
            d_hidden[h] = np.float32(0.0)
        along_hidden += float(d_hidden[h]) * float(d_hidden[h])
    along_inputs = 0.0
    for j in range(first, inputs.shape[0]):
        at = dense[1] + j * size
        d_inputs[j] = dot(theta[at : at + size], d_hidden)
        along_inputs += float(d_inputs[j]) * float(d_inputs[j])
    return along_hidden, along_inputs


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
    heads,
    tables,
    embedding,
    size,
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
    """Score, then learn, row after row. Arguments and results as in linear.learn; steps has one
    more counter, the last, for the shared layers."""
    first = x.shape[1]
    n_inputs = first + ids.shape[1] * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(scores.shape[1], dtype=np.float64)
    slope = np.empty(scores.shape[1], dtype=np.float64)
    trunk = steps.shape[0] - 1
    for r in range(x.shape[0]):
        inputs_of(theta, tables, embedding, x[r], ids[r], inputs)
        hidden_of(theta, dense, inputs, hidden)
        total = _forward(
            theta, frames, targets, heads, hidden, y[r], out, scores[r], losses[r], slope
        )
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        along_hidden, along_inputs = _backward(
            theta, targets, dense, heads, hidden, inputs, y[r], slope, d_hidden, d_inputs, first
        )
        lit, fed = 1.0, 1.0
        for h in range(size):
            lit += float(hidden[h]) * float(hidden[h])
        for j in range(n_inputs):
            fed += float(inputs[j]) * float(inputs[j])
        norm = math.sqrt(total * lit + along_hidden * fed + along_inputs)
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        factor = clipped(norm, weights[r], hyper)
        applied[r] = 1
        share = share_of(math.sqrt(fed), usual[:2], hyper)
        steep = 0.0
        for t in range(targets.shape[0]):
            if targets[t, 0] == NUMBER and not math.isnan(y[r, t]):
                steep += slope[targets[t, 1]] ** 2
        if steep > 0.0:
            share *= share_of(math.sqrt(steep), usual[2:], hyper)
            grow_usual(math.sqrt(steep), usual[2:])
        grow_usual(math.sqrt(fed), usual[:2])
        if share < 1.0:
            moved = _moved_length(
                theta, targets, dense, heads, tables, embedding, size, n_inputs, ids[r], y[r]
            )
            if not is_small_step(rule, norm * factor, moved, hyper):
                applied[r] = 3
                factor *= share
        norms[r] = norm * factor
        steps[trunk] += 1
        c1 = 1.0 - hyper[2] ** steps[trunk]
        c2 = 1.0 - hyper[3] ** steps[trunk]
        at = dense[0]
        step_run(rule, theta, slot0, slot1, touched, at, d_hidden, factor, hyper, c1, c2)
        for j in range(n_inputs):
            if inputs[j] != np.float32(0.0) or rule == 1 or rule == 3:
                at = dense[1] + j * size
                by = float(inputs[j]) * factor
                step_run(rule, theta, slot0, slot1, touched, at, d_hidden, by, hyper, c1, c2)
        for c in range(ids.shape[1]):
            at = tables[c] + ids[r, c] * embedding
            e = first + c * embedding
            d = d_inputs[e : e + embedding]
            step_run(rule, theta, slot0, slot1, touched, at, d, factor, hyper, c1, c2)
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            steps[t] += 1
            c1 = 1.0 - hyper[2] ** steps[t]
            c2 = 1.0 - hyper[3] ** steps[t]
            for o in range(width):
                g = slope[start + o] * factor
                step_one(rule, theta, slot0, slot1, touched, heads[t] + o, g, hyper, c1, c2)
                at = heads[t] + width + o * size
                step_run(rule, theta, slot0, slot1, touched, at, hidden, g, hyper, c1, c2)
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                ratio, shift = renew_frame(frames[t])
                rescale(rule, theta, slot0, slot1, touched, heads[t], 1 + size, ratio)
                theta[heads[t]] += shift


@njit(nogil=True, cache=True)
def _moved_length(theta, targets, dense, heads, tables, embedding, size, n_inputs, ids, y):  # type: ignore[no-untyped-def]
    """Return the length of the weights that a row moves: the hidden layer, the heads of its
    labelled targets, its embeddings."""
    total = length_of(theta[dense[0] : dense[0] + size])
    total += length_of(theta[dense[1] : dense[1] + n_inputs * size])
    for t in range(targets.shape[0]):
        if not math.isnan(y[t]):
            total += length_of(theta[heads[t] : heads[t] + targets[t, 2] * (1 + size)])
    for c in range(ids.shape[0]):
        at = tables[c] + ids[c] * embedding
        total += length_of(theta[at : at + embedding])
    return math.sqrt(total)


@njit(nogil=True, cache=True)
def gradient(  # type: ignore[no-untyped-def]
    theta,
    frames,
    targets,
    dense,
    heads,
    tables,
    embedding,
    size,
    x,
    ids,
    y,
    weights,
    scores,
    grads,
    moved,
):
    """Add up the gradient of N rows at the weights as they are, as in linear.gradient."""
    first = x.shape[1]
    n_inputs = first + ids.shape[1] * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(scores.shape[1], dtype=np.float64)
    slope = np.empty(scores.shape[1], dtype=np.float64)
    losses = np.empty(targets.shape[0], dtype=np.float64)
    for r in range(x.shape[0]):
        inputs_of(theta, tables, embedding, x[r], ids[r], inputs)
        hidden_of(theta, dense, inputs, hidden)
        _forward(theta, frames, targets, heads, hidden, y[r], out, scores[r], losses, slope)
        if weights[r] <= 0.0 or np.isnan(y[r]).all():
            continue
        _backward(
            theta, targets, dense, heads, hidden, inputs, y[r], slope, d_hidden, d_inputs, first
        )
        w = weights[r]
        for h in range(size):
            grads[dense[0] + h] += d_hidden[h] * w
            moved[dense[0] + h] = 1
            for j in range(n_inputs):
                grads[dense[1] + j * size + h] += inputs[j] * d_hidden[h] * w
                moved[dense[1] + j * size + h] = 1
        for c in range(ids.shape[1]):
            at = tables[c] + ids[r, c] * embedding
            for e in range(embedding):
                grads[at + e] += d_inputs[first + c * embedding + e] * w
                moved[at + e] = 1
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            for o in range(width):
                d = slope[start + o] * w
                grads[heads[t] + o] += d
                moved[heads[t] + o] = 1
                at = heads[t] + width + o * size
                for h in range(size):
                    grads[at + h] += d * hidden[h]
                    moved[at + h] = 1
