"""From the margin of a support vector machine to a probability, learned online, compiled.

Two classes: sigmoid(a f + b) of the margin f (Platt 1999). More classes: softmax(a f), the map with
one temperature (Guo, Pleiss, Sun, Weinberger 2017). a stays above 0. Both follow the log loss of
each row, by the margin that was computed before the row was learned, in Newton's steps with running
mean curvatures. So they follow weights that move, and forget after about 1,000 rows. The margin is
that of the weights that are served: of the average, where predictions come from one.

The map lies in the target's frame (losses.py), float64 [5]: rows so far, running mean curvature
for b and for a, b, a. A fresh frame, b = 0 and a = 1, is the plain sigmoid or softmax.
"""

from __future__ import annotations

import math

from numba import njit

FORGET = 1.0 / 1000.0
"""Slowest rate of the map."""
WARY = 20.0
"""Rows that the first steps are as small as after."""
LONGEST = 0.1
"""Longest step of b and of log a for one row."""
FAR = 20.0
"""A margin farther out than this teaches the map no more than one that lies here."""
SMALLEST, LARGEST = 1e-3, 1e3
"""Bounds of a."""
_EPS = 1e-3


@njit(nogil=True, cache=True)
def grow_map(width, frame, out, score, y, weight):
    """Take the label y of one row into the map. out, score [width]: margins before the row was
    learned, and the probabilities they gave; weight: importance of the row."""
    frame[0] += 1.0
    rate = max(1.0 / frame[0], FORGET)
    step = min(weight, 1.0) * max(1.0 / (frame[0] + WARY), FORGET)
    a = frame[4]
    if width == 1:
        f = min(max(out[0], -FAR), FAR)
        error = score[0] - y
        bend = score[0] * (1.0 - score[0])
        frame[1] += rate * (bend - frame[1])
        frame[2] += rate * (bend * f * f - frame[2])
        frame[3] -= _bounded(step * error / (frame[1] + _EPS))
        slope = error * f
    else:
        label = int(y)
        mean, square = 0.0, 0.0
        for c in range(width):
            f = min(max(out[c] - out[label], -FAR), FAR)
            mean += score[c] * f
            square += score[c] * f * f
        frame[2] += rate * (square - mean * mean - frame[2])
        slope = mean
    move = _bounded(step * slope / (a * (frame[2] + _EPS)))
    frame[4] = min(max(a * math.exp(-move), SMALLEST), LARGEST)


@njit(nogil=True, cache=True, inline="always")
def _bounded(step):
    return min(max(step, -LONGEST), LONGEST)
