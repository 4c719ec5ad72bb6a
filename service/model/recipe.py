"""The settings that decide what a row and a weight are. A recipe travels with the weights.

Two learners with the same recipe, the same versions of the libraries and the same cuts have the
same bits. Whatever else the settings hold (addresses, directories, cut sizes) is not in here.
"""

from __future__ import annotations

import msgspec

from service.errors import LayoutChanged
from service.events.schema import Schema
from service.settings import EventSettings, LearningSettings, ModelSettings, Settings

LAYOUT = 2
"""Number of the arrangement of tensors and their meaning; grows when either changes.

2 has two more outcomes at the end, the usual lengths of inputs and slopes, and the cap on them.
"""
_READABLE = {1, 2}
"""Layouts whose tensors are taken over name by name."""
_NOT_IN_WEIGHTS = {"batch_rows", "linger_ms"}


class Recipe:
    """Event fields, model and learning rule, as one value with a canonical JSON form."""

    def __init__(
        self, name: str, event: EventSettings, model: ModelSettings, learning: LearningSettings
    ) -> None:
        self.name = name
        self.event = event
        self.model = model
        self.learning = learning
        self.schema = Schema(event)

    @classmethod
    def of(cls, settings: Settings) -> Recipe:
        """Return the recipe inside the settings."""
        return cls(settings.name, settings.event, settings.model, settings.learning)

    @property
    def kind(self) -> str:
        """Name of the kind of model that is built; `auto` is the linear one in this release."""
        return "linear" if self.model.kind == "auto" else self.model.kind

    @property
    def optimizer(self) -> str:
        """Name of the rule with its state, as state is addressed: momentum has a buffer, plain
        sgd has none."""
        if self.learning.optimizer == "sgd" and self.learning.momentum > 0:
            return "momentum"
        return self.learning.optimizer

    def to_json(self) -> bytes:
        """Return the canonical bytes: equal recipes give equal bytes."""
        learning = self.learning.model_dump(mode="json", exclude=_NOT_IN_WEIGHTS)
        value = {
            "layout": LAYOUT,
            "name": self.name,
            "event": self.event.model_dump(mode="json"),
            "model": self.model.model_dump(mode="json"),
            "learning": learning,
        }
        return msgspec.json.encode(value, order="sorted")

    @classmethod
    def from_json(cls, raw: bytes) -> Recipe:
        """Return the recipe that `to_json` wrote."""
        value = msgspec.json.decode(raw)
        layout = value.get("layout")
        if layout not in _READABLE:
            raise LayoutChanged(
                f"the state is laid out as number {layout}, this release reads 1 to {LAYOUT}; "
                "use the release that wrote it, or start anew in another state directory"
            )
        if layout == 1:
            value["learning"]["cap"] = None  # it had none
        return cls(
            value["name"],
            EventSettings.model_validate(value["event"]),
            ModelSettings.model_validate(value["model"]),
            LearningSettings.model_validate(value["learning"]),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())
