"""What a trial of fewer, or more, experts counts row by row, compiled. kind: 0 binary, 1 multiclass,
2 number."""

from __future__ import annotations

import math

from service.model.compiling import kernel, piece
from service.model.experts.mixture_shares_pass import HEAVIEST

TINY = 1e-7
JUDGED, MEAN, SPREAD, ROWS, LOSS = range(5)
"""Of the figures: rows judged; mean of what the trial lost more than the mixture did, and the sum of
squared deviations from it; rows of the block so far, and the sum of the mixture's losses on them."""


@piece
def _loss(kind, p, y):
    """Return the loss of one prediction [O]: log loss, or how far off a number was."""
    if kind == 2:
        return abs(p[0] - y)
    if kind == 1:
        return -math.log(max(p[int(y)], TINY))
    return -math.log(max(p[0] if y > 0.5 else 1.0 - p[0], TINY))


@kernel
def note(kind, y, worth, mixture, trial, lead, figures):
    """Take rows, one after another: predictions [N, O] of the mixture and of the trial (mixture again
    where there is none). worth: [N] what a row counts, 0: score only. lead: learned rows that are not judged yet. Return how many were learned."""
    seen = 0
    for r in range(y.shape[0]):
        if not worth[r] > 0.0 or math.isnan(y[r]):
            continue
        seen += 1
        by = min(worth[r], HEAVIEST)
        loss = by * _loss(kind, mixture[r], y[r])
        figures[ROWS] += 1.0
        figures[LOSS] += loss
        if seen <= lead:
            continue
        more = by * _loss(kind, trial[r], y[r]) - loss
        off = more - figures[MEAN]
        figures[JUDGED] += 1.0
        figures[MEAN] += off / figures[JUDGED]
        figures[SPREAD] += off * (more - figures[MEAN])
    return seen


@kernel
def until(count, y, learn):
    """Return how many rows there are up to the one that is the count-th to be learned, or all."""
    for r in range(y.shape[0]):
        if learn[r] > 0.0 and not math.isnan(y[r]):
            count -= 1
            if count == 0:
                return r + 1
    return y.shape[0]
