"""How far off a number usually is: intervals that hold as many labels as they promise.

Conformal prediction on a stream: a label lies within q times the usual error of its prediction, where
q is a quantile of the last 512 errors, each measured in what was usual before it. Which quantile
follows what happened: each label outside widens the next interval a little, each inside narrows it
(adaptive conformal inference, Gibbs and Candes 2021), so that in the long run the promised share
lies inside, whatever the stream does.

All of it is one float64 vector [SIZE] per number target inside the state: what a prediction reads,
and how many of the last labels lay inside what was told before each.
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
"""Errors before there are intervals."""
LARGEST = 1e100
"""An error is never kept as more than so many times the usual one."""
FADE = 0.001
"""Slowest rate at which the share of labels inside follows, as in prequential.py."""
_SEEN, _LABELS, _USUAL = 2 * KEPT, 2 * KEPT + 1, 2 * KEPT + 2
_LEVELS = 2 * KEPT + 3
_TOLD = _LEVELS + len(LEVELS)
_INSIDE = _TOLD + 1
SIZE = _INSIDE + len(LEVELS)
"""The last errors in the order they came [KEPT] and sorted [KEPT], each over what was usual; how many
there were; labels, their usual error; how far each level's quantile is moved; labels with an interval
before them, and the share of them inside, by level."""


def update(state: NDArray[np.float64], scores: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Take N predictions [N] and what came [N] (NaN: no label), in order."""
    _update(state, scores, y)


def half_width(state: NDArray[np.float64], level: float) -> float | None:
    """Return how far from a prediction its label lies with probability `level` (0 < level < 1), in
    the target's units; None where too little is known."""
    if int(state[_SEEN]) < FEWEST:
        return None
    shares = np.maximum.accumulate(LEVELS + state[_LEVELS:_TOLD])
    moved = float(np.interp(level, LEVELS, shares - LEVELS))
    half = quantile(state, level + moved) * float(state[_USUAL])
    return half if math.isfinite(half) else None


def coverage(state: NDArray[np.float64]) -> dict[str, float | None]:
    """Return {level: share of labels that lay inside the interval told before each}, of the last
    1,000 or so; None before there was any."""
    known = state[_TOLD] > 0.0
    shares = state[_INSIDE:].tolist()
    return {
        f"{level:g}": share if known else None
        for level, share in zip(LEVELS.tolist(), shares, strict=True)
    }


def report(state: NDArray[np.float64] | None) -> dict[str, dict[str, float | None]]:
    """Return what a target's report says of intervals: {"intervals": coverage}; nothing where the
    target is no number."""
    return {} if state is None else {"intervals": coverage(state)}


def quantile(state: NDArray[np.float64], share: float) -> float:
    """Return the quantile of the kept errors; beyond the largest it goes on in a straight line.
    There must be one. Plain, so that an API has nothing to compile; the pass has it compiled."""
    n = min(int(state[_SEEN]), KEPT)
    ordered = state[KEPT : KEPT + n]
    place = share * (n + 1) - 1.0
    if place <= 0.0:
        return float(ordered[0] * max(share, 0.0) * (n + 1))
    if place >= n - 1:
        return float(ordered[n - 1] * (1.0 + max(share - n / (n + 1.0), 0.0) * 20.0))
    low = int(place)
    return float(ordered[low] + (place - low) * (ordered[low + 1] - ordered[low]))


_quantile = njit(nogil=True, cache=True, error_model="numpy")(quantile)


@njit(nogil=True, cache=True, error_model="numpy")
def _update(state, scores, y):
    for r in range(y.shape[0]):
        error = abs(y[r] - scores[r])
        if not math.isfinite(error):
            continue
        usual = state[_USUAL]
        if state[_SEEN] >= FEWEST:
            _judge(state, error, usual)
        if usual > 0.0:
            _keep(state, min(error / usual, LARGEST))
        state[_LABELS] += 1.0
        state[_USUAL] += max(1.0 / state[_LABELS], USUAL) * (error - usual)


@njit(nogil=True, cache=True, error_model="numpy")
def _judge(state, error, usual):
    """See whether a label lies inside each interval, and move the quantiles."""
    state[_TOLD] += 1.0
    rate = max(1.0 / state[_TOLD], FADE)
    widest = 0.0
    for g in range(LEVELS.shape[0]):
        at, level = _LEVELS + g, LEVELS[g]
        half = _quantile(state, level + state[at]) * usual
        widest = max(widest, half)  # what is told of a level is no narrower than of one below it
        state[_INSIDE + g] += rate * ((1.0 if error <= widest else 0.0) - state[_INSIDE + g])
        state[at] += STEP * (level - (1.0 if error <= half else 0.0))
        state[at] = min(max(state[at], -level), 1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _keep(state, value):
    """Put an error into the ring, in the place of the oldest, and into the sorted ones."""
    seen = int(state[_SEEN])
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
    state[_SEEN] = seen + 1.0
