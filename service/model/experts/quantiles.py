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
"""Columns up to which there are pieces of ranks and values of categories, and columns in all: a row
costs as their square."""


class Quantiles:
    """A linear model of the label's place among recent ones."""

    name: ClassVar[str] = "quantiles"
    fits: ClassVar[tuple[str, ...]] = ("number",)
    members: tuple[str, ...] = ("quantiles",)

    def __init__(self, fields: Fields, task: Task) -> None:
        del task
        columns = _columns(fields)
        self._columns = np.array(columns, dtype=np.int64)
        labels = {*fields.lags, *label_keys(fields)}
        self._labels = np.array([column in labels for column in columns], dtype=np.uint8)
        m = 1 + len(columns)
        axis = (("bias", 1), *fields.axis(columns))
        self.tensors = (
            Tensor("recent", (SAMPLE,), "float64", units=("value",)),
            Tensor("ordered", (SAMPLE,), "float64", units=("value",)),
            Tensor("sampled", (2,), "int64"),
            Tensor("weights", (m,), "float64", axes=(axis,)),
            Tensor("gradient", (m,), "float64", axes=(axis,)),
            Tensor("curvature", (m, m), "float64", np.eye(m) * compiled.RIDGE, axes=(axis, axis)),
            Tensor("counts", (2,), "float64"),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        compiled.learn(
            rows.x, rows.y, rows.weights, self._columns, self._labels, at["recent"], at["ordered"],
            at["sampled"], at["weights"], at["gradient"], at["curvature"], at["counts"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""


def _columns(fields: Fields) -> list[int]:
    """Return the columns of the event and of earlier labels, by worth: of categories what is known of
    all their values, then the values seen first; then pieces of ranks."""
    first = [*fields.z, *fields.plain, *fields.keys, *fields.lags][: MOST - 1]
    each = zip(*(range(at, at + ONE_HOT) for at in fields.one_hot[::ONE_HOT]), strict=True)
    pieces = np.array(fields.pieces, dtype=np.int64).reshape(-1, 4)
    more = [c for row in each for c in row][:ONE_HOT]
    more += [*pieces[:, 1:3].T.ravel(), *pieces[:, ::3].T.ravel(), *fields.missing]
    return [int(c) for c in (*first, *more[: max(0, ENOUGH - 1 - len(first))])]
