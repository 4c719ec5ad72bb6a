"""The forward pass of the multi-layer perceptron, compiled: one row's inputs, hidden layer, outputs.

How its weights lie in `theta` is told in mlp.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from service.model.losses import link


@njit(nogil=True, cache=True)
def inputs_of(theta, tables, embedding, x, ids, inputs):  # type: ignore[no-untyped-def]
    """Write one row's inputs [I]: numbers, then the embedding of each category."""
    d = x.shape[0]
    for j in range(d):
        inputs[j] = x[j]
    for c in range(ids.shape[0]):
        at = tables[c] + ids[c] * embedding
        for e in range(embedding):
            inputs[d + c * embedding + e] = theta[at + e]


@njit(nogil=True, cache=True)
def hidden_of(theta, dense, inputs, hidden):  # type: ignore[no-untyped-def]
    """Write relu(W'x + b) into hidden [H]."""
    size = hidden.shape[0]
    hidden[:] = theta[dense[0] : dense[0] + size]
    for j in range(inputs.shape[0]):
        value = inputs[j]
        if value != np.float32(0.0):
            at = dense[1] + j * size
            row = theta[at : at + size]
            for h in range(size):
                hidden[h] += value * row[h]
    for h in range(size):
        hidden[h] = max(hidden[h], np.float32(0.0))


@njit(nogil=True, cache=True)
def dot(a, b):  # type: ignore[no-untyped-def]
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
def head_of(theta, base, width, hidden, out):  # type: ignore[no-untyped-def]
    """Write the outputs [width] of one target."""
    size = hidden.shape[0]
    for o in range(width):
        row = theta[base + width + o * size : base + width + (o + 1) * size]
        out[o] = float(theta[base + o]) + float(dot(hidden, row))


@njit(nogil=True, cache=True)
def score(theta, frames, targets, dense, heads, tables, embedding, size, x, ids, out, scores):  # type: ignore[no-untyped-def]
    """Score N rows with the weights as they are. scores: float64 [N, O]; out: scratch [O]."""
    inputs = np.empty(x.shape[1] + ids.shape[1] * embedding, dtype=np.float32)
    hidden = np.empty(size, dtype=np.float32)
    for r in range(x.shape[0]):
        inputs_of(theta, tables, embedding, x[r], ids[r], inputs)
        hidden_of(theta, dense, inputs, hidden)
        for t in range(targets.shape[0]):
            start, width = targets[t, 1], targets[t, 2]
            head_of(theta, heads[t], width, hidden, out)
            link(targets[t, 0], width, frames[t], out, scores[r, start : start + width])
