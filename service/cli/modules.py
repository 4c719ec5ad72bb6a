"""Which models of the settings are modules of the user's own: the main one, and challengers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service._settings.challengers import MAIN

if TYPE_CHECKING:
    from service.settings import Settings


def alone(found: Settings) -> dict[str, Settings]:
    """Return the settings of each model whose code is the user's, by name, as if it were alone."""
    plain = found.model_copy(update={"challengers": {}, "promote": None})
    each = {MAIN: plain}
    for name, one in found.challengers.items():
        own = {"model": one.model, "learning": one.learns(found.learning)}
        each[name] = plain.model_copy(update=own)
    return {name: one for name, one in each.items() if one.model.is_module}


def references(found: Settings) -> list[str]:
    """Return the classes that the settings name, as package.module:Class, each once."""
    return list(dict.fromkeys(one.model.kind for one in alone(found).values()))


def place(name: str) -> str:
    """Return where in the settings this model's kind stands."""
    return "model.kind" if name == MAIN else f"challengers.{name}.kind"
