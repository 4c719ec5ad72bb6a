"""How dense values become inputs of about unit variance, compiled. Knows no model.

Every value is scaled by what came before it, then moves the figures that scale it, where the row
is learned. Figures of a value, `normaliser`, float64 [3]: count, running mean, running variance.

`quantile` and `fit` keep, beside it, float64 [QUANTILES]: values seen, choice, the last RING
values, and KNOTS quantiles of them. The knots are renewed after counts that are fixed, so nothing
depends on how rows are cut; later ones move them by a share, so that they remember some thousand
values, or all the way where values have moved. A value's input is its rank among the knots, spread to variance 1. `fit` decides after RING
values, once and for all: auto where their tails are light; log where they are positive and their
logarithms have light tails; else quantile.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.compiling import strict_piece
from service.model.losses import FORGET

CLIP = 8.0
NONE, AUTO, LOG, QUANTILE, FIT, UNIT = 0, 1, 2, 3, 4, 5
MODES = {
    "none": NONE,
    "auto": AUTO,
    "log": LOG,
    "quantile": QUANTILE,
    "fit": FIT,
    "unit": UNIT,
}
RING = 512
KNOTS = 65
_COUNT, _CHOICE, _HEAD = 0, 1, 2
QUANTILES = _HEAD + RING + KNOTS
"""Numbers that a value of scale quantile or fit keeps."""
_SLOWEST = 1.0 / 8.0
"""Least share by which RING new values move the knots."""
_FAR = 0.12
"""Knots of which one is off by more than this share of the ranks are renewed at once: chance alone
does not move those of RING values so far."""
_MOST_SKEW, _MOST_KURTOSIS = 2.0, 6.0
"""Tails are light up to these: an exponential distribution has just them."""


@njit(nogil=True, cache=True, inline="always")
def deviations(value, figures, j):
    """Return how many deviations a value lies from the mean in figures [j], at most CLIP; 0 before
    there is a deviation."""
    variance = figures[j, 2]
    if variance > 0.0:
        return min(max((value - figures[j, 1]) / math.sqrt(variance), -CLIP), CLIP)
    return 0.0


@njit(nogil=True, cache=True, inline="always")
def grow(value, figures, j):
    """Move figures [j] by a value; by at most 32 deviations once 100 were seen."""
    count, mean, variance = figures[j, 0], figures[j, 1], figures[j, 2]
    if count >= 100.0 and variance > 0.0:
        reach = 32.0 * math.sqrt(variance)
        value = min(max(value, mean - reach), mean + reach)
    rate = max(1.0 / (count + 1.0), FORGET)
    delta = value - mean
    figures[j, 0] = count + 1.0
    figures[j, 1] = mean + rate * delta
    figures[j, 2] = (1.0 - rate) * (variance + rate * delta * delta)


@njit(nogil=True, cache=True)
def numbers(values, normaliser, quantiles, modes, kept, watched, learn, x, z):
    """Write the inputs of number fields: x[r, 2 j] and the unknown flag x[r, 2 j + 1].

    values [N, >= J]; modes [J]; kept [J]: row of `quantiles`, or -1; watched [J]: column of z that
    gets the deviations of field j (NaN: missing), or -1. Rows with `learn` set move the figures.
    """
    for r in range(values.shape[0]):
        for j in range(modes.shape[0]):
            value = values[r, j]
            if math.isnan(value):
                x[r, 2 * j] = 0.0
                x[r, 2 * j + 1] = 1.0
                if watched[j] >= 0:
                    z[r, watched[j]] = math.nan
                continue
            x[r, 2 * j + 1] = 0.0
            mode = modes[j]
            if mode == AUTO and watched[j] < 0:  # most are: the short way
                x[r, 2 * j] = deviations(value, normaliser, j)
                if learn[r]:
                    grow(value, normaliser, j)
                continue
            if mode == NONE:
                x[r, 2 * j] = value
                if watched[j] < 0:
                    continue
            raw = value
            if mode == FIT:
                chosen = int(quantiles[kept[j], _CHOICE])
                mode = AUTO if chosen == 0 else chosen
            if mode == LOG:
                value = math.copysign(math.log1p(abs(value)), value)
            if mode == QUANTILE:
                found = _rank(quantiles[kept[j]], value)
            else:
                found = deviations(value, normaliser, j)
                if learn[r]:
                    grow(value, normaliser, j)
            if mode != NONE:
                x[r, 2 * j] = found
            if watched[j] >= 0:
                z[r, watched[j]] = found
            if learn[r] and kept[j] >= 0:
                _take(quantiles[kept[j]], modes[j] == FIT, raw, normaliser, j)


@njit(nogil=True, cache=True)
def blocks(values, normaliser, places, modes, learn, x):
    """Write the inputs of other dense blocks. places [K, 3]: first column of values, first column
    of x, width. A block of which any value is missing is missing: zeros, and its flag set."""
    for r in range(values.shape[0]):
        for k in range(places.shape[0]):
            at, start, width = places[k, 0], places[k, 1], places[k, 2]
            missing = False
            squares = 0.0
            for i in range(width):
                missing = missing or math.isnan(values[r, at + i])
                squares += values[r, at + i] ** 2
            x[r, start + width] = 1.0 if missing else 0.0
            size = math.sqrt(squares) if modes[k] == UNIT and squares > 0.0 else 1.0
            for i in range(width):
                value = values[r, at + i]
                if missing:
                    x[r, start + i] = 0.0
                elif modes[k] == AUTO:
                    x[r, start + i] = deviations(value, normaliser, at + i)
                    if learn[r]:
                        grow(value, normaliser, at + i)
                else:
                    x[r, start + i] = value / size


@strict_piece
def _rank(state, value):
    """Return the rank of a value among the knots, from 0 to 1, as a deviation; among equal knots
    the middle one counts."""
    if state[_COUNT] < 2.0:
        return 0.0
    first, last = _places(state[_HEAD + RING :], value)
    return (0.5 * (first + last) / (KNOTS - 1) - 0.5) * math.sqrt(12.0)


@strict_piece
def _places(knots, value):
    """Return the first and last place of a value among the knots, from 0 to KNOTS - 1: between two
    knots one place, among equal ones those of all."""
    low, high = np.searchsorted(knots, value), np.searchsorted(knots, value, side="right")
    if high > low:
        return float(low), float(high - 1)
    if low == 0 or low == KNOTS:
        place = 0.0 if low == 0 else KNOTS - 1.0
    else:
        below, above = knots[low - 1], knots[low]
        place = low - 1 + (value - below) / (above - below)
    return place, place


@strict_piece
def _take(state, fits, value, figures, j):
    """Take a value into the ring; renew the knots, or choose, when it is time."""
    if fits and state[_CHOICE] != 0.0 and state[_CHOICE] != QUANTILE:
        return  # it has chosen, and needs no ring
    count = int(state[_COUNT])
    state[_HEAD + count % RING] = value
    count += 1
    state[_COUNT] = count
    if fits and state[_CHOICE] == 0.0:
        if count < RING:
            return
        ring = state[_HEAD : _HEAD + RING]
        state[_CHOICE] = _choice(ring)
        if state[_CHOICE] == LOG:
            figures[j] = 0.0
            for i in range(RING):
                grow(math.copysign(math.log1p(abs(ring[i])), ring[i]), figures, j)
    renewed = count % RING == 0 or (1 < count < RING and count & (count - 1) == 0)
    if renewed and (not fits or state[_CHOICE] == QUANTILE):
        _renew(state, count)


@strict_piece
def _renew(state, count):
    """Move the knots towards the quantiles of the ring; all the way where they are far off."""
    held = min(count, RING)
    ordered = np.sort(state[_HEAD : _HEAD + held])
    found = np.empty(KNOTS)
    knots = state[_HEAD + RING :]
    farthest = 0.0
    for k in range(KNOTS):
        place = k * (held - 1) / (KNOTS - 1)
        low = int(place)
        high = min(low + 1, held - 1)
        found[k] = ordered[low] + (place - low) * (ordered[high] - ordered[low])
        first, last = _places(knots, found[k])
        farthest = max(farthest, first - k, k - last)
    rate = max(min(RING / count, 1.0), _SLOWEST)
    if farthest > _FAR * (KNOTS - 1):
        rate = 1.0
    for k in range(KNOTS):
        knots[k] += rate * (found[k] - knots[k])


@strict_piece
def _choice(ring):
    """Return AUTO, LOG or QUANTILE, whichever suits these values."""
    if _is_light(ring):
        return AUTO
    if ring.min() >= 0.0 and _is_light(np.log1p(ring)):
        return LOG
    return QUANTILE


@strict_piece
def _is_light(values):
    """Whether the tails of some values are light, by skewness and excess kurtosis."""
    largest = np.abs(values).max()
    if largest == 0.0:
        return True
    scaled = values / largest  # fourth powers stay in range
    centred = scaled - scaled.mean()
    variance = (centred**2).mean()
    if variance == 0.0:
        return True
    skew = (centred**3).mean() / variance**1.5
    kurtosis = (centred**4).mean() / variance**2 - 3.0
    return abs(skew) <= _MOST_SKEW and kurtosis <= _MOST_KURTOSIS
