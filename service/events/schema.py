"""The fields of an event, in the one order that everything else uses. Knows no bytes.

Names are sorted, so the order of the YAML does not matter. A name may be any text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from service.settings import (
    BinaryTarget,
    CategoryFeature,
    EventSettings,
    EventTime,
    MulticlassTarget,
    NumberFeature,
    NumberTarget,
)

TargetKind = Literal["binary", "multiclass", "number"]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to learn. `outputs` scores start at column `start` of a score matrix."""

    name: str
    kind: TargetKind
    start: int
    outputs: int
    classes: tuple[str, ...] = ()
    positive: str | None = None
    scaled: bool = False


class Schema:
    """What the settings say about an event, resolved."""

    def __init__(self, event: EventSettings) -> None:
        features = sorted(event.features.items())
        self.numbers: tuple[str, ...] = tuple(
            name for name, f in features if isinstance(f, NumberFeature)
        )
        self.scaled: tuple[bool, ...] = tuple(
            f.scale == "auto" for _, f in features if isinstance(f, NumberFeature)
        )
        self.categories: tuple[str, ...] = tuple(
            name for name, f in features if isinstance(f, CategoryFeature)
        )
        self.buckets: tuple[int, ...] = tuple(
            f.buckets for _, f in features if isinstance(f, CategoryFeature)
        )
        self.id: str | None = event.id
        self.time: EventTime | None = event.time
        self.targets: tuple[Target, ...] = tuple(self._targets(event))
        self.outputs: int = sum(t.outputs for t in self.targets)

    def _targets(self, event: EventSettings) -> list[Target]:
        targets: list[Target] = []
        start = 0
        for name, spec in sorted(event.targets.items()):
            if isinstance(spec, BinaryTarget):
                target = Target(name, "binary", start, 1, positive=spec.positive)
            elif isinstance(spec, MulticlassTarget):
                classes = tuple(spec.classes)
                target = Target(name, "multiclass", start, len(classes), classes=classes)
            else:
                target = Target(name, "number", start, 1, scaled=self._scales(spec))
            targets.append(target)
            start += target.outputs
        return targets

    def _scales(self, spec: NumberTarget) -> bool:
        # A target that does not say how it is scaled follows the features: where every number
        # is taken as it is, so is the target (the textbook loop); otherwise it is standardised.
        if spec.scale is not None:
            return spec.scale == "auto"
        return not self.scaled or any(self.scaled)

    @cached_property
    def features(self) -> frozenset[str]:
        """Names of the fields that a prediction uses."""
        return frozenset(self.numbers) | frozenset(self.categories)

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of all fields that mean something to this model."""
        others = {self.id, self.time.field if self.time else None} - {None}
        return self.features | {t.name for t in self.targets} | {n for n in others if n}
