"""Quantiles: least squares on the place of the label among recent ones, for numbers.

A label becomes the normal deviation at its rank among the last labels, and a prediction the label at
that place. So whatever the shape of the labels is (a long tail, many zeros, two bounds), what is learned
is about normal, and errors that multiply become errors that add. What comes out is near the median,
which is what an absolute error asks for; where most labels are one and the same, it is that one.

Earlier labels, among the inputs, are seen in the same way, so nothing here has the label's unit but the
sample itself.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import quantiles_pass as compiled
from service.model.experts.inputs_pass import ONE_HOT
from service.model.experts.quantiles_pass import SAMPLE
from service.model.experts.seam import (
    Fields,
    Held,
    Inputs,
    Task,
    Tensor,
    label_keys,
    rescale,
    unweighted,
)

ENOUGH, MOST = 48, 128
"""Columns up to which there are pieces of ranks and values of categories, and columns in all, with the
bias: a row costs as their square."""
FREE, GONE = -1, -2
"""Places without a column: none yet, and no more."""


class Quantiles:
    """A linear model of the label's place among recent ones."""

    name: ClassVar[str] = "quantiles"
    fits: ClassVar[tuple[str, ...]] = ("number",)
    members: tuple[str, ...] = ("quantiles",)

    def __init__(self, fields: Fields, task: Task) -> None:
        del task
        self._wanted = _columns(fields)
        self._labels = np.zeros(fields.width, dtype=np.uint8)
        self._labels[[*fields.lags, *label_keys(fields)]] = 1
        chosen = np.full(MOST - 1, FREE, dtype=np.int64)
        self._fill(chosen)
        self.tensors = (
            Tensor("recent", (SAMPLE,), "float64", units=("value",)),
            Tensor("ordered", (SAMPLE,), "float64", units=("value",)),
            Tensor("sampled", (2,), "int64"),
            Tensor(
                "chosen",
                chosen.shape,
                "int64",
                chosen,
                points=fields.axis(range(fields.width)),
                gone=GONE,
            ),
            Tensor("weights", (MOST,), "float64"),
            Tensor("gradient", (MOST,), "float64"),
            Tensor("curvature", (MOST, MOST), "float64", np.eye(MOST) * compiled.RIDGE),
            Tensor("counts", (2,), "float64"),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        compiled.learn(
            rows.x, rows.y, rows.weights, at["chosen"], self._labels, at["recent"], at["ordered"],
            at["sampled"], at["weights"], at["gradient"], at["curvature"], at["counts"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Columns changed: those in use stay where they are, so that what was learned stands; others
        get the places of those that are no more, and places that are free."""
        at = held.at
        for place in 1 + np.flatnonzero(at["chosen"] == GONE):
            at["weights"][place] = at["gradient"][place] = 0.0
            at["curvature"][place] = at["curvature"][:, place] = 0.0
            at["curvature"][place, place] = compiled.RIDGE
        self._fill(at["chosen"])

    def _fill(self, chosen: NDArray[np.int64]) -> None:
        """Give columns that have none a place."""
        first, more = self._wanted
        for columns, most in ((first, MOST - 1), (more, ENOUGH - 1)):
            left = [column for column in columns if column not in chosen]
            places = np.flatnonzero(chosen < 0)[: len(left)]
            room = max(0, most - int((chosen >= 0).sum()))
            places, left = places[:room], left[:room]
            chosen[places] = left[: len(places)]


def _columns(fields: Fields) -> tuple[list[int], list[int]]:
    """Return the columns of the event and of earlier labels; and, by worth, more: of categories the
    values seen first, then pieces of ranks."""
    first = [*fields.z, *fields.plain, *fields.keys, *fields.lags]
    each = zip(*(range(at, at + ONE_HOT) for at in fields.one_hot[::ONE_HOT]), strict=True)
    pieces = np.array(fields.pieces, dtype=np.int64).reshape(-1, 4)
    more = [c for row in each for c in row][:ONE_HOT]
    more += [*pieces[:, 1:3].T.ravel(), *pieces[:, ::3].T.ravel(), *fields.missing]
    return [int(c) for c in first], [int(c) for c in more]
