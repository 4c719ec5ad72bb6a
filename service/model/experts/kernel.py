"""Memory: what became of the most similar among the last rows.

A ring of the last rows that were learned; each row's label counts the more, the nearer its row lies
(a kernel smoother: Nadaraya 1964, Watson 1964), over a distance in deviations, ranks and categories
that agree. The width of the kernel follows how near the nearest row usually is. Members differ in it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import kernel_pass as compiled
from service.model.experts.kernel_pass import RING, WIDTHS
from service.model.experts.seam import (
    KEY_INPUTS,
    Axis,
    Fields,
    Held,
    Inputs,
    Task,
    Tensor,
    unweighted,
)

MOST_CATEGORIES, MOST_NUMBERS, MOST_PLAIN = 16, 48, 32
"""Fields beyond these, in the order of the schema, do not count in the distance: a row costs
operations in proportion to them."""
UNPROVEN = 1e3
"""Usual error of an earlier label that joins others."""


class Kernel:
    """The labels of similar rows. The ring takes 8 KiB for each category and plain input, 16 KiB for
    each number, and 16 KiB for labels (of a number 24), however many classes there are."""

    name: ClassVar[str] = "kernel"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._numbers = min(fields.numbers, MOST_NUMBERS)
        self._plain = np.array(fields.plain[:MOST_PLAIN], dtype=np.int64)
        self._categories = min(len(fields.categories), MOST_CATEGORIES)
        self._z = fields.z.start
        self._last = np.array(
            [fields.lags.start, *fields.keys[::KEY_INPUTS]] if task.kind == "number" else [],
            dtype=np.int64,
        )
        kinds = ("value", "change") if task.kind == "number" else ("",)
        self.members: tuple[str, ...] = tuple(
            "/".join(x for x in ("kernel", kind, f"{w:g}") if x) for kind in kinds for w in WIDTHS
        )
        width = 2 * self._numbers + len(self._plain) + self._categories
        self.tensors: tuple[Tensor, ...] = (
            Tensor("ring", (width, RING), large=True, axes=(self._axis(fields),)),
            Tensor("labels", (1 + len(kinds), RING), large=True),
            Tensor("near", (2,), "float64"),
            Tensor(
                "bases",
                (max(len(self._last), 1),),
                "float64",
                units=("slope",),
                axes=(fields.axis(self._last.tolist()),),
                added=UNPROVEN,
            ),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        compiled.learn(
            self._kind, self._keys(rows), self._categories, rows.x, self._last, rows.y,
            rows.weights, _size(rows, at["near"]), at["ring"], at["labels"], at["near"], at["bases"],
            flags["ring"], flags["labels"], into,
        )  # fmt: skip

    def _keys(self, rows: Inputs) -> NDArray[np.float32]:
        width = 2 * self._numbers + len(self._plain) + self._categories
        key = np.empty((len(rows), width), dtype=np.float32)
        compiled.keys(
            rows.x, rows.ranks, rows.ids, self._numbers, self._z, self._plain, self._categories, key
        )
        return key

    def _axis(self, fields: Fields) -> Axis:
        """Return what the rows of the ring are: deviations, ranks, plain inputs, categories."""
        f = self._numbers
        names = [f"{what} {name}" for name in fields.names[:f] for what in ("z", "rank")]
        names += [fields.columns[c] for c in self._plain.tolist()]
        first = fields.numbers
        names += fields.names[first : first + self._categories]
        return tuple((name, 1) for name in names)

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes: what was y is ratio * y + shift from now on."""
        labels = held.at["labels"]
        labels[1] = labels[1] * np.float32(ratio) + labels[0] * np.float32(shift)
        labels[2] *= np.float32(ratio)
        held.at["bases"][:] *= ratio
        held.flags["labels"][:] = 1


def _size(rows: Inputs, near: NDArray[np.float64]) -> int:
    """Return how much of the ring is used: half, where that is asked for, once all of it is filled."""
    return RING // 2 if "ring" in rows.rest and near[0] >= RING else RING
