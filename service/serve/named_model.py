"""The one model of this service, by the name and version that a path gives. Knows no route."""

from __future__ import annotations

from service.model.recipe import Recipe
from service.serve.live_model import LiveModel
from service.serve.problems import Refused
from service.serve.served import Served

ALIASES = frozenset({"live", "latest"})
"""Versions by another name: the one that is served."""
_LONGEST_SHOWN = 64


def check_name(recipe: Recipe, name: str) -> None:
    """Refused (NOT_FOUND) unless this is the model's name."""
    if name != recipe.name:
        raise Refused("NOT_FOUND", f"there is no model {_shown(name)}; it is {recipe.name!r} here")


def served_now(live: LiveModel) -> Served:
    """Return the version that answers at this moment; Refused (NOT_READY) without one.

    What another worker has just answered from is seen here too: the slot itself is looked at.
    """
    _, served = live.read(lambda _: None)
    return served


def check_version(served: Served, version: str) -> None:
    """Refused (NOT_FOUND) unless this is the version that is served."""
    if version not in ALIASES and version != str(served.version):
        detail = f"version {_shown(version)} is not served; {served.version} is"
        raise Refused("NOT_FOUND", f"{detail} (live and latest always name the one that is)")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "...")
