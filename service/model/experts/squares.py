"""Least squares with forgetting, for numbers: the value itself, and its change since the last one.

Two sets of columns (see curvature.py), three memories each. On the larger set two outputs share the
curvatures: the label, and the label less the last one of its kind, so that a ridge pulls either
towards 0 or towards no change. A label further off than some times the usual error counts less,
so that it pulls no harder than one at that distance (Huber 1964).

Beside them two members that only remember: `last`, the last label, of all events or of those that
share the value of a category; `near`, that or a mean of such labels. Which of them is chosen by
their running errors; `last` is also what changes are counted from.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import squares_pass as compiled
from service.model.experts.curvature import Curved, all_columns, plain_columns
from service.model.experts.seam import (
    KEY_INPUTS,
    Fields,
    Held,
    Inputs,
    Task,
    Tensor,
    rescale,
    unweighted,
)

SHORT_KEEPS = (0.9999, 0.998, 0.98)
"""What the memories of the smaller set keep from row to row: it can follow faster."""
KEEPS = (0.9999, 0.999, 0.99)
"""Those of the larger set."""
RIDGES = ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
"""Of the memories of the two sets."""
UNPROVEN = 1e3
"""Running error that a memory of earlier labels begins with where others have proven themselves."""
EVERY = 256
"""See curvature.Part; with 512 the shortest memories went astray (bikes)."""


class Squares:
    """Linear models of numbers, by least squares."""

    name: ClassVar[str] = "squares"
    fits: ClassVar[tuple[str, ...]] = ("number",)

    def __init__(self, fields: Fields, task: Task) -> None:
        del task
        kinds = {"plain": SHORT_KEEPS, "all": KEEPS, "change": KEEPS}
        self.members = (
            *(f"squares/{kind}/{keep:g}" for kind, keeps in kinds.items() for keep in keeps),
            "squares/last",
            "squares/near",
        )
        self._plain = Curved(
            "plain",
            plain_columns(fields),
            [*zip(SHORT_KEEPS, RIDGES[0], strict=True)],
            1,
            EVERY,
            fields,
        )
        self._all = Curved(
            "all", all_columns(fields), [*zip(KEEPS, RIDGES[1], strict=True)], 2, EVERY, fields
        )
        v = len(fields.keys) // KEY_INPUTS
        firsts = [fields.keys.start + c * KEY_INPUTS for c in range(v)]
        lasts = [fields.lags.start, *firsts]
        nears = [*fields.lags[1:], *(first + i for i in (1, 3, 4) for first in firsts)]
        self._lasts = len(lasts)
        self._columns = np.array(lasts + nears, dtype=np.int64)
        """Of earlier labels: the lasts, then means."""
        self.tensors: tuple[Tensor, ...] = (
            *self._plain.tensors,
            *self._all.tensors,
            Tensor("errors", (3 * len(KEEPS),), "float64", 1.0, units=("slope",)),
            Tensor("shares", (3 * len(KEEPS),), "float64", 1.0),
            Tensor(
                "remembered",
                (len(self._columns),),
                "float64",
                units=("slope",),
                axes=(fields.axis(self._columns.tolist()),),
                added=UNPROVEN,
            ),
            Tensor("labels", (3,), "float64", units=("", "value", "value")),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        compiled.learn(
            self._plain.part(held), self._all.part(held), rows.x, rows.y, rows.weights,
            self._columns, self._lasts, at["errors"], at["shares"], at["remembered"], at["labels"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)
        self._plain.rescale(held, ratio, shift, (True,))
        self._all.rescale(held, ratio, shift, (True, False))

    def added(self, held: Held) -> None:
        """See seam.Expert."""
        self._plain.added(held)
        self._all.added(held)
