"""The passes of the factorization machine, compiled: score a row, then learn it.

Arguments and results are those of linear_passes; `model` is fm.Tables. The inputs of a row are
listed once: `at` [T, M] and `far` [T, M] say where weight and factors of each lie, `value` [M] what
it is multiplied with. sums [O, K] are the vectors sum v x.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.kinds.fm_slopes import bend_of, reach_of
from service.model.losses import NUMBER, grow_frame, link, loss_and_slope, renew_frame
from service.model.steps import LARGEST_NORM, capped, clipped, count_step, is_small_step, length_of
from service.model.strategies.bent import (
    emphasis_of,
    is_safe,
    is_served,
    renew_beside,
    rescale,
    shift,
    steady_of,
    step_one,
    step_run,
)
from service.model.strategies.safe import safe_slope, straight


@njit(nogil=True, cache=True)
def most_inputs(rows):
    """Return M: the most inputs that a row can have."""
    most = 0
    for r in range(rows.x.shape[0]):
        most = max(most, rows.spans[r, -1] - rows.spans[r, 0])
    return rows.x.shape[1] + rows.ids.shape[1] + most


@njit(nogil=True, cache=True)
def inputs_of(model, rows, r, zeros, at, far, value):
    """List the inputs of row r in at, far [T, M] and value [M]; return how many. zeros: list dense
    inputs and entries that are 0 too."""
    factors, n = model.factors[0], 0
    for j in range(rows.x.shape[1]):
        if zeros or rows.x[r, j] != 0.0:
            value[n] = rows.x[r, j]
            for t in range(model.targets.shape[0]):
                width = model.targets[t, 2]
                at[t, n] = model.dense[t, 0] + (1 + j) * width
                far[t, n] = model.dense[t, 1] + j * width * factors
            n += 1
    n_tables = rows.ids.shape[1]
    for f in range(model.fields.shape[1]):
        bag = f - n_tables
        first = rows.spans[r, bag] if bag >= 0 else 0
        last = rows.spans[r, bag + 1] if bag >= 0 else 1
        for e in range(first, last):
            row = rows.entries[e] if bag >= 0 else rows.ids[r, f]
            x = float(rows.values[e]) if bag >= 0 else 1.0
            if zeros or x != 0.0:
                value[n] = x
                for t in range(model.targets.shape[0]):
                    width = model.targets[t, 2]
                    at[t, n] = model.fields[t, f, 0] + row * width
                    far[t, n] = model.fields[t, f, 1] + row * width * factors
                n += 1
    return n


@njit(nogil=True, cache=True)
def outputs(theta, model, t, n, at, far, value, sums, out):
    """Write the outputs of target t into out [width], and their sums [width, K]; float64 sums."""
    factors, width = model.factors[0], model.targets[t, 2]
    for o in range(width):
        total = float(theta[model.dense[t, 0] + o])
        for i in range(n):
            total += value[i] * theta[at[t, i] + o]
        pairs = 0.0
        for k in range(factors):
            sums[o, k] = 0.0
        for i in range(n):
            v = theta[far[t, i] + o * factors : far[t, i] + (o + 1) * factors]
            for k in range(factors):
                along = value[i] * v[k]
                sums[o, k] += along
                pairs -= along * along
        for k in range(factors):
            pairs += sums[o, k] * sums[o, k]
        out[o] = total + 0.5 * pairs


@njit(nogil=True, cache=True)
def score(model, served, rows, scores):
    """Score N rows with the weights as they are. scores: float64 [N, O]."""
    n_targets, most = model.targets.shape[0], most_inputs(rows)
    at = np.empty((n_targets, most), dtype=np.int64)
    far = np.empty((n_targets, most), dtype=np.int64)
    value = np.empty(most)
    out = np.empty(scores.shape[1])
    sums = np.empty((scores.shape[1], model.factors[0]))
    for r in range(rows.x.shape[0]):
        n = inputs_of(model, rows, r, False, at, far, value)
        _score_row(served.theta, model, served.frames, n, at, far, value, sums, out, scores[r])


@njit(nogil=True, cache=True)
def _score_row(theta, model, frames, n, at, far, value, sums, out, scores):
    """Write the scores [O] of one row; sums [O, K] and out [O] are room to work in."""
    for t in range(model.targets.shape[0]):
        start, width = model.targets[t, 1], model.targets[t, 2]
        outputs(theta, model, t, n, at, far, value, sums, out)
        link(model.targets[t, 0], width, frames[t], out, scores[start : start + width])


@njit(nogil=True, cache=True)
def learn(model, moving, rows, weights, scores, losses, norms, applied):
    """Score, then learn, row after row; see linear_passes.learn."""
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    touched, frames, hyper, usual = moving.touched, moving.frames, moving.hyper, moving.usual
    steps, targets, y, strategy = moving.steps, model.targets, rows.y, moving.strategy
    factors, n_targets, most = model.factors[0], model.targets.shape[0], most_inputs(rows)
    at = np.empty((n_targets, most), dtype=np.int64)
    far = np.empty((n_targets, most), dtype=np.int64)
    value = np.empty(most)
    out = np.empty(scores.shape[1])
    slope = np.empty(scores.shape[1])
    sums = np.empty((scores.shape[1], factors))
    steady = np.empty(scores.shape[1])
    spare = np.empty((scores.shape[1], factors))
    d_far = np.empty(factors, dtype=np.float32)
    for r in range(rows.x.shape[0]):
        n = inputs_of(model, rows, r, rule == 1 or rule == 3, at, far, value)
        total, steep, length = 0.0, 0.0, 0.0
        for t in range(n_targets):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            z = out[start : start + width]
            outputs(theta, model, t, n, at, far, value, sums[start : start + width], z)
            s = scores[r, start : start + width]
            link(kind, width, frames[t], z, s)
            losses[r, t] = math.nan
            if not math.isnan(y[r, t]):
                d = slope[start : start + width]
                losses[r, t] = loss_and_slope(kind, width, frames[t], z, s, y[r, t], d)
                for k in range(width):
                    d[k] *= emphasis_of(model.emphasis, strategy, r, t)
                    reach = reach_of(theta, model, t, k, n, far, value, sums[start + k])
                    total += d[k] * d[k] * reach
                    length = max(length, reach)
                if kind == NUMBER:
                    steep += d[0] * d[0]
            if not math.isfinite(s[0]):
                total = math.inf
        if is_served(strategy):
            mean = steady_of(strategy, theta)
            _score_row(mean, model, frames, n, at, far, value, spare, steady, scores[r])
        norm, length = math.sqrt(total), math.sqrt(length)
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        factor = clipped(norm, weights[r], hyper)
        share = capped(length, steep, usual, hyper)
        applied[r] = 1
        if share < 1.0:
            moved = _moved_length(theta, model, y[r], n, at, far)
            if not is_small_step(rule, norm * factor, moved, hyper):
                applied[r] = 3
                factor *= share
        norms[r] = norm * factor
        for t in range(n_targets):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            c1, c2 = count_step(rule, steps, t, hyper)
            if is_safe(strategy):
                by = factor * emphasis_of(model.emphasis, strategy, r, t)
                wide = hyper[0] * reach_of(theta, model, t, 0, n, far, value, sums[start])
                bend = hyper[0] ** 2 * bend_of(theta, model, t, n, far, value, sums[start])
                d_out = safe_slope(targets[t, 0], out[start], y[r, t], frames[t], by, wide)
                slope[start] = straight(d_out, wide, bend) / factor
            for o in range(width):
                g = slope[start + o] * factor
                bias = model.dense[t, 0] + o
                step_one(rule, theta, slot0, slot1, touched, bias, g, hyper, c1, c2, strategy)
                for i in range(n):
                    x = value[i]
                    w, first = at[t, i] + o, far[t, i] + o * factors
                    step_one(rule, theta, slot0, slot1, touched, w, g * x, hyper, c1, c2, strategy)
                    for k in range(factors):
                        d_far[k] = x * (sums[start + o, k] - x * theta[first + k])
                    step_run(
                        rule, theta, slot0, slot1, touched, first, d_far, g, hyper, c1, c2, strategy
                    )
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                _reframe(model, moving, t, rows.x.shape[1])


@njit(nogil=True, cache=True)
def _reframe(model, moving, t, n_dense):
    """Renew the frame of a target: weights scale by the ratio, factors by its root."""
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    ratio, by = renew_frame(moving.frames[t])
    strategy = moving.strategy
    width, factors, touched = model.targets[t, 2], model.factors[0], moving.touched
    bias = model.dense[t, 0]
    first = model.dense[t, 1]
    rescale(rule, theta, slot0, slot1, touched, bias, (1 + n_dense) * width, ratio, strategy)
    _rescale_factors(
        rule, theta, slot0, slot1, touched, first, n_dense * width * factors, ratio, strategy
    )
    for f in range(model.sizes.shape[0]):
        n = model.sizes[f] * width
        rescale(rule, theta, slot0, slot1, touched, model.fields[t, f, 0], n, ratio, strategy)
        first = model.fields[t, f, 1]
        _rescale_factors(rule, theta, slot0, slot1, touched, first, n * factors, ratio, strategy)
    shift(theta, bias, by, strategy)


@njit(nogil=True, cache=True)
def _rescale_factors(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
    """steps.rescale for weights that go into an output twice."""
    root = math.sqrt(ratio)
    renew_beside(strategy, start, length, root)
    for i in range(start, start + length):
        theta[i] *= root
        if rule == 1 or rule == 3:
            slot0[i] *= root**3
        if rule == 2:
            slot0[i] *= ratio**3
        if rule == 3:
            slot1[i] *= ratio**3
        touched[i >> 6] = 1


@njit(nogil=True, cache=True)
def _moved_length(theta, model, y, n, at, far):
    """Return the length of the weights that a row moves: those of its labelled targets."""
    total = 0.0
    for t in range(model.targets.shape[0]):
        if not math.isnan(y[t]):
            width = model.targets[t, 2]
            total += length_of(theta[model.dense[t, 0] : model.dense[t, 0] + width])
            for i in range(n):
                total += length_of(theta[at[t, i] : at[t, i] + width])
                total += length_of(theta[far[t, i] : far[t, i] + width * model.factors[0]])
    return math.sqrt(total)


@njit(nogil=True, cache=True)
def gradient(model, moving, rows, weights, grads, moved):
    """Add up the gradient of N rows at the weights as they are, as in linear_passes.gradient."""
    theta, frames, targets, factors = moving.theta, moving.frames, model.targets, model.factors[0]
    n_targets, most = targets.shape[0], most_inputs(rows)
    at = np.empty((n_targets, most), dtype=np.int64)
    far = np.empty((n_targets, most), dtype=np.int64)
    value = np.empty(most)
    out = np.empty(targets[:, 2].sum())
    scores = np.empty(targets[:, 2].sum())
    slope = np.empty(targets[:, 2].sum())
    sums = np.empty((targets[:, 2].sum(), factors))
    strategy = moving.strategy
    for r in range(rows.x.shape[0]):
        n = inputs_of(model, rows, r, True, at, far, value)
        for t in range(n_targets):
            if math.isnan(rows.y[r, t]) or weights[r] <= 0.0:
                continue
            kind, width = targets[t, 0], targets[t, 2]
            outputs(theta, model, t, n, at, far, value, sums, out)
            link(kind, width, frames[t], out, scores)
            loss_and_slope(kind, width, frames[t], out, scores, rows.y[r, t], slope)
            for o in range(width):
                g = slope[o] * emphasis_of(model.emphasis, strategy, r, t) * weights[r]
                grads[model.dense[t, 0] + o] += g
                moved[model.dense[t, 0] + o] = 1
                for i in range(n):
                    grads[at[t, i] + o] += g * value[i]
                    moved[at[t, i] + o] = 1
                    for k in range(factors):
                        w = far[t, i] + o * factors + k
                        grads[w] += g * value[i] * (sums[o, k] - value[i] * theta[w])
                        moved[w] = 1
