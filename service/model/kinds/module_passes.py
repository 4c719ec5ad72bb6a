"""What happens around a user's module, compiled: scores, losses and slopes of its outputs, steps.

Arguments are those of compiled.Passes. A block is the rows of one step: all of them see the same
weights and frames.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.losses import NUMBER, grow_frame, link, loss_and_slope, renew_frame
from service.model.steps import LARGEST_NORM, grow_usual, share_of, squares_of
from service.model.strategies.bent import emphasis_of, rescale, shift, step_run
from service.model.strategies.safe import safe_slope


@njit(nogil=True, cache=True)
def link_all(targets, frames, outs, scores):
    """Write the scores of outputs: both float64 [N, O]."""
    for r in range(outs.shape[0]):
        for t in range(targets.shape[0]):
            start, width = targets[t, 1], targets[t, 2]
            link(
                targets[t, 0], width, frames[t], outs[r, start : start + width],
                scores[r, start : start + width],
            )  # fmt: skip


@njit(nogil=True, cache=True)
def judge(targets, frames, outs, y, scores, losses, sound):
    """Write scores [N, O], losses [N, T] (NaN: missing) and sound [N]: whether all is finite."""
    slope = np.empty(outs.shape[1])
    link_all(targets, frames, outs, scores)
    for r in range(outs.shape[0]):
        sound[r] = 1
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            s = scores[r, start : start + width]
            losses[r, t] = math.nan
            if not math.isnan(y[r, t]):
                o = outs[r, start : start + width]
                losses[r, t] = loss_and_slope(kind, width, frames[t], o, s, y[r, t], slope)
                if not math.isfinite(losses[r, t]):
                    sound[r] = 0
            for k in range(width):
                if not math.isfinite(s[k]):
                    sound[r] = 0


@njit(nogil=True, cache=True)
def slopes(targets, emphasis, moving, outs, rows, weights, shares, slope):
    """Write the slopes of the losses [N, O], weighted, and shares [N]: what the cap lets through.

    The cap compares the row's inputs and the slopes of its number targets with the usual, as
    everywhere; the usual is that before the block.
    """
    frames, usual, hyper = moving.frames, moving.usual, moving.hyper
    scores = np.empty(outs.shape[1])
    for r in range(outs.shape[0]):
        total, steep = 0.0, 0.0
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            o, d = outs[r, start : start + width], slope[r, start : start + width]
            d[:] = 0.0
            if math.isnan(rows.y[r, t]):
                continue
            s = scores[start : start + width]
            link(kind, width, frames[t], o, s)
            loss_and_slope(kind, width, frames[t], o, s, rows.y[r, t], d)
            for k in range(width):
                d[k] *= emphasis_of(emphasis, moving.strategy, r, t)
                total += d[k] * d[k]
            if kind == NUMBER:
                steep += d[0] * d[0]
        share = share_of(math.sqrt(squares_of(rows, r)), usual[:2], hyper)
        if steep > 0.0:
            share *= share_of(math.sqrt(steep), usual[2:], hyper)
        shares[r] = share
        for o in range(outs.shape[1]):
            slope[r, o] *= share * weights[r]
        if not total < LARGEST_NORM * LARGEST_NORM:
            slope[r, :] = math.inf


@njit(nogil=True, cache=True)
def safe_slopes(emphasis, kind, moving, outs, rows, weights, shares, reach, slope):
    """Write safe slopes [N, 1] over plain ones, where those are finite. kind: that of the one
    target; reach: [N], squared length of d output / d weights."""
    for r in range(outs.shape[0]):
        wide = moving.hyper[0] * reach[r]
        if math.isfinite(slope[r, 0]) and wide > 0.0 and not math.isnan(rows.y[r, 0]):
            by = weights[r] * shares[r] * emphasis_of(emphasis, moving.strategy, r, 0)
            y, frame = rows.y[r, 0], moving.frames[0]
            slope[r, 0] = safe_slope(kind, outs[r, 0], y, frame, by, wide)


@njit(nogil=True, cache=True)
def settle(targets, emphasis, model, moving, outs, rows):
    """After a step: take the rows that were learned into the usual lengths and the frames.

    model.places [O, 3]: where the weights of each output and its bias begin in theta (-1: not
    known), and how many weights it has. Where that is known, a frame that changes takes them along,
    so that predictions stay (PopArt); else a frame stops changing once 1,024 values were seen,
    unless it is off by a deviation or by half its size.
    """
    frames, usual = moving.frames, moving.usual
    slope, scores = np.empty(outs.shape[1]), np.empty(outs.shape[1])
    for r in range(outs.shape[0]):
        steep = 0.0
        for t in range(targets.shape[0]):
            kind, start, width = targets[t, 0], targets[t, 1], targets[t, 2]
            if kind != NUMBER or math.isnan(rows.y[r, t]):
                continue
            o, s = outs[r, start : start + width], scores[start : start + width]
            link(kind, width, frames[t], o, s)
            d = slope[start : start + width]
            loss_and_slope(kind, width, frames[t], o, s, rows.y[r, t], d)
            steep += (d[0] * emphasis_of(emphasis, moving.strategy, r, t)) ** 2
        if steep > 0.0:
            grow_usual(math.sqrt(steep), usual[2:])
        grow_usual(math.sqrt(squares_of(rows, r)), usual[:2])
    for r in range(outs.shape[0]):
        for t in range(targets.shape[0]):
            if not targets[t, 3] or math.isnan(rows.y[r, t]):
                continue
            if grow_frame(frames[t], rows.y[r, t]):
                _renew(frames[t], model.places[targets[t, 1]], moving)


@njit(nogil=True, cache=True)
def _renew(frame, head, moving):
    if head[0] < 0:
        off = abs(frame[1] - frame[3])
        ratio = math.sqrt(frame[2]) / frame[4] if frame[4] > 0.0 else 0.0
        if frame[0] <= 1024.0 or off > frame[4] or ratio < 0.5 or ratio > 2.0:
            renew_frame(frame)
        return
    ratio, by = renew_frame(frame)
    strategy = moving.strategy
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    rescale(rule, theta, slot0, slot1, moving.touched, head[0], head[2], ratio, strategy)
    rescale(rule, theta, slot0, slot1, moving.touched, head[1], 1, ratio, strategy)
    shift(theta, head[1], by, strategy)


@njit(nogil=True, cache=True)
def step_rows(moving, first, ids, grads, factor):
    """Step rows `ids` [K] of the parameter that begins at `first`, by factor * grads [K, width]."""
    hyper = moving.hyper
    count = max(moving.steps[-1], 1)
    c1, c2 = 1.0 - hyper[2] ** count, 1.0 - hyper[3] ** count
    for k in range(ids.shape[0]):
        step_run(
            moving.rule, moving.theta, moving.slot0, moving.slot1, moving.touched,
            first + ids[k] * grads.shape[1], grads[k], factor, hyper, c1, c2, moving.strategy,
        )  # fmt: skip


@njit(nogil=True, cache=True)
def add_rows(first, ids, grads, values, moved):
    """Add grads [K, width] of rows `ids` of the parameter at `first` to values [P]; set moved."""
    width = grads.shape[1]
    for k in range(ids.shape[0]):
        at = first + ids[k] * width
        for i in range(width):
            values[at + i] += grads[k, i]
            moved[at + i] = 1
