"""What kinds/mixture.py does row by row, compiled: which rows are sound, frames of targets, losses."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.losses import BINARY, MULTICLASS, NUMBER, grow_frame, renew_frame
from service.model.steps import LARGEST_NORM

TINY = 1e-15
OFTEN = 8.0
"""Labels that lie on the lowest or highest one, from which on that is a border and no accident."""


@njit(nogil=True, cache=True)
def sound(targets, x, y):
    """Return [N]: whether all that a row would teach is finite and of a size that can be squared."""
    found = np.ones(x.shape[0], dtype=np.bool_)
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            if not abs(x[r, j]) < LARGEST_NORM:
                found[r] = False
        for t in range(targets.shape[0]):
            if targets[t, 0] == NUMBER and not (math.isnan(y[r, t]) or abs(y[r, t]) < LARGEST_NORM):
                found[r] = False
    return found


@njit(nogil=True, cache=True)
def until_renewal(frame, moves, y, weights):
    """Return how many rows there are up to the one after which the frame is due, or all."""
    if moves == 0:
        return y.shape[0]
    trial = frame.copy()
    for r in range(y.shape[0]):
        if weights[r] > 0.0 and not math.isnan(y[r]) and grow_frame(trial, y[r]):
            return r + 1
    return y.shape[0]


@njit(nogil=True, cache=True)
def grow(frame, moves, y, learn):
    """Take the labels of learned rows into a frame; where it is due, put it into use. Return ratio
    and shift (what was y in the old frame is ratio * y + shift), and whether it was."""
    due = False
    if moves != 0:
        for r in range(y.shape[0]):
            if learn[r] and not math.isnan(y[r]):
                due = grow_frame(frame, y[r]) or due
    if not due:
        return 1.0, 0.0, False
    ratio, shift = renew_frame(frame)
    return ratio, shift, True


@njit(nogil=True, cache=True)
def within(y, learn, ends, scores):
    """Keep scores [N, 1] of a number within the labels before each row, at an end on which many of
    them lie: nothing says then that there is anything beyond. ends: [4] the lowest label, how many
    there were of it, the highest one, how many."""
    for r in range(y.shape[0]):
        if ends[1] >= OFTEN:
            scores[r, 0] = max(scores[r, 0], ends[0])
        if ends[3] >= OFTEN:
            scores[r, 0] = min(scores[r, 0], ends[2])
        if not learn[r] or math.isnan(y[r]):
            continue
        if ends[1] == 0.0 or y[r] < ends[0]:
            ends[0], ends[1] = y[r], 0.0
        if ends[3] == 0.0 or y[r] > ends[2]:
            ends[2], ends[3] = y[r], 0.0
        ends[1] += y[r] == ends[0]
        ends[3] += y[r] == ends[2]


@njit(nogil=True, cache=True)
def losses(kind, y, scores, frame, learn, t, into, norms):
    """Write the loss of each row into column t of into [N, T] (NaN: no
    label), and add to the lengths of the slopes."""
    for r in range(y.shape[0]):
        into[r, t] = math.nan
        if math.isnan(y[r]):
            continue
        square = 0.0
        if kind == BINARY:
            p = min(max(scores[r, 0], TINY), 1.0 - TINY)
            into[r, t] = -math.log(p) if y[r] > 0.5 else -math.log(1.0 - p)
            square = (scores[r, 0] - y[r]) ** 2
        elif kind == MULTICLASS:
            into[r, t] = -math.log(max(scores[r, int(y[r])], TINY))
            for c in range(scores.shape[1]):
                square += (scores[r, c] - (1.0 if c == int(y[r]) else 0.0)) ** 2
        else:
            into[r, t] = (scores[r, 0] - y[r]) ** 2
            if frame[4] > 0.0:
                square = into[r, t] / (frame[4] * frame[4])
        if learn[r]:
            norms[r] = math.sqrt(norms[r] * norms[r] + square)
