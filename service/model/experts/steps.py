"""Steps: for numbers that often stay what they were: is the next label lower, the same, or higher?

A softmax over the three on crosses (see cross.py) of what came lately: the last label and how far
it lies from moving averages of earlier ones, the hour, the weekday, how long ago the last event was;
beside them numbers and categories one by one. What is predicted is the median: the last label, or
one that is a usual step away where that way has more than half of the probability. The other member
predicts the mean.

The last label is that of all events, or of those that share the value of a category, whichever is
nearest as a rule.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import grid_pass, steps_pass
from service.model.experts.cross import code_of
from service.model.experts.inputs import CLOCKS
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

ROWS = 2**16
"""Rows of the table of weights."""
MOST = 64
"""Numbers and categories that count one by one; of more, the first ones."""
CLOCK = tuple(f"clock {name}" for name in CLOCKS[:4])
UNPROVEN = 1e3
"""Usual distance of an earlier label that joins others."""


class Steps:
    """Whether a number rises, falls or stays."""

    name: ClassVar[str] = "steps"
    fits: ClassVar[tuple[str, ...]] = ("number",)

    def __init__(self, fields: Fields, task: Task) -> None:
        self.members = ("steps/median", "steps/mean")
        names, f = fields.names, fields.numbers
        self._numbers = np.arange(min(f, MOST), dtype=np.int64)
        self._categories = np.arange(min(len(names) - f, MOST), dtype=np.int64)
        self._salts = np.array([code_of(task.seed, "steps", name) for name in names], np.uint64)
        at = {name: place for place, name in enumerate(fields.columns)}
        self._clock = np.array([at.get(name, -1) for name in CLOCK], dtype=np.int64)
        firsts = list(fields.keys[::KEY_INPUTS])
        ages = [f"age {name}" for name in names[f:]] if firsts else []
        s = fields.lags.start
        sources = [(s, s + 1, s + 2, at.get("clock gap", -1), -1)]
        sources += [
            (first, first + 3, first + 4, at.get(age, -1), v)
            for v, (first, age) in enumerate(zip(firsts, ages, strict=True))
        ]
        self._sources = np.array(sources, dtype=np.int64)
        """[L, 5] of each kind of last label: its column, those of two averages, that of the time
        since it, and the category it goes by (-1: none)."""
        lasts = fields.axis([one[0] for one in sources])
        self.tensors = (
            Tensor("table", (ROWS, 2 * steps_pass.LANES), large=True),
            Tensor(
                "far", (len(sources),), "float64", units=("slope",), axes=(lasts,), added=UNPROVEN
            ),
            Tensor("moves", (2, 3), "float64", units=("slope", "slope", "")),
            Tensor("level", (3,), "float64", units=("value", "slope", "")),
            Tensor("grid", (grid_pass.SIZE,), "float64", units=grid_pass.UNITS),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        steps_pass.learn(
            rows.x, rows.ranks, rows.ids, self._numbers, self._categories, self._salts, self._clock,
            self._sources, at["table"], at["far"], at["moves"], at["level"], at["grid"], rows.y,
            rows.weights, held.flags["table"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Nothing is left to do: what a row of the table stands for goes by names."""
