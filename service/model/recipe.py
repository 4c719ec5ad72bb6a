"""The settings that decide what a row and a weight are. A recipe travels with the weights.

Two learners with the same recipe, the same versions of the libraries and the same cuts have the
same bits. Whatever else the settings hold (addresses, directories, cut sizes) is not in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import msgspec

from service.errors import LayoutChanged
from service.events.schema import Schema
from service.settings import (
    DriftSettings,
    EventSettings,
    LearningSettings,
    ModelSettings,
    PromoteSettings,
)

LAYOUT = 5
"""Number of the arrangement of tensors and their meaning; grows when either changes.

2 has two more outcomes at the end, the usual lengths of inputs and slopes, and the cap on them.
3 has every kind of field, weights of targets, and what is known of drift; what 2 had means the same.
4 has, of each number target, how far off its predictions were; what 3 had means the same.
5 has experts that remember in other shapes; what 4 had of other kinds means the same.
"""
_READABLE = {1, 2, 3, 4, 5}
"""Layouts whose tensors are taken over name by name."""
AUTO = "mixture"
"""What `model.kind: auto` means in this release. A recipe says what it is, whatever the next means."""
_AUTO_WAS = "linear"
"""What it meant to the releases that wrote `auto` into a recipe."""
_NOT_IN_WEIGHTS = {
    "batch_rows", "linger_ms", "frozen_after", "threads", "shed", "shed_after_seconds"
}  # fmt: skip
_IN_WEIGHTS = {"raise_rates", "reset_head"}


class ModuleCode(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user's module was when the recipe was made: its code is not in the settings."""

    source: str
    """sha256 of the file that holds the class."""
    shapes: dict[str, list[int]]
    """Of every weight."""
    buffers: dict[str, str] = {}
    """Of an expert of a mixture: the type of each that is a kept buffer."""


class Recipe:
    """Event fields, model and learning rule, as one value with a canonical JSON form."""

    def __init__(
        self,
        name: str,
        event: EventSettings,
        model: ModelSettings,
        learning: LearningSettings,
        drift: DriftSettings | None = None,
        module: ModuleCode | None = None,
    ) -> None:
        self.name = name
        self.module = module
        self.modules: dict[str, ModuleCode] = {}
        """Of the experts of a mixture that are modules of the user's own, by their names."""
        self.from_file = False
        """The weights before the first event came from a file: the state keeps them."""
        self.event = event
        self.model = model.model_copy(update={"kind": AUTO}) if model.kind == "auto" else model
        self.learning = learning
        self.drift = drift or DriftSettings()
        self.schema = Schema(event)
        self.challengers: dict[str, Recipe] = {}
        """Other models of the same events, by name, in the order of their names."""
        self.promote: PromoteSettings | None = None
        """When one of them takes over by itself."""

    def begun(self, *, from_file: bool) -> Recipe:
        """Return the recipe of a state whose first weights came from a file, or did not."""
        recipe = copy(self)
        recipe.from_file = from_file
        return recipe

    def of_module(self, name: str) -> Recipe:
        """Return the recipe by which an expert that is a module of the user's own learns alone."""
        entry = self.model.modules[name]
        return Recipe(
            self.name,
            self.event,
            ModelSettings(kind=entry.kind, arguments=entry.arguments),
            self.learning.model_copy(update=entry.steps),
            self.drift,
            self.modules.get(name),
        )

    @property
    def codes(self) -> dict[str, ModuleCode]:
        """What each class of the user's own was, by its reference."""
        if self.module is not None:
            return {self.kind: self.module}
        entries = self.model.modules
        return {entries[name].kind: code for name, code in self.modules.items()}

    def beside(
        self, challengers: Mapping[str, Recipe], promote: PromoteSettings | None = None
    ) -> Recipe:
        """Return the recipe with these challengers, each from `challenger`."""
        recipe = copy(self)
        recipe.challengers = {name: challengers[name] for name in sorted(challengers)}
        recipe.promote = promote if challengers else None
        return recipe

    def challenger(
        self, model: ModelSettings, learning: LearningSettings, module: ModuleCode | None = None
    ) -> Recipe:
        """Return the recipe of another model of the same events. Drift is watched, and answered, by
        the main one alone."""
        still = DriftSettings(losses=False, inputs=False)
        return Recipe(self.name, self.event, model, learning, still, module)

    @property
    def models(self) -> list[Recipe]:
        """The main model's, then those of its challengers."""
        return [self, *self.challengers.values()]

    @property
    def kind(self) -> str:
        """Name of the kind of model that is built, never `auto`."""
        return self.model.kind

    @property
    def optimizer(self) -> str:
        """Name of the rule with its state, as state is addressed: momentum has a buffer, plain
        sgd has none. Experts take their own steps: none of it is for them."""
        if self.model.is_mixture:
            return "sgd"
        if self.learning.optimizer == "sgd" and self.learning.momentum > 0:
            return "momentum"
        return self.learning.optimizer

    def to_json(self) -> bytes:
        """Return the canonical bytes: equal recipes give equal bytes."""
        value: dict[str, object] = {
            "layout": LAYOUT,
            "name": self.name,
            "event": self.event.model_dump(mode="json"),
            "drift": self._drift(),
            **self._model(),
        }
        if self.from_file:
            value["from_file"] = True
        if self.challengers:
            value["challengers"] = {n: one._model() for n, one in self.challengers.items()}
        if self.promote is not None:
            value["promote"] = self.promote.model_dump(mode="json")
        return msgspec.json.encode(value, order="sorted")

    def _model(self) -> dict[str, object]:
        """Return what is of one model alone."""
        of = self.learning
        own = self.model.references
        in_steps = own or of.replay or of.agem or of.lookahead
        unsaid = _NOT_IN_WEIGHTS if in_steps else _NOT_IN_WEIGHTS | {"step_rows"}
        value: dict[str, object] = {
            "model": self.model.model_dump(mode="json", exclude={"pretrained"}),
            "learning": self.learning.model_dump(mode="json", exclude=unsaid),
        }
        if self.module is not None:
            value["module"] = msgspec.to_builtins(self.module)
        if self.modules:
            value["modules"] = msgspec.to_builtins(self.modules)
        return value

    def _drift(self) -> dict[str, object]:
        """Return what changes the state: not how people are told."""
        value = self.drift.model_dump(mode="json", exclude={"webhook"})
        value["react"] = sorted(set(value["react"]) & _IN_WEIGHTS)
        value["react_to"] = sorted(value["react_to"])
        return value

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
        if value["model"]["kind"] == "auto":
            value["model"]["kind"] = _AUTO_WAS
        drift = value.get("drift", {"losses": False, "inputs": False})  # before there was any
        recipe = cls(
            value["name"],
            EventSettings.model_validate(value["event"]),
            ModelSettings.model_validate(value["model"]),
            LearningSettings.model_validate(value["learning"]),
            DriftSettings.model_validate(drift),
            _module(value),
        )
        recipe.modules = _modules(value)
        challengers = {}
        for name, one in value.get("challengers", {}).items():
            challengers[name] = recipe.challenger(
                ModelSettings.model_validate(one["model"]),
                LearningSettings.model_validate(one["learning"]),
                _module(one),
            )
            challengers[name].modules = _modules(one)
        promote = value.get("promote")
        recipe = recipe.beside(challengers, promote and PromoteSettings.model_validate(promote))
        return recipe.begun(from_file=value.get("from_file", False))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())


def _modules(value: dict[str, object]) -> dict[str, ModuleCode]:
    return msgspec.convert(value.get("modules", {}), dict[str, ModuleCode])


def _module(value: dict[str, object]) -> ModuleCode | None:
    return msgspec.convert(value["module"], ModuleCode) if "module" in value else None
