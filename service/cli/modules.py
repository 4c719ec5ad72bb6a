"""Which models of the settings are modules of the user's own: the main one, and challengers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
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
    return {name: one for name, one in each.items() if one.model.references}


def references(found: Settings) -> list[str]:
    """Return the classes that the settings name, as package.module:Class, each once."""
    return list(dict.fromkeys(ref for one in alone(found).values() for ref in one.model.references))


@contextlib.contextmanager
def aside(*found: Settings) -> Iterator[None]:
    """Have what modules of these settings print go to stderr: stdout is for the answer."""
    if any(references(one) for one in found):
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def place(name: str, found: Settings) -> str:
    """Return where in the settings the modules of this model are named."""
    return within(name, "model.kind" if found.model.is_module else "model.experts")


def within(name: str, path: str) -> str:
    """Return where a place in the section `model` of a model alone is in the settings of all."""
    return path if name == MAIN else path.replace("model.", f"challengers.{name}.", 1)
