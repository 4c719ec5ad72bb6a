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

from service.model import drift_tensors, intervals, prequential, rate, rivals
from service.model.featurizer import Scales
from service.model.kinds import kind_of
from service.model.kinds.seam import Extra, Flat, Remembers, counters
from service.model.names import escape
from service.model.recipe import Recipe
from service.model.scales import QUANTILES
from service.model.steps import SLOTS
from service.model.strategies.plan import Plan

BLOCK_BYTES = 256
DTYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "uint8": np.uint8,
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


@dataclass(frozen=True, slots=True)
class Rival:
    """A challenger: the layout of a state of its own, and where that begins in the image."""

    layout: Layout
    start: int

    def part(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return its part of the image, without a copy."""
        return image[self.start : self.start + self.layout.nbytes]


class Layout:
    """The state of one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.schema = recipe.schema
        self.kind = kind_of(recipe)
        self.parameters = {one.name: one for one in self.kind.parameters}
        self.entries: list[Entry] = []
        self._end = 0
        self._scales()
        names = tuple(t.name for t in self.schema.targets)
        self.frames, self.intervals = self._frames(names), self._intervals()
        self.counters = counters(self.kind, names)
        self.counts = self._group("optimizer", "steps", self.counters, (), "int64")
        self.usual = self._add("optimizer", "usual_lengths", "float64", (4,))
        self.outcomes = self._add("metrics", "outcomes", "int64", (len(prequential.OUTCOMES),))
        self.scores = self._scores("prequential")
        self.held_out = self._scores("held_out") if recipe.learning.holdout > 0 else {}
        self.drift: dict[str, list[Entry]] = {}
        """By kind: what is known of drift, see drift_tensors.py."""
        for kind, of, dtype, shape in drift_tensors.tensors(self.schema, recipe.drift):
            name = f"drift/{kind}" + (f"/{escape(of)}" if of is not None else "")
            self.drift.setdefault(kind, []).append(self._add("metrics", name, dtype, shape))
        self.plan = Plan(recipe, self.kind)
        moved = rate.Remembered(recipe, self.kind.size)
        holders: list[Remembers] = [self.kind, self.plan, moved]
        self.extras: dict[str, Extra] = {e.name: e for each in holders for e in each.extras}
        """What kind and strategies remember beside theta, by name."""
        self.small_bytes = self._extras()
        self.theta_size = self.kind.size
        self.theta = self._flat("theta")
        self.slots = [self._flat(slot) for slot in SLOTS[recipe.optimizer]]
        flats = [flat for each in holders for flat in each.flats]
        self.flats: dict[str, int] = {one.name: self._flat(one.name) for one in flats}
        """Where the arrays beside theta that have its shape begin, by name."""
        self.copied: dict[tuple[str, str], tuple[str, bool]] = {}
        """Part and name of each tensor that starts as a weight; the weight's name, and whether as it
        is: else as it was before the first event."""
        self._name_weights(flats)
        self.own = self.entries
        """All but what is a challenger's own."""
        self.rivals = self._place_rivals()
        """By the name of the challenger."""
        self.nbytes = self._end
        self.by_name = {(e.part, e.name): e for e in self.entries}

    @property
    def served(self) -> int:
        """Where the weights begin that predictions come from: theta, or its average."""
        return self.flats["average"] if self.plan.serves_average else self.theta

    @property
    def arrays(self) -> list[int]:
        """Where each array of theta's shape begins, theta first."""
        return [self.theta, *self.slots, *self.flats.values()]

    def _scales(self) -> None:
        """Place all that rows are scaled by at the start of the image, without gaps."""
        schema = self.schema
        for block in schema.dense:
            shape = (3,) if block.kind == "number" else (block.width, 3)
            self._add("weights", f"normaliser/{escape(block.name)}", "float64", shape)
        kept = [block.name for block in schema.dense if block.scale in {"quantile", "fit"}]
        self._group("weights", "quantiles", tuple(kept), (QUANTILES,))
        named = [bag for bag in schema.bags if bag.names]
        for bag in named:
            self._add("weights", f"names/{escape(bag.name)}", "float64", (bag.names, 3))
        self.scales_bytes = self._end
        """Bytes at the start of the image that rows are scaled by."""
        rows = (schema.values, 3), (len(kept), QUANTILES), (sum(bag.names for bag in named), 3)
        ends = np.cumsum([math.prod(shape) for shape in rows]).tolist()
        starts = [0, *ends[:-1]]
        self._scale_views = list(
            zip(starts, ends, rows, [np.empty((0, *shape[1:])) for shape in rows], strict=True)
        )

    def scales(self, image: NDArray[np.uint8]) -> Scales:
        """Return the views that rows are scaled by; `image` may be just its first scales_bytes."""
        flat = image[: self.scales_bytes].view(np.float64)
        # what is empty costs an API as much as what is not
        views = (
            flat[a:b].reshape(shape) if a < b else none for a, b, shape, none in self._scale_views
        )
        return Scales(*views)

    def _frames(self, names: tuple[str, ...]) -> int:
        return self._group("weights", "frame", names, (5,))

    def _intervals(self) -> dict[str, Entry]:
        """Place what is known of how far off each number target is."""
        numbers = (t.name for t in self.schema.targets if t.kind == "number")
        shape = (intervals.SIZE,)
        return {
            name: self._add("weights", f"intervals/{escape(name)}", "float64", shape)
            for name in numbers
        }

    def _scores(self, kind: str) -> dict[str, Entry]:
        """Place one vector of scores per target."""
        return {
            target.name: self._add(
                "metrics",
                f"{kind}/{escape(target.name)}",
                "float64",
                (prequential.size_of(target),),
            )
            for target in self.schema.targets
        }

    def _name_weights(self, flats: list[Flat]) -> None:
        self.as_weights = tuple(one.name for one in flats if one.starts == "weights")
        """Of those arrays, the ones that start as the weights are."""
        rule = self.recipe.optimizer
        for one in self.kind.parameters:
            first = self.kind.places[one.name]
            self._alias("weights", one.name, one.shape, self.theta, first)
            for slot, start in zip(SLOTS[rule], self.slots, strict=True):
                self._alias("optimizer", f"{rule}/{slot}/{one.name}", one.shape, start, first)
            for flat in flats:
                start = self.flats[flat.name]
                self._alias(flat.part, f"{flat.name}/{one.name}", one.shape, start, first)
                if flat.starts != "zero":
                    as_is = flat.starts == "weights"
                    self.copied[flat.part, f"{flat.name}/{one.name}"] = (one.name, as_is)

    def _extras(self) -> int:
        """Place them, the quiet ones last; return where those begin."""
        for one in self.extras.values():
            if not one.quiet:
                self._add(one.part, one.name, one.dtype, one.shape)
        self._align()
        small_bytes = self._end
        for one in self.extras.values():
            if one.quiet:
                self._add(one.part, one.name, one.dtype, one.shape)
        return small_bytes

    def _place_rivals(self) -> dict[str, Rival]:
        """Place what is of all models together, then each challenger."""
        challengers, found, start = self.recipe.challengers, {}, self._end
        if challengers:
            for tensor in rivals.tensors(self.schema.targets, list(challengers)):
                self._add(*tensor)
            self._align()
        self.shared = (start, self._end)
        """Where the bytes begin and end that are of all models together."""
        self.own = list(self.entries)
        for name, recipe in challengers.items():
            with rivals.told_of(name):
                layout, at = Layout(recipe), self._end
            self.entries += [
                Entry(e.part, rivals.prefix(name) + e.name, e.dtype, e.shape, at + e.offset)
                for e in layout.entries
            ]
            found[name] = Rival(layout, at)
            self._end += layout.nbytes
        return found

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
