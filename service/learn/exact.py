"""AUC and average precision without bins, for `evaluate`, where all scores are at hand.

AUC is the chance that a positive is scored above a negative, ties count half (Fawcett 2006);
average precision is the sum of precision times gained recall over distinct thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def auc(p: Scores, y: Scores, weight: Scores | None = None) -> float | None:
    """Return the weighted AUC of scores p [N] for labels y [N] in {0, 1}; None without both.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75
    """
    positive, negative = _by_threshold(p, y, weight)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return None
    above = np.cumsum(positive) - positive
    return float((negative * (above + positive / 2)).sum() / pairs)


def average_precision(p: Scores, y: Scores, weight: Scores | None = None) -> float | None:
    """Return the weighted average precision; None without a positive.

    >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0, 1, 1])), 4)
    0.8333
    """
    positive, negative = _by_threshold(p, y, weight)
    total = positive.sum()
    if total == 0:
        return None
    found, taken = np.cumsum(positive), np.cumsum(positive + negative)
    return float((positive / total * found / np.maximum(taken, 1e-300)).sum())


def _by_threshold(p: Scores, y: Scores, weight: Scores | None) -> tuple[Scores, Scores]:
    """Return the weight of positives and of negatives at each distinct score, highest first."""
    w = np.ones_like(p) if weight is None else weight
    _, place = np.unique(-p, return_inverse=True)
    positive = np.bincount(place, w * y).astype(np.float64)
    return positive, np.bincount(place, w * (1.0 - y)).astype(np.float64)
