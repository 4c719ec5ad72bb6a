"""The forward pass of the multi-layer perceptron, compiled: one row's inputs, hidden layer, outputs.

Arguments are those of compiled.Passes; `model` is mlp.Tables.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from service.model.losses import link
from service.model.strategies.bent import is_served

NORM_EPS = 1e-5
"""Added to a layer's variance, as torch.nn.LayerNorm does."""


@njit(nogil=True, cache=True)
def inputs_of(theta, model, rows, r, inputs):
    """Write the inputs [I] of row r: dense ones, the embedding of each table's row, and for each
    bag the sum of its entries' embeddings times their values."""
    embedding = model.sizes[0]
    d = rows.x.shape[1]
    for j in range(d):
        inputs[j] = rows.x[r, j]
    for c in range(rows.ids.shape[1]):
        at = model.tables[c] + rows.ids[r, c] * embedding
        for e in range(embedding):
            inputs[d + c * embedding + e] = theta[at + e]
    for b in range(model.bags.shape[0]):
        first = d + (rows.ids.shape[1] + b) * embedding
        for e in range(embedding):
            inputs[first + e] = np.float32(0.0)
        for i in range(rows.spans[r, b], rows.spans[r, b + 1]):
            at = model.bags[b] + rows.entries[i] * embedding
            for e in range(embedding):
                inputs[first + e] += rows.values[i] * theta[at + e]


@njit(nogil=True, cache=True)
def hidden_of(theta, model, inputs, hidden, plain):
    """Write the hidden layer into hidden [H]: relu(W'x + b), or with a layer norm
    relu(gain * plain + bias), plain [H] being W'x + b brought to mean 0 and variance 1. Return one
    over the deviation that was taken out (1 without a norm)."""
    size, first, weights = hidden.shape[0], model.dense[0], model.dense[1]
    hidden[:] = theta[first : first + size]
    for j in range(inputs.shape[0]):
        value = inputs[j]
        if value != np.float32(0.0):
            at = weights + j * size
            row = theta[at : at + size]
            for h in range(size):
                hidden[h] += value * row[h]
    inverse = 1.0
    if model.norm.shape[0]:
        total, squares = 0.0, 0.0
        for h in range(size):
            total += float(hidden[h])
        mean = total / size
        for h in range(size):
            squares += (float(hidden[h]) - mean) ** 2
        inverse = 1.0 / math.sqrt(squares / size + NORM_EPS)
        gain, bias = model.norm[0], model.norm[1]
        for h in range(size):
            plain[h] = (float(hidden[h]) - mean) * inverse
            hidden[h] = theta[gain + h] * plain[h] + theta[bias + h]
    for h in range(size):
        hidden[h] = max(hidden[h], np.float32(0.0))
    return inverse


@njit(nogil=True, cache=True)
def dot(a, b):
    """Return a . b in float32 over eight fixed lanes: quick, and the same bits every time."""
    n = a.shape[0] // 8 * 8
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0.0)
    for i in range(0, n, 8):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(n, a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(nogil=True, cache=True)
def head_of(theta, base, width, hidden, out):
    """Write the outputs [width] of one target."""
    size = hidden.shape[0]
    for o in range(width):
        row = theta[base + width + o * size : base + width + (o + 1) * size]
        out[o] = float(theta[base + o]) + float(dot(hidden, row))


@njit(nogil=True, cache=True)
def score(model, served, rows, scores):
    """Score N rows with the weights as they are. scores: float64 [N, O]."""
    theta = served.theta
    fields = model.tables.shape[0] + model.bags.shape[0]
    inputs = np.empty(rows.x.shape[1] + fields * model.sizes[0], dtype=np.float32)
    hidden = np.empty(model.sizes[1], dtype=np.float32)
    plain = np.empty(model.sizes[1], dtype=np.float32)
    out = np.empty(scores.shape[1])
    for r in range(rows.x.shape[0]):
        score_row(theta, served.frames, model, rows, r, inputs, hidden, plain, out, scores[r])


@njit(nogil=True, cache=True)
def score_row(theta, frames, model, rows, r, inputs, hidden, plain, out, scores):
    """Write the scores [O] of row r; inputs [I], hidden [H], plain [H], out [O] are room to work."""
    inputs_of(theta, model, rows, r, inputs)
    hidden_of(theta, model, inputs, hidden, plain)
    for t in range(model.targets.shape[0]):
        start, width = model.targets[t, 1], model.targets[t, 2]
        head_of(theta, model.heads[t], width, hidden, out)
        link(model.targets[t, 0], width, frames[t], out, scores[start : start + width])


def score_steady(strategy, frames, model, rows, r, inputs, hidden, plain, out, steady):
    """Write the scores [O] of row r by the average, where that is served, into `steady`."""
    raise NotImplementedError("for compiled code only")


def take_steady(strategy, steady, scores):
    """Put the scores by the average, where that is served, into `scores` [O]."""
    raise NotImplementedError("for compiled code only")


@overload(score_steady)
def _score_steady_by_type(strategy, frames, model, rows, r, inputs, hidden, plain, out, steady):
    def off(strategy, frames, model, rows, r, inputs, hidden, plain, out, steady):
        pass

    def on(strategy, frames, model, rows, r, inputs, hidden, plain, out, steady):
        if is_served(strategy):
            mean = strategy.average
            score_row(mean, frames, model, rows, r, inputs, hidden, plain, out, steady)

    return off if isinstance(strategy, types.NoneType) else on


@overload(take_steady)
def _take_steady_by_type(strategy, steady, scores):
    def off(strategy, steady, scores):
        pass

    def on(strategy, steady, scores):
        if is_served(strategy):
            scores[:] = steady

    return off if isinstance(strategy, types.NoneType) else on
