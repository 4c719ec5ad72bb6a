"""What one row of the multi-layer perceptron asks of its weights, compiled: scores, slopes, lengths.

Arguments are those of mlp_passes; `model` is mlp.Tables.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.codes import mixed
from service.model.kinds.mlp_score import dot, head_of
from service.model.losses import link, loss_and_slope
from service.model.steps import length_of
from service.model.strategies.bent import emphasis_of


@njit(nogil=True, cache=True)
def forward(theta, frames, strategy, model, hidden, y, r, out, scores, losses, slope):
    """Score every target of one row, the r-th; return the sum of squared slopes (inf: not finite)."""
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
            by = emphasis_of(model.emphasis, strategy, r, t)
            for k in range(width):
                d[k] *= by
                total += d[k] * d[k]
        if not math.isfinite(s[0]):
            total = math.inf
    return total


@njit(nogil=True, cache=True)
def drop(model, counter, hidden):
    """Leave units of hidden [H] out, by a draw from seed, rows learned so far and unit; the others
    grow, so that their sum is as usual."""
    seed = mixed(np.uint64(model.sizes[2]) ^ mixed(np.uint64(counter)))
    keep = np.float32(1.0 / (1.0 - model.dropout[0]))
    for h in range(hidden.shape[0]):
        draw = float(mixed(seed + np.uint64(h)) >> np.uint64(11)) / 9007199254740992.0  # 2^53
        hidden[h] = np.float32(0.0) if draw < model.dropout[0] else keep * hidden[h]


@njit(nogil=True, cache=True)
def backward(
    theta, model, hidden, plain, inverse, inputs, y, slope, d_hidden, d_norm, d_inputs, first
):
    """Write d loss / d hidden sum [H], d loss / d gain and bias of the norm [2, H], and d loss / d
    inputs [I] (from `first` on); return their three squared lengths."""
    targets, heads, size = model.targets, model.heads, hidden.shape[0]
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
    if model.dropout[0] > 0.0:
        keep = np.float32(1.0 / (1.0 - model.dropout[0]))
        for h in range(size):
            d_hidden[h] *= keep
    for h in range(size):
        if hidden[h] <= np.float32(0.0):
            d_hidden[h] = np.float32(0.0)
    along_norm = 0.0
    if model.norm.shape[0]:
        along_norm = _through_norm(theta, model, plain, inverse, d_hidden, d_norm)
    along_hidden = 0.0
    for h in range(size):
        along_hidden += float(d_hidden[h]) * float(d_hidden[h])
    along_inputs = 0.0
    for j in range(first, inputs.shape[0]):
        at = model.dense[1] + j * size
        d_inputs[j] = dot(theta[at : at + size], d_hidden)
        along_inputs += float(d_inputs[j]) * float(d_inputs[j])
    return along_hidden, along_norm, along_inputs


@njit(nogil=True, cache=True)
def _through_norm(theta, model, plain, inverse, d_hidden, d_norm):
    """Turn d loss / d normed sum [H] into d loss / d hidden sum; write d_norm [2, H] and return its
    squared length."""
    size, gain = d_hidden.shape[0], model.norm[0]
    along, total, projected = 0.0, 0.0, 0.0
    for h in range(size):
        d_norm[0, h] = d_hidden[h] * plain[h]
        d_norm[1, h] = d_hidden[h]
        along += float(d_norm[0, h]) ** 2 + float(d_norm[1, h]) ** 2
        d_hidden[h] *= theta[gain + h]
        total += float(d_hidden[h])
        projected += float(d_hidden[h]) * float(plain[h])
    for h in range(size):
        d = float(d_hidden[h]) - total / size - float(plain[h]) * projected / size
        d_hidden[h] = d * inverse
    return along


@njit(nogil=True, cache=True)
def along(rows, r, d_inputs, first, n_tables, embedding):
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
def moved_length(theta, model, rows, r, n_inputs):
    """Return the length of the weights that a row moves: the hidden layer, the heads of its
    labelled targets, its embeddings."""
    embedding, size, dense = model.sizes[0], model.sizes[1], model.dense
    total = length_of(theta[dense[0] : dense[0] + size])
    total += length_of(theta[dense[1] : dense[1] + n_inputs * size])
    for k in range(model.norm.shape[0]):
        total += length_of(theta[model.norm[k] : model.norm[k] + size])
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
