"""What came lately: moving averages of the label, of a number its median, and nothing of the event's
fields.

The median is of the last 512 labels: where most of them are the same number, it is that one.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import prior_pass as compiled
from service.model.experts.inputs_pass import SAMPLE
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale, unweighted

SPANS = {"number": (1.0, 8.0, 64.0, 1000.0), "class": (4.0, 64.0, 2000.0)}


class Prior:
    """Moving averages of the label over several spans, and its median."""

    name: ClassVar[str] = "prior"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        spans = SPANS["number" if task.kind == "number" else "class"]
        self._spans = np.array(spans)
        self._classes = task.outputs
        self._number = task.kind == "number"
        names = (*(f"{span:g}" for span in spans), *(("median",) if self._number else ()))
        self.members = tuple(f"prior/{name}" for name in names)
        kept = SAMPLE if self._number else 0
        self.tensors = (
            Tensor("means", (len(spans), task.outputs), "float64", self._start(), units=("value",)),
            Tensor("seen", (1,), "float64"),
            Tensor("recent", (kept,), "float64", units=("value",)),
            Tensor("ordered", (kept,), "float64", units=("value",)),
            Tensor("sampled", (2,), "int64"),
        )

    def _start(self) -> float:
        if self._number:
            return 0.0
        return 0.5 if self._classes == 1 else 1.0 / self._classes

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """Write the averages and the median; see seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """Write both as they were before each row, then take its label; see seam.Expert."""
        at = held.at
        compiled.learn(
            rows.y, rows.weights, self._spans, at["means"], at["seen"], at["recent"], at["ordered"],
            at["sampled"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""
