"""Scores of a cut's events, put into a state: before they were learned, each counts once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.model import intervals, prequential
from service.model.state import State


def mark(
    state: State,
    scores: NDArray[np.float64],
    labels: NDArray[np.float64],
    held: NDArray[np.bool_],
    told: NDArray[np.float64] | None = None,
) -> None:
    """Count N scored events. scores [N, O] are of the state's model; labels [N, T], NaN is not
    scored; held [N]: which events are never learned; told [N, O]: what was answered, where that came
    from another model."""
    told = scores if told is None else told
    for t, target in enumerate(state.layout.schema.targets):
        block = slice(target.start, target.start + target.outputs)
        y = np.ascontiguousarray(labels[:, t])
        answered = np.ascontiguousarray(told[:, block])
        prequential.update(target, state.scores[target.name], answered, y)
        if target.kind == "number":  # what is held out changes nothing that is served
            used = np.where(held, np.nan, y)
            intervals.update(state.intervals[target.name], scores[:, target.start], used)
        if state.held_out:
            unseen = np.where(held, y, np.nan)
            prequential.update(target, state.held_out[target.name], answered, unseen)
