"""The fields of an event, in the one order that everything else uses. Knows no bytes.

Names are sorted, so the order of the YAML does not matter. A name may be any text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from service.settings import (
    BinaryTarget,
    BooleanFeature,
    CategoriesFeature,
    CategoryFeature,
    EventSettings,
    EventTime,
    Feature,
    MapFeature,
    MulticlassTarget,
    NumberFeature,
    NumberTarget,
    TextFeature,
    TimeFeature,
    VectorFeature,
)

DenseKind = Literal["number", "boolean", "text", "time", "vector"]
TableKind = Literal["category", "hour", "weekday", "cross"]
BagKind = Literal["categories", "map", "text"]
TargetKind = Literal["binary", "multiclass", "number"]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to learn. `outputs` scores start at column `start` of a score matrix."""

    name: str
    kind: TargetKind
    start: int
    outputs: int
    classes: tuple[str, ...] = ()
    positive: str | tuple[str, ...] | None = None
    """The label, or the labels, that mean yes; None: those that say so everywhere."""
    scaled: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Dense:
    """A block of dense inputs of one field: `width` values, then one flag for "unknown".

    Values lie in columns `at` .. `at + width` of Columns.numbers, inputs in columns `start` ..
    `start + width + 1` of Rows.x.
    """

    name: str
    kind: DenseKind
    scale: str
    width: int
    at: int
    start: int


@dataclass(frozen=True, slots=True)
class Table:
    """A field that picks one row of its table of weights: Columns.codes, Rows.ids.

    A cross has no code in an event: it is made of the fields named in `members`.
    """

    name: str
    kind: TableKind
    buckets: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bag:
    """A field that picks any number of rows of its table, each with a value."""

    name: str
    kind: BagKind
    buckets: int
    names: int = 0
    """Slots for the scales of a map's numbers."""
    pieces: bool = False
    """Whether some entries are pieces of words, of half the value of others."""


CROSS_BUCKETS = 262_144
_CYCLES = 4  # sine and cosine of the hour and of the weekday
_FIGURES = 4  # log length, share of digits, share of capitals, log words


class Schema:
    """What the settings say about an event, resolved.

    dense, tables and bags are each sorted by kind, then by name: numbers and categories first, in
    the order of their names, then the others.
    """

    def __init__(self, event: EventSettings) -> None:
        self.specs: dict[str, Feature] = dict(sorted(event.features.items()))
        self.dense: tuple[Dense, ...] = tuple(_dense(self.specs))
        self.tables: tuple[Table, ...] = tuple(_tables(self.specs, event.interactions))
        self.bags: tuple[Bag, ...] = tuple(_bags(self.specs))
        self.paths: dict[str, tuple[str, ...]] = {
            name: spec.path or (name,) for name, spec in self.specs.items()
        }
        """Keys from the outside in, by field."""
        self.rest: str | None = next(
            (n for n, f in self.specs.items() if isinstance(f, MapFeature) and f.rest), None
        )
        """The map that takes every field that nothing else names."""
        self.id: str | None = event.id
        self.time: EventTime | None = event.time
        self.targets: tuple[Target, ...] = tuple(self._targets(event))
        self.outputs: int = sum(t.outputs for t in self.targets)

    @property
    def values(self) -> int:
        """Columns of Columns.numbers."""
        return sum(d.width for d in self.dense)

    @property
    def inputs(self) -> int:
        """Columns of Rows.x."""
        return sum(d.width + 1 for d in self.dense)

    @property
    def coded(self) -> int:
        """Columns of Columns.codes: tables that have a code in the event. They come first."""
        return sum(t.kind != "cross" for t in self.tables)

    def _targets(self, event: EventSettings) -> list[Target]:
        targets: list[Target] = []
        start = 0
        for name, spec in sorted(event.targets.items()):
            if isinstance(spec, BinaryTarget):
                target = Target(
                    name, "binary", start, 1, positive=spec.positive, weight=spec.weight
                )
            elif isinstance(spec, MulticlassTarget):
                classes = tuple(spec.classes)
                target = Target(
                    name, "multiclass", start, len(classes), classes=classes, weight=spec.weight
                )
            else:
                target = Target(
                    name, "number", start, 1, scaled=self._scales(spec), weight=spec.weight
                )
            targets.append(target)
            start += target.outputs
        return targets

    def _scales(self, spec: NumberTarget) -> bool:
        # A target that does not say how it is scaled follows the features: where every number
        # is taken as it is, so is the target (the textbook loop); otherwise it is standardised.
        if spec.scale is not None:
            return spec.scale == "auto"
        scales = [d.scale for d in self.dense if d.kind in {"number", "vector"}]
        return not scales or any(scale != "none" for scale in scales)

    @cached_property
    def features(self) -> frozenset[str]:
        """Names of the fields that a prediction uses."""
        return frozenset(self.specs)

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of all fields that mean something to this model."""
        others = {self.id, self.time.field if self.time else None} - {None}
        return self.features | {t.name for t in self.targets} | {n for n in others if n}


def _dense(specs: dict[str, Feature]) -> Iterator[Dense]:
    at = start = 0
    blocks: list[tuple[str, DenseKind, str, int]] = []
    for name, spec in specs.items():
        if isinstance(spec, NumberFeature):
            blocks.append((name, "number", spec.scale, 1))
        elif isinstance(spec, BooleanFeature):
            blocks.append((name, "boolean", "none", 1))
        elif isinstance(spec, VectorFeature):
            blocks.append((name, "vector", spec.scale, spec.size))
        elif isinstance(spec, TimeFeature):
            blocks.append((name, "time", "none", _CYCLES))
        elif isinstance(spec, TextFeature):
            blocks.append((name, "text", "auto", _FIGURES))
    for name, kind, scale, width in sorted(blocks, key=lambda b: (b[1] != "number", b[1], b[0])):
        yield Dense(name, kind, scale, width, at, start)
        at += width
        start += width + 1


def _tables(specs: dict[str, Feature], interactions: Sequence[tuple[str, ...]]) -> Iterator[Table]:
    for name, spec in specs.items():
        if isinstance(spec, CategoryFeature):
            yield Table(name, "category", spec.buckets)
    for name, spec in specs.items():
        if isinstance(spec, TimeFeature):
            yield Table(name, "hour", 32)
            yield Table(name, "weekday", 8)
    for members in sorted({tuple(sorted(each)) for each in interactions}):
        yield Table("*".join(members), "cross", CROSS_BUCKETS, members)


def _bags(specs: dict[str, Feature]) -> Iterator[Bag]:
    for name, spec in specs.items():
        if isinstance(spec, CategoriesFeature):
            yield Bag(name, "categories", spec.buckets)
    for name, spec in specs.items():
        if isinstance(spec, MapFeature):
            yield Bag(name, "map", spec.buckets, spec.names)
    for name, spec in specs.items():
        if isinstance(spec, TextFeature):
            yield Bag(name, "text", spec.buckets, pieces=spec.characters is not None)
