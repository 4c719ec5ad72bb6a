"""The passes of the multi-layer perceptron, compiled: score a row, then learn it.

Arguments and results are those of linear_passes; `model` is mlp.Tables. Every target shares the
hidden layer. Inner loops run over H in float32, without reassociation.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.kinds.mlp_score import hidden_of, inputs_of, score_steady, take_steady
from service.model.kinds.mlp_slopes import along, backward, drop, forward, moved_length
from service.model.losses import NUMBER, grow_frame, renew_frame
from service.model.steps import LARGEST_NORM, capped, clipped, count_step, is_small_step
from service.model.strategies.bent import (
    count_row,
    emphasis_of,
    is_safe,
    rescale,
    shift,
    step_one,
    step_run,
    trunk_moves,
)
from service.model.strategies.safe import safe_factor


@njit(nogil=True, cache=True)
def learn(model, moving, rows, weights, scores, losses, norms, applied):
    """Score, then learn, row after row. steps has one more counter, the last, for the shared
    layers."""
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    touched, frames, hyper, usual = moving.touched, moving.frames, moving.hyper, moving.usual
    strategy = moving.strategy
    steps, targets, heads, dense = moving.steps, model.targets, model.heads, model.dense
    embedding, size = model.sizes[0], model.sizes[1]
    x, ids, y = rows.x, rows.ids, rows.y
    n_tables, n_bags = ids.shape[1], model.bags.shape[0]
    first = x.shape[1]
    n_inputs = first + (n_tables + n_bags) * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    plain = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_norm = np.empty((2, size), dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(scores.shape[1], dtype=np.float64)
    slope = np.empty(scores.shape[1], dtype=np.float64)
    masked = np.empty(scores.shape[1], dtype=np.float64)
    unsaid = np.empty(targets.shape[0], dtype=np.float64)
    trunk = steps.shape[0] - 1
    steady = np.empty(scores.shape[1], dtype=np.float64)
    for r in range(x.shape[0]):
        score_steady(strategy, frames, model, rows, r, inputs, hidden, plain, out, steady)
        inputs_of(theta, model, rows, r, inputs)
        inverse = hidden_of(theta, model, inputs, hidden, plain)
        total = forward(
            theta, frames, strategy, model, hidden, y[r], r, out, scores[r], losses[r], slope
        )
        take_steady(strategy, steady, scores[r])
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        if model.dropout[0] > 0.0:
            drop(model, steps[trunk], hidden)
            again = forward(
                theta, frames, strategy, model, hidden, y[r], r, out, masked, unsaid, slope
            )
            total = again if math.isfinite(total) else total
        moves = trunk_moves(strategy)
        along_hidden, along_norm, along_inputs = 0.0, 0.0, 0.0
        if moves:
            along_hidden, along_norm, along_inputs = backward(
                theta, model, hidden, plain, inverse, inputs, y[r], slope, d_hidden, d_norm,
                d_inputs, first,
            )  # fmt: skip
        lit, fed = 1.0, 1.0
        for h in range(size):
            lit += float(hidden[h]) * float(hidden[h])
        for j in range(n_inputs):
            fed += float(inputs[j]) * float(inputs[j])
        length = fed
        if n_bags:
            felt, heavy = along(rows, r, d_inputs, first, n_tables, embedding)
            along_inputs = felt if moves else 0.0  # else d_inputs is that of an earlier row
            length += heavy
        norm = math.sqrt(total * lit + along_hidden * fed + along_norm + along_inputs)
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        count_row(strategy)
        steep = 0.0
        for t in range(targets.shape[0]):
            if targets[t, 0] == NUMBER and not math.isnan(y[r, t]):
                steep += slope[targets[t, 1]] ** 2
        factor = clipped(norm, weights[r], hyper)
        share = capped(math.sqrt(length), steep, usual, hyper)
        applied[r] = 1
        if share < 1.0:
            moved = moved_length(theta, model, rows, r, n_inputs)
            if not is_small_step(rule, norm * factor, moved, hyper):
                applied[r] = 3
                factor *= share
        norms[r] = norm * factor
        if is_safe(strategy):  # there is one target, with one output
            by = emphasis_of(model.emphasis, strategy, r, 0)
            factor = safe_factor(
                targets[0, 0], out[0], y[r, 0], frames[0], slope[0], by, factor, norm, hyper[0]
            )
        if moves:
            c1, c2 = count_step(rule, steps, trunk, hyper)
            at = dense[0]
            step_run(
                rule, theta, slot0, slot1, touched, at, d_hidden, factor, hyper, c1, c2, strategy
            )
            for j in range(n_inputs):
                if inputs[j] != np.float32(0.0) or rule == 1 or rule == 3:
                    at = dense[1] + j * size
                    by = float(inputs[j]) * factor
                    step_run(
                        rule,
                        theta,
                        slot0,
                        slot1,
                        touched,
                        at,
                        d_hidden,
                        by,
                        hyper,
                        c1,
                        c2,
                        strategy,
                    )
            for k in range(model.norm.shape[0]):
                at = model.norm[k]
                step_run(
                    rule,
                    theta,
                    slot0,
                    slot1,
                    touched,
                    at,
                    d_norm[k],
                    factor,
                    hyper,
                    c1,
                    c2,
                    strategy,
                )
            for c in range(n_tables):
                at = model.tables[c] + ids[r, c] * embedding
                e = first + c * embedding
                d = d_inputs[e : e + embedding]
                step_run(rule, theta, slot0, slot1, touched, at, d, factor, hyper, c1, c2, strategy)
            for b in range(n_bags):
                e = first + (n_tables + b) * embedding
                d = d_inputs[e : e + embedding]
                for i in range(rows.spans[r, b], rows.spans[r, b + 1]):
                    if rows.values[i] != np.float32(0.0) or rule == 1 or rule == 3:
                        at = model.bags[b] + rows.entries[i] * embedding
                        by = float(rows.values[i]) * factor
                        step_run(
                            rule, theta, slot0, slot1, touched, at, d, by, hyper, c1, c2, strategy
                        )
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            c1, c2 = count_step(rule, steps, t, hyper)
            for o in range(width):
                g = slope[start + o] * factor
                step_one(
                    rule, theta, slot0, slot1, touched, heads[t] + o, g, hyper, c1, c2, strategy
                )
                at = heads[t] + width + o * size
                step_run(rule, theta, slot0, slot1, touched, at, hidden, g, hyper, c1, c2, strategy)
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                ratio, by = renew_frame(frames[t])
                rescale(rule, theta, slot0, slot1, touched, heads[t], 1 + size, ratio, strategy)
                shift(theta, heads[t], by, strategy)


@njit(nogil=True, cache=True)
def gradient(model, moving, rows, weights, grads, moved):
    """Add up the gradient of N rows at the weights as they are, as in linear_passes.gradient."""
    theta, frames, targets, heads = moving.theta, moving.frames, model.targets, model.heads
    strategy = moving.strategy
    embedding, size, dense = model.sizes[0], model.sizes[1], model.dense
    x, ids, y = rows.x, rows.ids, rows.y
    n_tables, n_bags = ids.shape[1], model.bags.shape[0]
    first = x.shape[1]
    n_inputs = first + (n_tables + n_bags) * embedding
    inputs = np.empty(n_inputs, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    plain = np.empty(size, dtype=np.float32)
    d_hidden = np.empty(size, dtype=np.float32)
    d_norm = np.empty((2, size), dtype=np.float32)
    d_inputs = np.zeros(n_inputs, dtype=np.float32)
    out = np.empty(targets[:, 2].sum(), dtype=np.float64)
    scores = np.empty(targets[:, 2].sum(), dtype=np.float64)
    slope = np.empty(targets[:, 2].sum(), dtype=np.float64)
    losses = np.empty(targets.shape[0], dtype=np.float64)
    counter = moving.steps[-1]
    for r in range(x.shape[0]):
        if weights[r] <= 0.0 or np.isnan(y[r]).all():
            continue
        inputs_of(theta, model, rows, r, inputs)
        inverse = hidden_of(theta, model, inputs, hidden, plain)
        if model.dropout[0] > 0.0:
            drop(model, counter, hidden)
            counter += 1
        forward(theta, frames, strategy, model, hidden, y[r], r, out, scores, losses, slope)
        backward(
            theta, model, hidden, plain, inverse, inputs, y[r], slope, d_hidden, d_norm, d_inputs,
            first,
        )  # fmt: skip
        w = weights[r]
        for h in range(size):
            grads[dense[0] + h] += d_hidden[h] * w
            moved[dense[0] + h] = 1
            for j in range(n_inputs):
                grads[dense[1] + j * size + h] += inputs[j] * d_hidden[h] * w
                moved[dense[1] + j * size + h] = 1
            for k in range(model.norm.shape[0]):
                grads[model.norm[k] + h] += d_norm[k, h] * w
                moved[model.norm[k] + h] = 1
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
