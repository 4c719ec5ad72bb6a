"""Factors: what values of categories add, and how pairs of them go together.

    y = w0 + sum over categories (bias of its value) + sum over pairs <factors, factors>

(Rendle 2010, with categories alone.) A bias moves by the error over how often its value came, at most
`memory`, plus m: a mean of what is left, drawn towards 0 by m rows, that forgets. Factors move by the
gradient over the root of how often the value came, at most 256. Members differ in m, the factors'
rate, and memory; they were chosen on movielens_100k.

Categories beyond the first 12 are not looked at; a category's values share 16,384 places of 256 bytes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import factors_pass as compiled
from service.model.experts.factors_pass import (
    BIASES,
    FACTORS,
    MOST_CATEGORIES,
    MOST_VALUES,
    PLACE,
    SETTINGS,
)
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale, unweighted

FEWEST = 2
"""Categories that there must be: of one alone the keys of the inputs say as much."""


class Factors:
    """A factorization machine of categories; has no members where there are few of them."""

    name: ClassVar[str] = "factors"
    fits: ClassVar[tuple[str, ...]] = ("binary", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        few = len(fields.categories) < FEWEST
        self.members: tuple[str, ...] = (
            ()
            if few
            else tuple(f"factors/{m:g},{rate:g},{memory:g}" for m, rate, memory in SETTINGS)
        )
        self._kind = 0 if task.kind == "binary" else 2
        self._seed = task.seed
        rows = fields.categories[:MOST_CATEGORIES]
        self._rows = np.array([min(n, MOST_VALUES) for n in rows], dtype=np.int64)
        names = fields.names[fields.numbers :][:MOST_CATEGORIES]
        factors = ("root",) * (PLACE - FACTORS)
        units = (*("",) * BIASES, *("slope",) * (FACTORS - BIASES), *factors)
        self._settings = np.array(SETTINGS, dtype=np.float32)
        self.tensors: tuple[Tensor, ...] = (
            Tensor(
                "values",
                (int(self._rows.sum()), PLACE),
                large=True,
                units=units,
                axes=(tuple(zip(names, self._rows.tolist(), strict=True)),),
            ),
            Tensor(
                "constant",
                (len(SETTINGS) + 1,),
                "float64",
                units=(*("value",) * len(SETTINGS), ""),
            ),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        compiled.learn(
            self._kind, rows.ids, rows.y, rows.weights, self._rows, self._settings,
            np.uint64(self._seed), at["values"], at["constant"], held.flags["values"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""
