"""ADWIN: a window over losses that is cut where its older and newer part differ beyond chance.

Bifet & Gavalda, "Learning from Time-Changing Data with Adaptive Windowing" (SDM 2007). The window
is an exponential histogram. Every 32 losses each border between buckets is tried: with n0 older
losses of mean m0 and n1 newer ones of mean m1, 1/m = 1/n0 + 1/n1, there was a change where

    |m0 - m1| >= sqrt(2/m * variance * ln(2/d)) + 2/(3m) * reach * ln(2/d),  d = delta / ln(n0 + n1)

and the oldest bucket is dropped, until no border is left that shows one. `reach` is the largest
loss that can come: the paper's bound is for values in [0, 1].

One float64 vector: width, sum, sum of squared deviations, losses taken, highest level in use;
then the number of buckets of each level, their sums, and their sums of squared deviations.
Zeros are an empty window.
"""

from __future__ import annotations

import math

from service.model.compiling import strict_piece
from service.model.drift_tensors import ADWIN_HEAD, BUCKETS, LEVELS

EVERY = 32
SHORTEST = 5.0
"""Losses on each side of a border that is tried."""
_SUMS = ADWIN_HEAD + LEVELS
_SQUARES = _SUMS + LEVELS * (BUCKETS + 1)
_ROW = BUCKETS + 1


@strict_piece
def take(state, loss, delta, reach):
    """Take one loss. Returns 1 where losses rose, -1 where they fell, else 0."""
    _insert(state, loss)
    state[3] += 1.0
    if int(state[3]) % EVERY != 0 or state[0] < 2.0 * SHORTEST:
        return 0
    found = 0
    while True:
        sign = _border(state, delta, reach)
        if sign == 0:
            return found
        if found == 0:
            found = sign
        _drop_oldest(state)


@strict_piece
def _insert(state, loss):
    width = state[0]
    if width > 0.0:
        apart = loss - state[1] / width
        state[2] += width * apart * apart / (width + 1.0)
    state[0] = width + 1.0
    state[1] += loss
    at = int(state[ADWIN_HEAD])
    state[_SUMS + at] = loss
    state[_SQUARES + at] = 0.0
    state[ADWIN_HEAD] += 1.0
    level = 0
    while state[ADWIN_HEAD + level] > BUCKETS:
        if level == LEVELS - 1:
            state[4] = level
            _drop_oldest(state)
            return
        _merge_oldest(state, level)
        level += 1
        state[4] = max(state[4], level)


@strict_piece
def _merge_oldest(state, level):
    """Make the two oldest buckets of a level the newest one of the next."""
    n = 2.0**level
    sums, squares = _SUMS + level * _ROW, _SQUARES + level * _ROW
    apart = (state[sums] - state[sums + 1]) / n
    to = int(state[ADWIN_HEAD + level + 1])
    state[sums + _ROW + to] = state[sums] + state[sums + 1]
    state[squares + _ROW + to] = state[squares] + state[squares + 1] + n * apart * apart / 2.0
    state[ADWIN_HEAD + level + 1] += 1.0
    _shift(state, level, 2)


@strict_piece
def _shift(state, level, by):
    left = int(state[ADWIN_HEAD + level]) - by
    for start in (_SUMS + level * _ROW, _SQUARES + level * _ROW):
        for i in range(left):
            state[start + i] = state[start + i + by]
        for i in range(left, left + by):
            state[start + i] = 0.0
    state[ADWIN_HEAD + level] = left


@strict_piece
def _drop_oldest(state):
    level = int(state[4])
    n = 2.0**level
    total, squares = state[_SUMS + level * _ROW], state[_SQUARES + level * _ROW]
    state[0] -= n
    state[1] -= total
    if state[0] > 0.0:
        apart = total / n - state[1] / state[0]
        squares += n * state[0] * apart * apart / (n + state[0])
    state[2] = max(state[2] - squares, 0.0)
    _shift(state, level, 1)
    while level > 0 and state[ADWIN_HEAD + level] == 0.0:
        level -= 1
    state[4] = level


@strict_piece
def _border(state, delta, reach):
    """Return 1 or -1 where some border shows a rise or a fall, oldest first; else 0."""
    width = state[0]
    if width < 2.0 * SHORTEST:
        return 0
    variance = state[2] / width
    rarity = math.log(2.0 * math.log(width) / delta)
    n0, sum0 = 0.0, 0.0
    for back in range(int(state[4]) + 1):
        level = int(state[4]) - back
        for i in range(int(state[ADWIN_HEAD + level])):
            n0 += 2.0**level
            sum0 += state[_SUMS + level * _ROW + i]
            n1 = width - n0
            if n1 < SHORTEST:
                return 0
            if n0 < SHORTEST:
                continue
            inverse = 1.0 / n0 + 1.0 / n1
            bound = math.sqrt(2.0 * inverse * variance * rarity)
            bound += 2.0 / 3.0 * inverse * reach * rarity
            apart = (state[1] - sum0) / n1 - sum0 / n0
            if abs(apart) >= bound and apart != 0.0:
                return 1 if apart > 0.0 else -1
    return 0
