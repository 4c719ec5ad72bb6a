"""The kinds of models: one file each, and the list of them. Nobody else asks which kind it is.

A new kind is a class with the shape of seam.Kind, in a file of its own, and a line in KINDS. What
is no name in KINDS is a class of the user's own (module.py), which alone makes scoring need torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from service.errors import BadSettings
from service.model import rivals
from service.model.experts import EXPERTS
from service.model.kinds.fm import Fm
from service.model.kinds.linear import Linear
from service.model.kinds.mixture import Mixture, alone
from service.model.kinds.mlp import Mlp
from service.model.kinds.rls import Rls
from service.model.kinds.seam import Kind
from service.model.kinds.svm import Svm
from service.model.recipe import ModuleCode, Recipe

if TYPE_CHECKING:
    from service.settings import ModelSettings, Settings

KINDS: dict[str, type[Kind]] = {
    "mixture": Mixture,
    "linear": Linear,
    "svm": Svm,
    "mlp": Mlp,
    "fm": Fm,
    "rls": Rls,
    **{name: alone(name) for name in EXPERTS},
}
"""By the name that stands in model.kind."""


def kind_of(recipe: Recipe) -> Kind:
    """Return the kind of model that a recipe asks for."""
    return class_of(recipe.kind)(recipe)


def class_of(kind: str) -> type[Kind]:
    """Return the class behind what stands in model.kind."""
    if kind in KINDS:
        return KINDS[kind]
    from service.model.kinds.module import Module

    return Module


def recipe_of(settings: Settings) -> Recipe:
    """Return the recipe inside the settings. For modules of the user's own, their code is run;
    BadSettings where that fails."""
    s = settings
    recipe = Recipe(s.name, s.event, s.model, s.learning, s.drift)
    challengers = {
        name: recipe.challenger(one.model, one.learns(s.learning))
        for name, one in s.challengers.items()
    }
    recipe = recipe.beside(challengers, s.promote)
    if recipe.model.references:
        _run_code(recipe)
    for name, each in recipe.challengers.items():
        if each.model.references:
            with rivals.told_of(name):
                _run_code(each)
    return recipe


def _run_code(recipe: Recipe) -> None:
    """Note in the recipe what the modules of the user's own are."""
    from service.model.kinds import module_code
    from service.model.kinds.guest_code import code_of  # torch
    from service.model.kinds.module import Module

    trust(recipe.model)
    if recipe.model.is_module:
        recipe.module = ModuleCode(module_code.source_of(recipe.kind), Module(recipe).shapes())
        return
    for name, entry in recipe.model.modules.items():
        with told_of(entry.kind):
            source = module_code.source_of(entry.kind)
            recipe.modules[name] = code_of(recipe.of_module(name), source)


def trust(model: ModelSettings) -> None:
    """Remember the classes that the operator's settings name: only those are ever imported."""
    from service.model.kinds import module_code

    for reference in model.references:
        module_code.trust(reference)


@contextlib.contextmanager
def told_of(reference: str) -> Iterator[None]:
    """Have what is refused say which of several modules it is about."""
    try:
        yield
    except BadSettings as error:
        raise BadSettings(
            [replace(p, path="model.experts", msg=f"{reference}: {p.msg}") for p in error.problems]
        ) from None
