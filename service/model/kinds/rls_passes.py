"""The passes of recursive least squares, compiled: score a row, then solve for it.

    K = P x / (rho / h + x' P x),  w += K (y - w' x),  P = D (P - K x' P) D / rho

with h the importance of the row, rho the forgetting, and D that keeps P small (see _solve). Arguments and results are those of
linear_passes; `model` is rls.Tables, moving.extras are the matrices P [W, W], one a target, then how often each of
them started anew [1, 1].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.codes import mixed
from service.model.losses import grow_frame, link, loss_and_slope, renew_frame
from service.model.steps import LARGEST_NORM, capped, clipped, rescale_run

LEAST = 1e-9
"""Smallest variance of a weight: what rounding took below it is put back."""


@njit(nogil=True, cache=True)
def _slot(salt, row, size):
    """Return the hashed input of a row of a table, and its sign."""
    code = mixed(np.uint64(salt) + np.uint64(row) * np.uint64(0x9E3779B97F4A7C15))
    sign = 1.0 if code >> np.uint64(63) else -1.0
    return np.int64((code >> np.uint64(1)) % np.uint64(size)), sign


@njit(nogil=True, cache=True)
def inputs_of(model, rows, r, x):
    """Write the inputs [W] of row r: 1, the dense ones, the hashed ones; return their squares."""
    n_dense, n_tables, size = rows.x.shape[1], rows.ids.shape[1], model.sizes[0]
    x[0] = 1.0
    for j in range(n_dense):
        x[1 + j] = rows.x[r, j]
    x[1 + n_dense :] = 0.0
    for c in range(n_tables):
        slot, sign = _slot(model.salts[c], rows.ids[r, c], size)
        x[1 + n_dense + slot] += sign
    for b in range(model.salts.shape[0] - n_tables):
        for e in range(rows.spans[r, b], rows.spans[r, b + 1]):
            slot, sign = _slot(model.salts[n_tables + b], rows.entries[e], size)
            x[1 + n_dense + slot] += sign * rows.values[e]
    total = 0.0
    for j in range(x.shape[0]):
        total += x[j] * x[j]
    return total


@njit(nogil=True, cache=True)
def output_of(theta, model, t, x):
    """Return the output of target t; float64 sums."""
    first = x.shape[0] - model.sizes[0]
    total = 0.0
    for j in range(first):
        total += x[j] * theta[model.dense[t] + j]
    for j in range(model.sizes[0]):
        total += x[first + j] * theta[model.hashed[t] + j]
    return total


@njit(nogil=True, cache=True)
def score(model, served, rows, scores):
    """Score N rows with the weights as they are. scores: float64 [N, O]."""
    x, out = np.empty(model.sizes[1]), np.empty(1)
    for r in range(rows.x.shape[0]):
        inputs_of(model, rows, r, x)
        for t in range(model.targets.shape[0]):
            out[0] = output_of(served.theta, model, t, x)
            link(model.targets[t, 0], 1, served.frames[t], out, scores[r, t : t + 1])


@njit(nogil=True, cache=True)
def learn(model, moving, rows, weights, scores, losses, norms, applied):
    """Score, then learn, row after row; see linear_passes.learn. A clip and the cap lower the
    importance of a row; its norm is that of the squared error's gradient."""
    targets, frames, usual, hyper = model.targets, moving.frames, moving.usual, moving.hyper
    y, n_targets = rows.y, model.targets.shape[0]
    x, along, slope = np.empty(model.sizes[1]), np.empty(model.sizes[1]), np.empty(n_targets)
    out, kept = np.empty(n_targets), np.empty(model.sizes[1])
    for r in range(rows.x.shape[0]):
        squares = inputs_of(model, rows, r, x)
        total = 0.0
        for t in range(n_targets):
            o, s, d = out[t : t + 1], scores[r, t : t + 1], slope[t : t + 1]
            o[0] = output_of(moving.theta, model, t, x)
            link(targets[t, 0], 1, frames[t], o, s)
            losses[r, t] = math.nan
            if not math.isnan(y[r, t]):
                losses[r, t] = loss_and_slope(targets[t, 0], 1, frames[t], o, s, y[r, t], d)
                total += d[0] * d[0]
            if not math.isfinite(s[0]):
                total = math.inf
        norm = math.sqrt(total * squares)
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        if not (norm < LARGEST_NORM and math.sqrt(squares) < LARGEST_NORM):
            applied[r] = 2
            continue
        importance = clipped(norm, weights[r], hyper)
        share = capped(math.sqrt(squares), total, usual, hyper)
        applied[r] = 1
        if share < 1.0:
            applied[r] = 3
            importance *= share
        norms[r] = norm * importance
        for t in range(n_targets):
            if math.isnan(y[r, t]):
                continue
            moving.steps[t] += 1
            if frames[t, 4] > 0.0:
                _solve(model, moving, t, x, -0.5 * slope[t], importance, along, kept)
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                _reframe(model, moving, t)


@njit(nogil=True, cache=True)
def _solve(model, moving, t, x, error, importance, along, kept):
    """Take a row with this error. No weight gets less certain than it was at the start: what
    forgetting would add to its variance beyond that is taken back (by scaling its row and column,
    which keeps P positive). So inputs that stand still cannot wind P up, and the others forget."""
    held, theta, touched = moving.extras[t], moving.theta, moving.touched
    n, rho, first = x.shape[0], model.forgetting[0], x.shape[0] - model.sizes[0]
    along[:] = 0.0
    for j in range(n):
        if x[j] != 0.0:
            for i in range(n):
                along[i] += x[j] * held[j, i]
    spread = 0.0
    for i in range(n):
        spread += x[i] * along[i]
    if not spread >= 0.0:  # P is no longer positive, by rounding: start it anew
        moving.extras[model.targets.shape[0] + t][0, 0] += 1.0
        held[:] = 0.0
        for i in range(n):
            held[i, i] = 1.0
            along[i] = x[i]
        spread = 0.0
        for i in range(n):
            spread += x[i] * x[i]
    gain = 1.0 / (rho / importance + spread)
    for i in range(n):
        at = model.dense[t] + i if i < first else model.hashed[t] + i - first
        theta[at] += along[i] * gain * error
        touched[at >> 6] = 1
        variance = (held[i, i] - gain * along[i] * along[i]) / rho
        kept[i] = 1.0 / math.sqrt(variance) if variance > 1.0 else 1.0
    for i in range(n):
        for j in range(n):  # each term is the same bits for i, j and j, i: P stays symmetric
            left = held[i, j] - gain * (along[i] * along[j])
            held[i, j] = left * (kept[i] * kept[j]) / rho
        held[i, i] = max(held[i, i], LEAST)


@njit(nogil=True, cache=True)
def _reframe(model, moving, t):
    """Renew the frame of a target: its weights scale by the ratio. P knows no unit of y."""
    ratio, shift = renew_frame(moving.frames[t])
    theta, none, touched = moving.theta, moving.slot0[:0], moving.touched
    dense = model.sizes[1] - model.sizes[0]
    rescale_run(0, theta, none, none, touched, model.dense[t], dense, ratio)
    rescale_run(0, theta, none, none, touched, model.hashed[t], model.sizes[0], ratio)
    theta[model.dense[t]] += shift


def no_gradient(*_: object) -> None:
    """Raise TypeError: least squares are solved, not descended."""
    raise TypeError("rls has no gradient; look at Kind.differentiable before asking for one")
