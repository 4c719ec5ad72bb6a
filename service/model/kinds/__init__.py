"""The kinds of models: one file each, and the list of them. Nobody else asks which kind it is.

A new kind is a class with the shape of seam.Kind, in a file of its own, and a line in KINDS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.model.kinds.fm import Fm
from service.model.kinds.linear import Linear
from service.model.kinds.mlp import Mlp
from service.model.kinds.rls import Rls
from service.model.kinds.seam import Kind
from service.model.kinds.svm import Svm

if TYPE_CHECKING:
    from service.model.recipe import Recipe

KINDS: dict[str, type[Kind]] = {"linear": Linear, "svm": Svm, "mlp": Mlp, "fm": Fm, "rls": Rls}
"""By the name that stands in model.kind."""


def kind_of(recipe: Recipe) -> Kind:
    """Return the kind of model that a recipe asks for."""
    return KINDS[recipe.kind](recipe)
