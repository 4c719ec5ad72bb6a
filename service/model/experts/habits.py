"""Habits: which of several classes comes after those that came before, of all events, and of those that
share the value of a category.

Three members: by the last label, by the last two, and by how often each class came. Each speaks for
whichever of its sources has predicted best lately: all events, or those of one category's values. With
two classes the inputs say as much; of more they have no room for every category's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import habits_pass as compiled
from service.model.experts.seam import BLOCK, Fields, Held, Inputs, Task, Tensor, unweighted

MOST_CATEGORIES = 4
MOST_VALUES, LEAST_VALUES, ROOM = 16384, 256, 2**17
"""Values of a category that are told apart, at most and where there are many classes; counts of one
category's values in all."""
FEW = 24
"""Classes up to which pairs of labels are remembered."""
UNPROVEN = 1e3
"""Loss that a source begins with where others have proven themselves."""


class Habits:
    """Which class comes after which."""

    name: ClassVar[str] = "habits"
    fits: ClassVar[tuple[str, ...]] = ("multiclass",)

    def __init__(self, fields: Fields, task: Task) -> None:
        c = task.classes
        two = ("habits/two",) if c <= FEW else ()
        self.members = ("habits/own", "habits/last", *two) if fields.categories else ()
        names = fields.names[fields.numbers :][:MOST_CATEGORIES]
        most = min(MOST_VALUES, max(LEAST_VALUES, ROOM // c))
        rows = [1, *(min(n, most) for n in fields.categories[:MOST_CATEGORIES])]
        self._rows = np.array(rows, dtype=np.int64)
        self._first = np.cumsum([0, *rows[:-1]]).astype(np.int64)
        sources = ("", *names)
        values = tuple(zip(sources, rows, strict=True))
        each = tuple((name, 1) for name in sources)
        k, pairs = len(self.members), (c + 1) ** 2 if c <= FEW else 0
        total = -(-sum(rows) // BLOCK) * BLOCK
        self.tensors: tuple[Tensor, ...] = (
            Tensor("before", (total, 2), large=True, axes=(values,)),
            Tensor("own", (total, c), large=True, axes=(values,)),
            Tensor("after", (len(rows), c + 1, c), "float64", axes=(each,)),
            Tensor("pairs", (len(rows), pairs, c), "float64", axes=(each,)),
            Tensor("common", (c,), "float64"),
            Tensor("losses", (len(rows), k), "float64", axes=(each,), added=UNPROVEN),
            Tensor("seen", (1,), "float64"),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        compiled.learn(
            self._first, self._rows, rows.ids, rows.y, rows.weights, at["before"], at["own"],
            at["after"], at["pairs"], at["common"], at["losses"], at["seen"], flags["before"],
            flags["own"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """It learns no numbers; see seam.Expert."""

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""
