"""Where every named tensor of a learner's state lies in one contiguous image of bytes.

The image is what the live file carries and what a snapshot copies. Parts: `weights` (all that a
prediction reads), `optimizer`, `metrics`. Small tensors come first; then `theta` and each of
the optimizer's arrays, all of one shape and each aligned to 256-byte blocks, so that one flag
per block says what changed. Knows no files.

A tensor is addressed by the name of its field, never by its place: a state moves to another
layout name by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Target
from service.model import drift_tensors, prequential
from service.model.recipe import Recipe
from service.model.steps import SLOTS

BLOCK_BYTES = 256
DTYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One named tensor: `offset` in bytes from the start of the image."""

    part: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize

    def view(self, image: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Return the tensor inside the image, without a copy."""
        raw = image[self.offset : self.offset + self.nbytes]
        return raw.view(DTYPES[self.dtype]).reshape(self.shape)


def escape(name: str) -> str:
    """Return a field's name as one step of a tensor's name: any text, but no slash."""
    return name.replace("%", "%25").replace("/", "%2F")


class Layout:
    """The state of one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.schema = recipe.schema
        self.entries: list[Entry] = []
        self._end = 0
        self.normaliser = self._group("weights", "normaliser", self.schema.numbers, (3,))
        names = tuple(t.name for t in self.schema.targets)
        self.frames = self._group("weights", "frame", names, (5,))
        count_names = names + (("",) if recipe.kind == "mlp" else ())
        self.counts = self._group("optimizer", "steps", count_names, (), "int64")
        self.usual = self._add("optimizer", "usual_lengths", "float64", (4,))
        self.outcomes = self._add("metrics", "outcomes", "int64", (len(prequential.OUTCOMES),))
        self.scores: dict[str, Entry] = {}
        for target in self.schema.targets:
            size = prequential.size_of(target)
            self.scores[target.name] = self._add(
                "metrics", f"prequential/{escape(target.name)}", "float64", (size,)
            )
        self.drift: dict[str, list[Entry]] = {}
        """By kind: what is known of drift, see drift_tensors.py."""
        for kind, of, dtype, shape in drift_tensors.tensors(self.schema, recipe.drift):
            name = f"drift/{kind}" + (f"/{escape(of)}" if of is not None else "")
            self.drift.setdefault(kind, []).append(self._add("metrics", name, dtype, shape))
        self.parameters: list[tuple[str, tuple[int, ...], int]] = []
        """(name, shape, index of the first weight in theta) of each weight tensor."""
        size = self._parameters()
        self.theta_size = -(-size // 64) * 64
        self.theta = self._flat("theta")
        self.slots = [self._flat(slot) for slot in SLOTS[recipe.optimizer]]
        for name, shape, first in self.parameters:
            self._alias("weights", name, shape, self.theta, first)
            for slot, start in zip(SLOTS[recipe.optimizer], self.slots, strict=True):
                self._alias("optimizer", f"{recipe.optimizer}/{slot}/{name}", shape, start, first)
        self.small_bytes = self.theta
        self.nbytes = self._end
        self.by_name = {(e.part, e.name): e for e in self.entries}

    def head_name(self, target: Target) -> str:
        """Return how the names of a target's own weights begin."""
        return f"head/{escape(target.name)}/"

    def _align(self) -> None:
        self._end = -(-self._end // BLOCK_BYTES) * BLOCK_BYTES

    def _add(self, part: str, name: str, dtype: str, shape: tuple[int, ...]) -> Entry:
        entry = Entry(part, name, dtype, shape, self._end)
        self.entries.append(entry)
        self._end += -(-entry.nbytes // 8) * 8
        return entry

    def _group(
        self,
        part: str,
        kind: str,
        names: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: str = "float64",
    ) -> int:
        """Place one small tensor per name, next to each other; return where the first lies."""
        start = self._end
        for name in names:
            self._add(part, f"{kind}/{escape(name)}", dtype, shape)
        return start

    def _flat(self, name: str) -> int:
        self._align()
        start = self._end
        self._end += self.theta_size * 4
        assert start % BLOCK_BYTES == 0, name
        return start

    def _alias(self, part: str, name: str, shape: tuple[int, ...], base: int, first: int) -> None:
        self.entries.append(Entry(part, name, "float32", shape, base + 4 * first))

    def _parameters(self) -> int:
        """List the weight tensors of the model; return how many weights there are."""
        if self.recipe.kind == "linear":
            return self._linear()
        return self._mlp()

    def _place(self, at: int, name: str, shape: tuple[int, ...]) -> int:
        self.parameters.append((name, shape, at))
        return at + math.prod(shape)

    def _linear(self) -> int:
        schema, at = self.schema, 0
        dense, tables = [], []
        for target in schema.targets:
            dense.append(at)
            at = self._place(at, f"{self.head_name(target)}bias", (target.outputs,))
            for name in schema.numbers:
                at = self._place(
                    at, f"{self.head_name(target)}number/{escape(name)}", (2, target.outputs)
                )
        at = -(-at // 64) * 64
        for target in schema.targets:
            row = []
            for name, buckets in zip(schema.categories, schema.buckets, strict=True):
                row.append(at)
                at = self._place(
                    at,
                    f"{self.head_name(target)}category/{escape(name)}",
                    (buckets, target.outputs),
                )
            tables.append(row)
        self.dense = np.array(dense, dtype=np.int64)
        shape = (len(schema.targets), len(schema.categories))
        self.tables = np.array(tables, dtype=np.int64).reshape(shape)
        self.heads = np.empty(0, dtype=np.int64)
        return at

    def _mlp(self) -> int:
        schema, hidden = self.schema, self.recipe.model.hidden
        embedding = self.recipe.model.embedding
        at = self._place(0, "hidden/bias", (hidden,))
        first = at
        for name in schema.numbers:
            at = self._place(at, f"hidden/number/{escape(name)}", (2, hidden))
        for name in schema.categories:
            at = self._place(at, f"hidden/category/{escape(name)}", (embedding, hidden))
        heads = []
        for target in schema.targets:
            heads.append(at)
            at = self._place(at, f"{self.head_name(target)}bias", (target.outputs,))
            at = self._place(at, f"{self.head_name(target)}weight", (target.outputs, hidden))
        at = -(-at // 64) * 64
        tables = []
        for name, buckets in zip(schema.categories, schema.buckets, strict=True):
            tables.append(at)
            at = self._place(at, f"embedding/{escape(name)}", (buckets, embedding))
        self.dense = np.array([0, first], dtype=np.int64)
        self.heads = np.array(heads, dtype=np.int64)
        self.tables = np.array(tables, dtype=np.int64)
        return at
