"""Logistic and softmax regression by Newton's method, online: no rate, but several memories.

Two sets of columns, see curvature.py: the event itself, and with it lags, context and pieces of
ranks. For each, three memories (the share of the past that a row keeps). One curvature serves all
classes: h = 3/4 sum of p (1 - p) bounds that of the softmax (Boehning 1992; for two classes it is
p (1 - p)). It comes from the middle memory, for all three in common.

Cost: 5 n^2 + 1.5 n^3 / EVERY multiplications a row for n columns in use; n is at most 128.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import newton_pass as compiled
from service.model.experts.curvature import Curved, all_columns, plain_columns
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, unweighted
from service.model.experts.together import Work

KEEPS = (0.99999, 0.9998, 0.998)
RIDGES = ((1.0, 0.5, 0.25), (2.0, 1.0, 0.5))
"""Of the memories of the two sets, for two classes; for more each class has weights of its own, and
twice that."""
EVERY = 512
"""See curvature.Part."""


class Newton:
    """Linear models of two sets of columns and three memories each."""

    name: ClassVar[str] = "newton"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    halves: ClassVar[tuple[str, str]] = ("newton/plain", "newton/all")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._classes = task.classes
        self.members = tuple(f"newton/{s}/{keep:g}" for s in ("plain", "all") for keep in KEEPS)
        times = 1.0 if task.outputs == 1 else 2.0
        self._sets = tuple(
            Curved(
                name,
                order,
                [(keep, times * ridge) for keep, ridge in zip(KEEPS, ridges, strict=True)],
                task.outputs,
                EVERY,
                fields,
            )
            for name, order, ridges in (
                ("plain", plain_columns(fields), RIDGES[0]),
                ("all", all_columns(fields), RIDGES[1]),
            )
        )
        self.tensors: tuple[Tensor, ...] = tuple(t for s in self._sets for t in s.tensors)

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        for work in self.works(held, rows, into):
            work()

    def works(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> list[Work]:
        """Return the work of each set of columns; see seam.Divided."""
        return [
            partial(compiled.learn, one.part(held), rows.x, rows.y, rows.weights, first, into)
            for one, half, first in zip(self._sets, self.halves, (0, len(KEEPS)), strict=True)
            if half not in rows.rest
        ]

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """It learns no numbers; see seam.Expert."""

    def added(self, held: Held) -> None:
        """See seam.Expert."""
        for one in self._sets:
            one.added(held)
