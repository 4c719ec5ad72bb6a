"""Links, losses and their slopes for one target of one row, compiled. Knows no model.

binary: sigmoid and log loss; multiclass: softmax and log loss; number: identity and squared
error (p - y)^2 (torch's MSELoss), in the frame of the target. Losses are in the target's own
units; slopes are d loss / d output in the frame. hinge and hinges: the margins of a support vector
machine for two and for more classes; their slopes are those of the hinge, their scores and losses
those of calibrated probabilities (margins.py).

frame, float64 [5] per target: count, running mean, running variance, and the frame in use:
centre m and scale s; a prediction is m + s * output. A standardised target starts with s = 0
and teaches nothing until two values differ: steps in no unit could be of any size. Of a hinge, m
and s are the map from margin to logit.
"""

from __future__ import annotations

import math

from numba import njit

from service.model.steps import LARGEST_NORM

BINARY, MULTICLASS, NUMBER, HINGE, HINGES = 0, 1, 2, 3, 4
KINDS = {"binary": BINARY, "multiclass": MULTICLASS, "number": NUMBER}
FORGET = 1.0 / 20000.0
"""Slowest rate of a running mean or variance: it forgets after about 20,000 values."""
FRAME_EVERY = 65536
"""Values between two renewals of a target's frame, once the powers of two are through."""


@njit(nogil=True, cache=True)
def link(kind, width, frame, out, score):
    """Write the scores of `out` [width] into `score` [width]: probability, -ies or value."""
    if kind in (BINARY, HINGE):
        z = out[0] if kind == BINARY else frame[3] + frame[4] * out[0]
        score[0] = 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))
    elif kind in (MULTICLASS, HINGES):
        sharp = 1.0 if kind == MULTICLASS else frame[4]
        top = out[0]
        for c in range(1, width):
            top = max(top, out[c])
        total = 0.0
        for c in range(width):
            score[c] = math.exp(sharp * (out[c] - top))
            total += score[c]
        for c in range(width):
            score[c] /= total
    else:
        score[0] = frame[3] + frame[4] * out[0]


@njit(nogil=True, cache=True)
def loss_and_slope(kind, width, frame, out, score, y, slope):
    """Return the loss and write d loss / d out into `slope` [width]."""
    if kind == BINARY:
        z = out[0]
        slope[0] = score[0] - y
        return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))
    if kind == MULTICLASS:
        label = int(y)
        top = out[0]
        for c in range(1, width):
            top = max(top, out[c])
        total = 0.0
        for c in range(width):
            total += math.exp(out[c] - top)
            slope[c] = score[c]
        slope[label] -= 1.0
        return math.log(total) + top - out[label]
    if kind == HINGE:
        sign = 2.0 * y - 1.0
        slope[0] = -sign if sign * out[0] < 1.0 else 0.0
        if not abs(out[0]) < LARGEST_NORM:
            slope[0] = math.nan
        z = frame[3] + frame[4] * out[0]
        return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))
    if kind == HINGES:
        return _hinges(width, frame, out, int(y), slope)
    slope[0] = 2.0 * (out[0] - (y - frame[3]) / frame[4]) if frame[4] > 0.0 else 0.0
    return (score[0] - y) ** 2


@njit(nogil=True, cache=True)
def _hinges(width, frame, out, label, slope):
    """loss_and_slope of max(0, 1 + best other output - output of the label) (Crammer, Singer
    2001)."""
    rival = 1 if label == 0 else 0
    for c in range(width):
        slope[c] = 0.0
        if c != label and out[c] > out[rival]:
            rival = c
    if not abs(out[label]) + abs(out[rival]) < LARGEST_NORM:
        slope[0] = math.nan
    elif out[label] - out[rival] < 1.0:
        slope[label], slope[rival] = -1.0, 1.0
    top = max(out[label], out[rival])
    total = 0.0
    for c in range(width):
        total += math.exp(frame[4] * (out[c] - top))
    return math.log(total) + frame[4] * (top - out[label])


@njit(nogil=True, cache=True)
def grow_frame(frame, y):
    """Take the value `y` into the running mean and variance; True when the frame is due.

    Due when the first spread is seen, at every power of two up to 65,536 values, then every
    65,536. After 100 values one value
    moves the running figures by at most 32 deviations, so a single outlier cannot ruin them.
    """
    frame[0] += 1.0
    n = frame[0]
    rate = max(1.0 / n, FORGET)
    if n > 100.0 and frame[2] > 0.0:
        reach = 32.0 * math.sqrt(frame[2])
        y = min(max(y, frame[1] - reach), frame[1] + reach)
    delta = y - frame[1]
    frame[1] += rate * delta
    frame[2] = (1.0 - rate) * (frame[2] + rate * delta * delta)
    count = int(n)
    if frame[4] == 0.0 and frame[2] > 0.0:
        return True
    return count % FRAME_EVERY == 0 or (count < FRAME_EVERY and count & (count - 1) == 0)


@njit(nogil=True, cache=True)
def renew_frame(frame):
    """Put the running figures into use; return (ratio, shift): weights that are multiplied by
    ratio, and a bias that is then moved by shift, predict as before (PopArt, van Hasselt et al.
    2016)."""
    old_m, old_s = frame[3], frame[4]
    s = math.sqrt(frame[2])
    if not s > 0.0:
        s = old_s
    frame[3] = frame[1]
    frame[4] = s
    if old_s > 0.0 and s > 0.0:
        return old_s / s, (old_m - frame[1]) / s
    return 1.0, 0.0
