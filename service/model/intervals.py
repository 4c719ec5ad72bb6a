"""How far off a number usually is: intervals that hold as many labels as they promise.

Conformal prediction on a stream: a label lies within q times the usual error of its prediction, where
q is a quantile of the last 512 errors, each measured in what was usual before it. Which quantile
follows what happened: each label outside widens the next interval a little, each inside narrows it
(adaptive conformal inference, Gibbs and Candes 2021), so that in the long run the promised share
lies inside, whatever the stream does.

All of it is one float64 vector [SIZE] per number target inside the state: what a prediction reads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.99])
"""Shares of labels for which the quantile is followed; others lie between."""
KEPT = 512
USUAL = 1.0 / 256.0
"""Slowest rate at which the usual error follows."""
STEP = 0.005
"""How far one label moves the quantile."""
FEWEST = 32
"""Labels before there are intervals."""
_LEVELS = 2 * KEPT + 3
SIZE = _LEVELS + len(LEVELS)


def update(state: NDArray[np.float64], scores: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Take N predictions [N] and what came [N] (NaN: no label), in order."""
    _update(state, scores, y)


def half_width(state: NDArray[np.float64], level: float) -> float | None:
    """Return how far from a prediction its label lies with probability `level` (0 < level < 1), in
    the target's units; None where too little is known."""
    n, usual = int(state[2 * KEPT]), state[2 * KEPT + 2]
    if n < FEWEST:
        return None
    moved = np.interp(level, LEVELS, state[_LEVELS:])
    quantile = float(_quantile(state, level + float(moved)))
    return quantile * float(usual)


@njit(nogil=True, cache=True, error_model="numpy")
def _quantile(state, share):
    """Return the quantile of the kept errors; beyond the largest it goes on in a straight line."""
    n = min(int(state[2 * KEPT]), KEPT)
    ordered = state[KEPT : KEPT + n]
    place = share * (n + 1) - 1.0
    if place <= 0.0:
        return ordered[0] * max(share, 0.0) * (n + 1)
    if place >= n - 1:
        return ordered[n - 1] * (1.0 + max(share - n / (n + 1.0), 0.0) * 20.0)
    low = int(place)
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


@njit(nogil=True, cache=True, error_model="numpy")
def _update(state, scores, y):
    for r in range(y.shape[0]):
        if math.isnan(y[r]) or not math.isfinite(scores[r]):
            continue
        error = abs(y[r] - scores[r])
        usual, seen = state[2 * KEPT + 2], state[2 * KEPT]
        if seen >= FEWEST and usual > 0.0:
            for g in range(LEVELS.shape[0]):
                inside = error <= _quantile(state, LEVELS[g] + state[_LEVELS + g]) * usual
                state[_LEVELS + g] += STEP * (LEVELS[g] - (1.0 if inside else 0.0))
                state[_LEVELS + g] = min(max(state[_LEVELS + g], -LEVELS[g]), 1.0)
        if usual > 0.0:
            _keep(state, error / usual)
        state[2 * KEPT + 1] += 1.0
        rate = max(1.0 / state[2 * KEPT + 1], USUAL)
        state[2 * KEPT + 2] += rate * (error - usual)


@njit(nogil=True, cache=True, error_model="numpy")
def _keep(state, value):
    """Put an error into the ring, in the place of the oldest, and into the sorted ones."""
    seen = int(state[2 * KEPT])
    n, slot = min(seen, KEPT), seen % KEPT
    ordered = state[KEPT : 2 * KEPT]
    if n == KEPT:
        i = np.searchsorted(ordered, state[slot])
        while i < n - 1 and ordered[i + 1] <= value:
            ordered[i] = ordered[i + 1]
            i += 1
    else:
        i = n
    while i > 0 and ordered[i - 1] > value:
        ordered[i] = ordered[i - 1]
        i -= 1
    ordered[i] = value
    state[slot] = value
    state[2 * KEPT] = seen + 1.0
