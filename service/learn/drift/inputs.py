"""How far each field has moved from its reference window, before any label comes; compiled.

Reference: the first `reference` events. Recent: all events after them, fading with 0.999 per event.
Population stability index: sum over bins of (r - q) ln(r / q), q and r the shares of present values
in the reference and now. Bins of a number lie between ten-quantiles of 256 values taken evenly
from it. Bins of a category are 32 classes of its hash. A category is unseen where the reference did not have it (a Bloom filter of 16,384 bits
with two places each); beside it stands how many were new in the last quarter of the reference.

A field's float64 vector begins with: events, present values sampled, missing in the reference,
present values counted in it, gain of the fading window, its weight, its missing weight; then for each
of missing, psi and unseen: whether it is beyond its limit, and alarms so far; its unseen weight;
new in the last quarter; events of that quarter with a value; events of the reference, as the
settings had it when it began.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.compiling import strict_piece
from service.model.drift_tensors import CLASSES, FIELD_HEAD, SAMPLE

MEASURES = ("missing", "psi", "unseen")
ALARMS = 8
"""Where the alarms of the first measure stand; those of the next two places on."""
BINS = 10
FADE = 0.999
GRACE = 1000
"""Events after the reference before anything is said about the recent ones."""
EVERY = 128
"""Events between two looks."""
_LENGTH = 16
_EDGES = FIELD_HEAD
_REFERENCE = FIELD_HEAD + BINS - 1
_RECENT = _REFERENCE + BINS
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def take_numbers(numbers, states, limits, fired):
    """Take N events. numbers [N, F], NaN is missing; states [F, NUMBER]; limits, float64 [4]:
    events of the reference, then what each measure may be; fired, int64 [F, 3]: alarms are
    added."""
    for f in range(numbers.shape[1]):
        state = states[f]
        reference = _length(state, limits)
        apart = max(1, reference // SAMPLE)
        for r in range(numbers.shape[0]):
            value, at = numbers[r, f], int(state[0])
            missing = math.isnan(value)
            if at == reference:
                _make_bins(state)
            if at < reference:
                if missing:
                    state[2] += 1.0
                elif at % apart == 0 and state[1] < SAMPLE:
                    state[FIELD_HEAD + int(state[1])] = value
                    state[1] += 1.0
            else:
                _fade(state, _RECENT, BINS)
                if missing:
                    state[6] += state[4]
                else:
                    state[_RECENT + _bin(state, value)] += state[4]
            state[0] += 1.0
            if at >= reference + GRACE and at % EVERY == 0:
                _look(state, fired[f], limits, np.bool_(False))


@njit(nogil=True, cache=True)
def take_codes(codes, states, seen, limits, fired):
    """Take N events. codes uint64 [N, F], 0 is missing; states [F, CATEGORY]; seen int64
    [F, words]; the rest as for numbers."""
    for f in range(codes.shape[1]):
        state = states[f]
        reference = _length(state, limits)
        last = reference - reference // 4
        for r in range(codes.shape[0]):
            at = int(state[0])
            mixed = (codes[r, f] ^ (codes[r, f] >> np.uint64(29))) * _MIX
            place = FIELD_HEAD + int(mixed >> np.uint64(59))
            missing = codes[r, f] == 0
            if at < reference:
                if missing:
                    state[2] += 1.0
                else:
                    known = _is_seen(seen[f], mixed, True)
                    state[place] += 1.0
                    state[3] += 1.0
                    if at >= last:
                        state[15] += 1.0
                        state[14] += 0.0 if known else 1.0
            else:
                _fade(state, FIELD_HEAD + CLASSES, CLASSES)
                if missing:
                    state[6] += state[4]
                else:
                    state[place + CLASSES] += state[4]
                    state[13] += 0.0 if _is_seen(seen[f], mixed, False) else state[4]
            state[0] += 1.0
            if at >= reference + GRACE and at % EVERY == 0:
                _look(state, fired[f], limits, np.bool_(True))


def measured(state: NDArray[np.generic], *, coded: bool) -> dict[str, float] | None:
    """Return what each measure stands at, of one field's vector; None before there is enough."""
    if state[0] == 0 or state[0] < state[_LENGTH] + GRACE:
        return None
    out = np.empty(5)
    figures(state, coded, out)
    found = {"missing": float(out[1] - out[0]), "psi": float(out[2])}
    return found | ({"unseen": float(out[4] - out[3])} if coded else {})


@njit(nogil=True, cache=True)
def figures(state, coded, out):
    """Call _figures."""
    _figures(state, coded, out)


@strict_piece
def _figures(state, coded, out):
    """Write into out [5]: share missing in the reference and now, psi, share unseen in the last
    quarter of the reference and now. Needs recent events."""
    bins = CLASSES if coded else BINS
    first = FIELD_HEAD if coded else _REFERENCE
    out[0] = state[2] / state[_LENGTH]
    out[1] = state[6] / state[5]
    present = state[5] - state[6]
    out[2] = 0.0
    if state[3] > 0.0 and present > 1e-9 * state[5]:
        # shares of the recent ones are smoothed as if 1,000 had been counted
        for b in range(bins):
            q = (state[first + b] + 0.5) / (state[3] + 0.5 * bins)
            p = (1000.0 * state[first + bins + b] / present + 0.5) / (1000.0 + 0.5 * bins)
            out[2] += (p - q) * math.log(p / q)
    out[3] = 0.0
    out[4] = 0.0
    if coded:
        out[3] = state[14] / max(state[15], 1.0)
        if present > 1e-9 * state[5]:
            out[4] = state[13] / present


def begin_again(states: NDArray[np.generic]) -> None:
    """Have the reference of all fields [F, ...] begin with the next event; counts of alarms stay."""
    kept = states[:, ALARMS : ALARMS + 5 : 2].copy()
    states[:] = 0
    states[:, ALARMS : ALARMS + 5 : 2] = kept


@strict_piece
def _length(state, limits):
    """Return how long the reference is: what the settings said when it began."""
    if state[0] == 0.0:
        state[_LENGTH] = limits[0]
    return int(state[_LENGTH])


@strict_piece
def _look(state, fired, limits, coded):
    """Compare with the limits: an alarm where a measure goes beyond its own, again only after it
    was below half of it."""
    out = np.empty(5)
    _figures(state, coded, out)
    for m in range(3):
        figure = abs(out[1] - out[0]) if m == 0 else (out[2] if m == 1 else out[4] - out[3])
        beyond, alarms = 7 + 2 * m, 8 + 2 * m
        if figure > limits[1 + m] and state[beyond] == 0.0:
            state[beyond] = 1.0
            state[alarms] += 1.0
            fired[m] += 1
        elif figure < limits[1 + m] / 2.0:
            state[beyond] = 0.0


@strict_piece
def _fade(state, recent, bins):
    """One more recent event: it counts with a growing gain, so that what came before fades."""
    if state[4] == 0.0:
        state[4] = 1.0
    state[4] /= FADE
    if state[4] > 1e9:
        for i in range(recent, recent + bins):
            state[i] /= state[4]
        for i in (5, 6, 13):
            state[i] /= state[4]
        state[4] = 1.0
    state[5] += state[4]


@strict_piece
def _make_bins(state):
    """Put the ten-quantiles of the sample in its place, and how much of it lies between them."""
    n = int(state[1])
    sample = np.sort(state[FIELD_HEAD : FIELD_HEAD + n])
    for i in range(SAMPLE):
        state[FIELD_HEAD + i] = 0.0
    for i in range(BINS - 1):
        if n > 0:
            state[_EDGES + i] = sample[(i + 1) * n // BINS]
    for i in range(n):
        state[_REFERENCE + _bin(state, sample[i])] += 1.0
    state[3] = n


@strict_piece
def _bin(state, value):
    place = 0
    for i in range(BINS - 1):
        if value > state[_EDGES + i]:
            place += 1
    return place


@strict_piece
def _is_seen(words, mixed, remember):
    """Whether both places of a code are set; sets them with `remember`."""
    bits = np.uint64(words.shape[0] * 64 - 1)
    known = True
    for shift in (np.uint64(8), np.uint64(34)):
        place = (mixed >> shift) & bits
        word, bit = int(place >> np.uint64(6)), np.int64(1) << np.int64(place & np.uint64(63))
        if words[word] & bit == 0:
            known = False
            if remember:
                words[word] |= bit
    return known
