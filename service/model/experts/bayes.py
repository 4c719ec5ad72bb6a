"""Naive Bayes on the ranks of numbers and the values of categories, with counts that fade.

p(c | x) is proportional to (N_c + s) prod_f (n_fc(x_f) + s) / (N_fc + s V_f), where a count loses a
share of its worth with every row (members differ in it) and V_f values of field f were seen.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import bayes_pass as compiled
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, unweighted

MOST_CELLS = 131072
"""Counts of one category's values in all; more values share places."""


class Bayes:
    """Naive Bayes."""

    name: ClassVar[str] = "bayes"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass")

    def __init__(self, fields: Fields, task: Task) -> None:
        self.members = tuple(f"bayes/{keep:g}" for keep in compiled.KEEP)
        c, f = task.classes, fields.numbers
        rows = [compiled.BINS + 1] * f + [
            min(n, max(64, MOST_CELLS // c)) for n in fields.categories
        ]
        self._rows = np.array(rows, dtype=np.int64)
        self._first = np.cumsum([0, *rows]).astype(np.int64)
        total = -(-int(self._first[-1]) // 64) * 64
        axis = (tuple(zip(fields.names, rows, strict=True)),)
        each = (tuple((name, 1) for name in fields.names),)
        self.tensors = (
            Tensor("counts", (total, len(compiled.KEEP), c), large=True, axes=axis),
            Tensor("classes", (len(compiled.KEEP), c), "float64"),
            Tensor("gain", (len(compiled.KEEP),), "float64", 1.0),
            Tensor("totals", (len(rows), len(compiled.KEEP), c), "float64", axes=each),
            Tensor("values", (len(rows),), "float64", axes=each),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        compiled.learn(
            self._first, self._rows, rows.ranks, rows.ids, rows.y, rows.weights, at["counts"],
            held.flags["counts"], at["totals"], at["classes"], at["gain"], at["values"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """It learns no numbers; see seam.Expert."""

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""
