"""The pass of Quantiles, compiled; see quantiles.py. Legend: M columns and a bias."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece
from service.model.experts.inputs_pass import first_above, first_from, keep
from service.model.experts.mixture_shares_pass import (
    HEAVIEST,
    add,
    any_of,
    dot,
    full,
    solve,
)

SAMPLE, NTH = 1024, 4
"""Labels that places are counted among: the first ones, then about one in so many."""
MEMORY = 0.999
"""What is left of a row after the next one."""
RIDGE = 2.0
EVERY = 32
"""Rows between two solutions, once it has begun."""
BEGIN = 8
"""Labels before which their places say nothing."""
HUBER = 0.5
"""Error beyond which the slope grows no more, in normal deviations."""
FAR = 32.0
"""Furthest that an input lies from 0."""
FURTHEST = 3.5
"""Furthest that a prediction lies from the middle, in normal deviations."""
FURTHER, APART = 4.0, 0.1
"""A label lies far beyond the next one where it is so many times as far from the middle one; what is
added to that one's distance, in units of the frame."""
SLACK = 1e-6
"""What counts as nothing between two labels, against 1 and their size."""
_STEPS = 2 * (SAMPLE + 1)
_DEVIATIONS = np.array([0.0, *(NormalDist().inv_cdf(i / _STEPS) for i in range(1, _STEPS)), 0.0])
_DEVIATIONS[0], _DEVIATIONS[-1] = _DEVIATIONS[1], _DEVIATIONS[-2]
"""Normal deviations at the ranks that there are in a full sample."""


@piece
def _slack(value):
    """Return by how much labels may differ that are one: inputs are kept in float32, and units change."""
    return SLACK * (1.0 + abs(value))


@piece
def _first_of(ordered, n, value):
    """Return the place of the first of n sorted values that is no less."""
    return first_from(ordered, n, value - _slack(value))


@piece
def _first_above(ordered, n, value):
    """Return the place of the first of n sorted values that is greater, or n."""
    return first_above(ordered, 0, n, value + _slack(value))


@piece
def _deviation(ordered, n, value):
    """Return the normal deviation at the middle rank of a value among n sorted ones."""
    if n == 0:
        return 0.0
    low = high = _first_of(ordered, n, value)
    if low < n and ordered[low] <= value + _slack(value):
        high = _first_above(ordered, n, value)
    at = (low + high + 1.0) / (2.0 * (n + 1.0)) * _STEPS
    below = int(at)
    share = at - below
    if share == 0.0:
        return _DEVIATIONS[below]
    return (1.0 - share) * _DEVIATIONS[below] + share * _DEVIATIONS[below + 1]


@piece
def _reach(ordered, n, within):
    """Write the lowest and the highest place that predictions may come to, within [2]: a label that
    lies far beyond all others of its side, as one that was wrong, is none."""
    middle, some = ordered[n // 2], n // 16
    at = n - 1 - some
    while at < n - 1 and ordered[at + 1] - middle <= FURTHER * (ordered[at] - middle + APART):
        at += 1
    within[1] = at
    at = some
    while at > 0 and middle - ordered[at - 1] <= FURTHER * (middle - ordered[at] + APART):
        at -= 1
    within[0] = at


@piece
def _label(ordered, n, within, deviation):
    """Return the label at a normal deviation: from each value that labels have to the next as the
    deviation goes from the middle of the one to that of the other, so that it says where between
    whole numbers; but no other value all along one that more than half of the labels have."""
    if n == 0:
        return 0.0
    at = 0.5 * math.erfc(-deviation * math.sqrt(0.5)) * (n + 1.0) - 1.0
    at = min(max(at, float(within[0])), float(within[1]))
    value = ordered[int(at + 0.5)]
    low, high = _first_of(ordered, n, value), _first_above(ordered, n, value)
    middle = 0.5 * (low + high - 1)
    if 2 * (high - low) > n:
        return value
    if at > middle and high <= within[1]:
        other = ordered[high]
        end = 0.5 * (high + _first_above(ordered, n, other) - 1)
    elif at < middle and low > within[0]:
        other = ordered[low - 1]
        end = 0.5 * (_first_of(ordered, n, other) + low - 1)
    else:
        return value
    return value + (at - middle) / (end - middle) * (other - value)


@kernel
def learn(
    x, y, weights, columns, labels, recent, ordered, sizes, stack, gradient, curvature, counts, into
):  # fmt: skip
    """columns: int64 [>= M], below 0 none; labels: [D] which columns of x are labels. recent, ordered,
    sizes: see inputs_pass.keep. counts: [2] rows since the last solution, rows learned."""
    n_columns = 0
    for i in range(columns.shape[0]):
        n_columns = i + 1 if columns[i] >= 0 else n_columns
    m = n_columns + 1
    wide_m = full(m)
    held = wide_m if any_of(weights) else 0  # what scoring has no use for
    curved, low = np.eye(held), np.empty((held, held))
    for i in range(min(m, held)):
        for k in range(m):
            curved[i, k] = curvature[i, k]
    slope, values = np.zeros(wide_m), np.zeros(wide_m)
    for i in range(m):
        slope[i] = gradient[i]
    values[0] = 1.0
    within = np.zeros(2, dtype=np.int64)
    if sizes[1] > 0:
        _reach(ordered, sizes[1], within)
    for r in range(x.shape[0]):
        n = sizes[1]
        for i in range(n_columns):
            column = columns[i]
            if column < 0:
                values[i + 1] = 0.0
                continue
            value = float(x[r, column])
            if labels[column]:
                value = _deviation(ordered, n, value)
            values[i + 1] = min(max(value, -FAR), FAR) if math.isfinite(value) else 0.0
        said = min(max(dot(stack, values, m), -FURTHEST), FURTHEST)
        into[r, 0, 0] = _label(ordered, n, within, said)
        if not weights[r] > 0.0 or math.isnan(y[r]):
            continue
        if n >= BEGIN:
            e = _deviation(ordered, n, y[r]) - said
            h = min(weights[r], HEAVIEST) * min(1.0, HUBER / max(abs(e), 1e-12))
            for i in range(wide_m):
                slope[i] += h * e * values[i]
            add(curved, values, h, m)
            counts[0] += 1.0
            if counts[0] >= min(EVERY, max(1.0, counts[1] / 64.0)):
                solve(curved, slope, stack, MEMORY ** counts[0], RIDGE, low, m)
                counts[0] = 0.0
        if counts[1] < SAMPLE or mixed(np.uint64(counts[1])) % np.uint64(NTH) == 0:
            keep(recent, ordered, sizes, y[r])
            _reach(ordered, sizes[1], within)
        counts[1] += 1.0
    if held == 0:
        return
    for i in range(m):
        gradient[i] = slope[i]
        for k in range(m):
            curvature[i, k] = curved[k, i] if k < i else curved[i, k]
