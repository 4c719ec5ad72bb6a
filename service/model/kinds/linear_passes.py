"""The passes of the linear model, compiled: score a row, then learn it.

How the weights lie in `theta` is told in linear.py. Arguments are those of compiled.Passes; here
x is [N, D], ids [N, C], bags are entries and values between spans [N, B + 1]. In `model`:
targets [T, 4], emphasis [T], dense [T], tables [T, C], bags [T, B], sizes [C + B].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.losses import (
    HINGE,
    NUMBER,
    grow_frame,
    link,
    loss_and_slope,
    renew_frame,
)
from service.model.margins import grow_map
from service.model.steps import LARGEST_NORM, capped, clipped, count_step, is_small_step, squares_of
from service.model.strategies.bent import (
    emphasis_of,
    is_safe,
    is_served,
    rescale,
    shift,
    steady_of,
    step_one,
)
from service.model.strategies.safe import safe_slopes


@njit(nogil=True, cache=True, forceinline=True)
def outputs(theta, base, tables, bags, width, x, ids, spans, entries, values, out):
    """Write the outputs of one target for one row into out [width]; float64 sums. base: its bias;
    tables [C], bags [B]: of the target; x [D], ids [C], spans [B + 1]: of the row.

    It takes arrays, not tuples of them: reading one out of a tuple counts references, for each row.
    """
    for o in range(width):
        out[o] = theta[base + o]
    for j in range(x.shape[0]):
        value = x[j]
        if value != 0.0:
            at = base + (1 + j) * width
            for o in range(width):
                out[o] += value * theta[at + o]
    for c in range(ids.shape[0]):
        at = tables[c] + ids[c] * width
        for o in range(width):
            out[o] += theta[at + o]
    for b in range(bags.shape[0]):
        for e in range(spans[b], spans[b + 1]):
            at = bags[b] + entries[e] * width
            for o in range(width):
                out[o] += values[e] * theta[at + o]


@njit(nogil=True, cache=True)
def score(targets, dense, tables, bags, theta, frames, x, ids, spans, entries, values, scores):
    """Score N rows with the weights as they are. scores: float64 [N, O]."""
    out = np.empty(scores.shape[1])
    for r in range(x.shape[0]):
        for t in range(targets.shape[0]):
            start, width = targets[t, 1], targets[t, 2]
            outputs(
                theta, dense[t], tables[t], bags[t], width, x[r], ids[r], spans[r], entries,
                values, out,
            )  # fmt: skip
            link(targets[t, 0], width, frames[t], out, scores[r, start : start + width])


@njit(nogil=True, cache=True)
def _score_row(theta, model, frames, rows, r, out, scores):
    """Write the outputs [O] and the scores [O] of row r."""
    targets = model.targets
    for t in range(targets.shape[0]):
        start, width = targets[t, 1], targets[t, 2]
        o = out[start : start + width]
        outputs(
            theta, model.dense[t], model.tables[t], model.bags[t], width, rows.x[r], rows.ids[r],
            rows.spans[r], rows.entries, rows.values, o,
        )  # fmt: skip
        link(targets[t, 0], width, frames[t], o, scores[start : start + width])


@njit(nogil=True, cache=True)
def learn(model, moving, rows, weights, scores, losses, norms, applied):
    """Score, then learn, row after row.

    weights [N] (0: score only). Writes scores [N, O], losses [N, T] (NaN: missing), norms [N]
    (length of the applied gradient) and applied [N]: 1 learned, 0 only scored, 2 not finite
    (nothing was changed by that row), 3 learned with a shortened gradient.
    """
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    touched, frames, hyper, usual = moving.touched, moving.frames, moving.hyper, moving.usual
    strategy = moving.strategy
    steps, targets, dense, tables = moving.steps, model.targets, model.dense, model.tables
    x, ids, y, bags = rows.x, rows.ids, rows.y, model.bags
    spans, entries, values = rows.spans, rows.entries, rows.values
    out = np.empty(scores.shape[1])
    slope = np.empty(scores.shape[1])
    steady = np.empty(scores.shape[1]) if is_served(strategy) else out
    for r in range(x.shape[0]):
        squares = squares_of(rows, r)
        total, steep = 0.0, 0.0
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            o = out[start : start + width]
            outputs(
                theta, dense[t], tables[t], bags[t], width, x[r], ids[r], spans[r], entries,
                values, o,
            )  # fmt: skip
            s = scores[r, start : start + width]
            link(kind, width, frames[t], o, s)
            losses[r, t] = math.nan
            if not math.isnan(y[r, t]):
                d = slope[start : start + width]
                losses[r, t] = loss_and_slope(kind, width, frames[t], o, s, y[r, t], d)
                by = emphasis_of(model.emphasis, strategy, r, t)
                for k in range(width):
                    d[k] *= by
                    total += d[k] * d[k]
                if kind == NUMBER:
                    steep += d[0] * d[0]
            if not math.isfinite(s[0]):
                total = math.inf
        if is_served(strategy):
            _score_row(steady_of(strategy, theta), model, frames, rows, r, steady, scores[r])
        norm = math.sqrt(total * squares)
        norms[r] = 0.0
        applied[r] = 0
        if weights[r] <= 0.0:
            continue
        if not norm < LARGEST_NORM:
            applied[r] = 2
            continue
        factor = clipped(norm, weights[r], hyper)
        share = capped(math.sqrt(squares), steep, usual, hyper)
        applied[r] = 1
        if share < 1.0:
            moved = _moved_length(theta, model, rows, r)
            if not is_small_step(rule, norm * factor, moved, hyper):
                applied[r] = 3
                factor *= share
        norms[r] = norm * factor
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]):
                continue
            start, width = targets[t, 1], targets[t, 2]
            c1, c2 = count_step(rule, steps, t, hyper)
            base = dense[t]
            if is_safe(strategy):
                by = factor * emphasis_of(model.emphasis, strategy, r, t)
                wide = squares * hyper[0]
                o, d = out[start : start + width], slope[start : start + width]
                safe_slopes(targets[t, 0], width, o, y[r, t], frames[t], by, wide, d)
                for k in range(width):
                    d[k] /= factor
            for k in range(width):
                g = slope[start + k] * factor
                step_one(rule, theta, slot0, slot1, touched, base + k, g, hyper, c1, c2, strategy)
                for j in range(x.shape[1]):
                    at = base + (1 + j) * width + k
                    gx = g * x[r, j]
                    if gx != 0.0 or rule == 1 or rule == 3:
                        step_one(
                            rule, theta, slot0, slot1, touched, at, gx, hyper, c1, c2, strategy
                        )
                for c in range(ids.shape[1]):
                    at = tables[t, c] + ids[r, c] * width + k
                    step_one(rule, theta, slot0, slot1, touched, at, g, hyper, c1, c2, strategy)
                for b in range(bags.shape[1]):
                    for e in range(spans[r, b], spans[r, b + 1]):
                        at = bags[t, b] + entries[e] * width + k
                        gx = g * values[e]
                        if gx != 0.0 or rule == 1 or rule == 3:
                            step_one(
                                rule, theta, slot0, slot1, touched, at, gx, hyper, c1, c2, strategy
                            )
            if targets[t, 0] >= HINGE:
                s, o = scores[r, start : start + width], steady[start : start + width]
                grow_map(width, frames[t], o, s, y[r, t], weights[r])
            if targets[t, 3] and grow_frame(frames[t], y[r, t]):
                ratio, by = renew_frame(frames[t])
                dense_size = 1 + x.shape[1]
                rescale(rule, theta, slot0, slot1, touched, base, dense_size, ratio, strategy)
                n_tables = tables.shape[1]
                for c in range(model.sizes.shape[0]):
                    at = tables[t, c] if c < n_tables else bags[t, c - n_tables]
                    rescale(rule, theta, slot0, slot1, touched, at, model.sizes[c], ratio, strategy)
                shift(theta, base, by, strategy)


@njit(nogil=True, cache=True)
def _moved_length(theta, model, rows, r):
    """Return the length of the weights that a row moves: those of its labelled targets."""
    total = 0.0
    for t in range(model.targets.shape[0]):
        if math.isnan(rows.y[r, t]):
            continue
        width, base = model.targets[t, 2], model.dense[t]
        for k in range(width):
            total += theta[base + k] ** 2
            for j in range(rows.x.shape[1]):
                if rows.x[r, j] != 0.0:
                    total += theta[base + (1 + j) * width + k] ** 2
            for c in range(rows.ids.shape[1]):
                total += theta[model.tables[t, c] + rows.ids[r, c] * width + k] ** 2
            for b in range(model.bags.shape[1]):
                for e in range(rows.spans[r, b], rows.spans[r, b + 1]):
                    total += theta[model.bags[t, b] + rows.entries[e] * width + k] ** 2
    return math.sqrt(total)


@njit(nogil=True, cache=True)
def gradient(model, moving, rows, weights, grads, moved):
    """Add up the gradient of N rows at the weights as they are: grads [P]; moved [P] is set
    where a step would be taken (all dense weights of a labelled target, touched table rows)."""
    theta, frames, targets = moving.theta, moving.frames, model.targets
    strategy = moving.strategy
    x, ids, y = rows.x, rows.ids, rows.y
    out = np.empty(targets[:, 2].sum())
    scores = np.empty(targets[:, 2].sum())
    slope = np.empty(targets[:, 2].sum())
    for r in range(x.shape[0]):
        for t in range(targets.shape[0]):
            if math.isnan(y[r, t]) or weights[r] <= 0.0:
                continue
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            o, s = out[start : start + width], scores[start : start + width]
            outputs(
                theta, model.dense[t], model.tables[t], model.bags[t], width, x[r], ids[r],
                rows.spans[r], rows.entries, rows.values, o,
            )  # fmt: skip
            link(kind, width, frames[t], o, s)
            loss_and_slope(kind, width, frames[t], o, s, y[r, t], slope)
            base = model.dense[t]
            for k in range(width):
                g = slope[k] * emphasis_of(model.emphasis, strategy, r, t) * weights[r]
                grads[base + k] += g
                moved[base + k] = 1
                for j in range(x.shape[1]):
                    at = base + (1 + j) * width + k
                    grads[at] += g * x[r, j]
                    moved[at] = 1
                for c in range(ids.shape[1]):
                    at = model.tables[t, c] + ids[r, c] * width + k
                    grads[at] += g
                    moved[at] = 1
                for b in range(model.bags.shape[1]):
                    for e in range(rows.spans[r, b], rows.spans[r, b + 1]):
                        at = model.bags[t, b] + rows.entries[e] * width + k
                        grads[at] += g * rows.values[e]
                        moved[at] = 1
