"""The passes of the multi-layer perceptron, compiled: score a row, then learn it.

Arguments and results are those of linear_passes; `model` is mlp.Tables. Every target shares the
hidden layer. Inner loops run over H in float32, without reassociation.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.kinds.mlp_score import dot, head_of, hidden_of, inputs_of
from service.model.losses import NUMBER, grow_frame, link, loss_and_slope, renew_frame
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
def _forward(theta, frames, model, hidden, y, out, scores, losses, slope):  # type: ignore[no-untyped-def]
    """Score every target of one row; return the sum of squared slopes (inf: not finite)."""
    total = 0.0
    targets, heads = model.targets, model.heads
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
                d[k] *= model.emphasis[t]
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
def learn(model, moving, rows, weights, scores, losses, norms, applied):  # type: ignore[no-untyped-def]
    """Score, then learn, row after row. steps has one more counter, the last, for the shared
    layers."""
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    touched, frames, hyper, usual = moving.touched, moving.frames, moving.hyper, moving.usual
    steps, targets, heads, dense = moving.steps, model.targets, model.heads, model.dense
    embedding, size = model.sizes[0], model.sizes[1]
    x, ids, y = rows.x, rows.ids, rows.y
    n_tables, n_bags = ids.shape[1], model.bags.shape[0]
    first = x.shape[1]
    n_inputs = first + (n_tables + n_bags) * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(scores.shape[1], dtype=np.float64)
    slope = np.empty(scores.shape[1], dtype=np.float64)
    trunk = steps.shape[0] - 1
    for r in range(x.shape[0]):
        inputs_of(theta, model, rows, r, inputs)
        hidden_of(theta, dense, inputs, hidden)
        total = _forward(theta, frames, model, hidden, y[r], out, scores[r], losses[r], slope)
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
        length = fed
        if n_bags:
            along_inputs, heavy = _along(rows, r, d_inputs, first, n_tables, embedding)
            length += heavy
        norm = math.sqrt(total * lit + along_hidden * fed + along_inputs)
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        factor = clipped(norm, weights[r], hyper)
        applied[r] = 1
        share = share_of(math.sqrt(length), usual[:2], hyper)
        steep = 0.0
        for t in range(targets.shape[0]):
            if targets[t, 0] == NUMBER and not math.isnan(y[r, t]):
                steep += slope[targets[t, 1]] ** 2
        if steep > 0.0:
            share *= share_of(math.sqrt(steep), usual[2:], hyper)
            grow_usual(math.sqrt(steep), usual[2:])
        grow_usual(math.sqrt(length), usual[:2])
        if share < 1.0:
            moved = _moved_length(theta, model, rows, r, n_inputs)
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
        for c in range(n_tables):
            at = model.tables[c] + ids[r, c] * embedding
            e = first + c * embedding
            d = d_inputs[e : e + embedding]
            step_run(rule, theta, slot0, slot1, touched, at, d, factor, hyper, c1, c2)
        for b in range(n_bags):
            e = first + (n_tables + b) * embedding
            d = d_inputs[e : e + embedding]
            for i in range(rows.spans[r, b], rows.spans[r, b + 1]):
                if rows.values[i] != np.float32(0.0) or rule == 1 or rule == 3:
                    at = model.bags[b] + rows.entries[i] * embedding
                    by = float(rows.values[i]) * factor
                    step_run(rule, theta, slot0, slot1, touched, at, d, by, hyper, c1, c2)
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
def _along(rows, r, d_inputs, first, n_tables, embedding):  # type: ignore[no-untyped-def]
    """Return the squared length of the gradient along embeddings, where an entry of a bag has its
    share by its value; and the sum of squares of those values."""
    total, heavy = 0.0, 0.0
    for f in range((d_inputs.shape[0] - first) // embedding):
        e = first + f * embedding
        squares = length_of(d_inputs[e : e + embedding])
        if f >= n_tables:
            held = 0.0
            for i in range(rows.spans[r, f - n_tables], rows.spans[r, f - n_tables + 1]):
                held += float(rows.values[i]) * float(rows.values[i])
            squares *= held
            heavy += held
        total += squares
    return total, heavy


@njit(nogil=True, cache=True)
def _moved_length(theta, model, rows, r, n_inputs):  # type: ignore[no-untyped-def]
    """Return the length of the weights that a row moves: the hidden layer, the heads of its
    labelled targets, its embeddings."""
    embedding, size, dense = model.sizes[0], model.sizes[1], model.dense
    total = length_of(theta[dense[0] : dense[0] + size])
    total += length_of(theta[dense[1] : dense[1] + n_inputs * size])
    for t in range(model.targets.shape[0]):
        if not math.isnan(rows.y[r, t]):
            at = model.heads[t]
            total += length_of(theta[at : at + model.targets[t, 2] * (1 + size)])
    for c in range(rows.ids.shape[1]):
        at = model.tables[c] + rows.ids[r, c] * embedding
        total += length_of(theta[at : at + embedding])
    for b in range(model.bags.shape[0]):
        for i in range(rows.spans[r, b], rows.spans[r, b + 1]):
            at = model.bags[b] + rows.entries[i] * embedding
            total += length_of(theta[at : at + embedding])
    return math.sqrt(total)


@njit(nogil=True, cache=True)
def gradient(model, moving, rows, weights, grads, moved):  # type: ignore[no-untyped-def]
    """Add up the gradient of N rows at the weights as they are, as in linear_passes.gradient."""
    theta, frames, targets, heads = moving.theta, moving.frames, model.targets, model.heads
    embedding, size, dense = model.sizes[0], model.sizes[1], model.dense
    x, ids, y = rows.x, rows.ids, rows.y
    n_tables, n_bags = ids.shape[1], model.bags.shape[0]
    first = x.shape[1]
    n_inputs = first + (n_tables + n_bags) * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(targets[:, 2].sum(), dtype=np.float64)
    scores = np.empty(targets[:, 2].sum(), dtype=np.float64)
    slope = np.empty(targets[:, 2].sum(), dtype=np.float64)
    losses = np.empty(targets.shape[0], dtype=np.float64)
    for r in range(x.shape[0]):
        if weights[r] <= 0.0 or np.isnan(y[r]).all():
            continue
        inputs_of(theta, model, rows, r, inputs)
        hidden_of(theta, dense, inputs, hidden)
        _forward(theta, frames, model, hidden, y[r], out, scores, losses, slope)
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
        for c in range(n_tables):
            at = model.tables[c] + ids[r, c] * embedding
            for e in range(embedding):
                grads[at + e] += d_inputs[first + c * embedding + e] * w
                moved[at + e] = 1
        for b in range(n_bags):
            part = d_inputs[first + (n_tables + b) * embedding :]
            for i in range(rows.spans[r, b], rows.spans[r, b + 1]):
                at = model.bags[b] + rows.entries[i] * embedding
                for e in range(embedding):
                    grads[at + e] += part[e] * rows.values[i] * w
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
