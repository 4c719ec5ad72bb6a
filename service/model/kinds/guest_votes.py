"""What stands in for a vote that a guest of a mixture does not give: what is usual of the labels. No torch.

known: float64 [O, 4] of each output: labels so far, their mean (of a class: its share), and of a number
the smallest and the largest of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema

WIDTH = 4
"""Columns of known."""


def filled(
    schema: Schema, known: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Write what is usual into rows of scores [N, O] that are not finite; return scores. What is said
    of a number goes beyond the labels so far by no more than those are apart."""
    fell = ~np.isfinite(scores).all(axis=1)
    for target in schema.targets:
        block = scores[:, target.start : target.start + target.outputs]
        seen, mean, low, high = known[target.start : target.start + target.outputs].T
        if target.kind != "number":
            each = 1.0 / max(target.outputs, 2)  # as if one label had been seen of all of them
            block[fell] = (seen * mean + each) / (seen + 1.0)
            continue
        block[fell] = mean[0]
        if seen[0] > 0.0:
            block[:] = np.clip(block, 2.0 * low[0] - high[0], 2.0 * high[0] - low[0])
    return scores


def take(
    schema: Schema,
    known: NDArray[np.float64],
    y: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    """Take the labels y [N, T] of rows that are learned (weights [N] above 0) into what is usual."""
    for t, target in enumerate(schema.targets):
        labels = y[(weights > 0.0) & ~np.isnan(y[:, t]), t]
        if not len(labels):
            continue
        mine = known[target.start : target.start + target.outputs]
        first = mine[0, 0] == 0.0
        came = labels[:, None]
        if target.kind == "multiclass":
            came = (came == np.arange(target.outputs)).astype(np.float64)
        mine[:, 0] += len(labels)
        mine[:, 1] += (came.sum(axis=0) - len(labels) * mine[:, 1]) / mine[:, 0]
        if target.kind == "number":
            mine[0, 2] = min(labels.min(), labels.min() if first else mine[0, 2])
            mine[0, 3] = max(labels.max(), labels.max() if first else mine[0, 3])
