"""The kinds of models: one file each, and the list of them. Nobody else asks which kind it is.

A new kind is a class with the shape of seam.Kind, in a file of its own, and a line in KINDS. What
is no name in KINDS is a class of the user's own (module.py), which alone makes scoring need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from service.settings import Settings

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
    """Return the recipe inside the settings. For each module of the user's own, its code is run;
    BadSettings where that fails."""
    s = settings
    recipe = Recipe(s.name, s.event, s.model, s.learning, s.drift)
    challengers = {
        name: recipe.challenger(one.model, one.learns(s.learning))
        for name, one in s.challengers.items()
    }
    recipe = recipe.beside(challengers, s.promote)
    for each in recipe.models:
        if each.model.is_module:
            each.module = _code_of(each)
    return recipe


def _code_of(recipe: Recipe) -> ModuleCode:
    from service.model.kinds import module_code
    from service.model.kinds.module import Module  # torch

    module_code.trust(recipe.kind)
    return ModuleCode(module_code.source_of(recipe.kind), Module(recipe).shapes())
