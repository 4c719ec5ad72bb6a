"""Crosses: a linear model on bins of numbers, categories, and hashed pairs and triples of them.

One weight per bin and output, AdaGrad with forgetting per weight (Duchi et al. 2011). Each member
has a rate of its own; the step of a row is the sum over its active inputs. Which pairs and triples
there are is drawn from the names of the fields, and stays when fields are added.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import cross_pass as compiled
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale, unweighted

PAIRS, TRIPLES = 32, 32
LEAST_ROWS, ROOM = 2**12, 2**23
"""Rows that a table has at least; rows times outputs that it has at most, beyond those."""
MOST = 64
"""Fields of which combinations are drawn; of more, the first ones by name."""


class Cross:
    """A linear model on crosses."""

    name: ClassVar[str] = "cross"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self.members = tuple(f"cross/{rate:g}" for rate in compiled.RATES)
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._names, self._seed = fields.names, task.seed
        rows = rows_for(task.outputs, 2**17 if task.outputs > 4 else 2**18)
        self._salts = np.array([code_of(task.seed, name) for name in fields.names], dtype=np.uint64)
        self._dense = np.array([*fields.z, *fields.plain], dtype=np.int64)
        self._bias = len(self._dense)
        k, o, units = len(compiled.RATES), task.outputs, ("slope", "square")
        drawn = np.full((PAIRS + TRIPLES, 3), -1, dtype=np.int64)
        self._draw(drawn)
        places = ((*fields.axis(self._dense.tolist()), ("bias", 1)),)
        self.tensors = (
            Tensor(
                "combos", drawn.shape, "int64", drawn,
                points=tuple((name, 1) for name in fields.names),
            ),
            Tensor("table", (rows, k, o, 2), large=True, units=units),
            Tensor(
                "dense", (-(-(self._bias + 1) // 32) * 32, k, o, 2), large=True, units=units,
                axes=places,
            ),
        )  # fmt: skip

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        compiled.learn(
            self._kind, self._salts, at["combos"], self._dense, rows.x, rows.ranks, rows.ids,
            rows.y, rows.weights, at["table"], at["dense"], flags["table"], flags["dense"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)
        held.at["dense"][self._bias, :, :, 0] += np.float32(shift)

    def added(self, held: Held) -> None:
        """Draw combinations with fields that are new, where there is room; see seam.Expert."""
        self._draw(held.at["combos"])

    def _draw(self, combos: NDArray[np.int64]) -> None:
        """Fill free rows [3] (fields, -1: none) with pairs, then triples, in the order of a hash."""
        names = self._names[:MOST]
        for size, first, room in ((2, 0, PAIRS), (3, PAIRS, TRIPLES)):
            part = combos[first : first + room]
            part[(part[:, :size] < 0).any(axis=1)] = -1
            there = {tuple(row[:size]) for row in part.tolist()}
            free = np.flatnonzero(part[:, 0] < 0)
            possible = itertools.combinations(range(len(names)), size)
            ordered = sorted(possible, key=lambda c: code_of(self._seed, *(names[i] for i in c)))
            fresh = (combo for combo in ordered if combo not in there)
            for slot, combo in zip(free.tolist(), fresh, strict=False):
                part[slot, :size] = combo


def rows_for(outputs: int, most: int) -> int:
    """Return how many rows a hashed table has, a power of two: fewer where there are many classes."""
    while most > LEAST_ROWS and most * outputs > ROOM:
        most //= 2
    return most


def code_of(seed: int, *names: str) -> int:
    """Return a hash of names, 64 bits."""
    text = "\0".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
