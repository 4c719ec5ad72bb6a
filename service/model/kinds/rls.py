"""Recursive least squares with forgetting: for numbers, the exact answer at every event.

After each event the weights are those of the least squares over all events so far, where an event
counts model.forgetting less with each later one, and a ridge of 1. So there is no learning rate.
The inputs are the bias, the dense inputs and, where there are tables or bags, what model.width
leaves: names are hashed into those (Weinberger et al. 2009), with a sign each, so that names that
meet cancel out on average. Time and memory grow with the square of the inputs.

Names of weights: those of linear for bias and dense fields, and head/<target>/hashed [H, 1]. The
inverse of the inputs' second moments is covariance/<target> [W, W], float64, beside the weights. It
has no gradient that would say how it learns: `gradient` raises TypeError.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import TargetKind
from service.model.kinds import rls_passes
from service.model.kinds.compiled import Compiled, Passes, target_table
from service.model.kinds.linear import linear_parameters
from service.model.kinds.seam import (
    Extra,
    Parameter,
    escape,
    head_of,
    label_of,
    sparse_of,
)

if TYPE_CHECKING:
    from service.model.recipe import Recipe


class Tables(NamedTuple):
    """Where the weights lie. Legend: T targets, C tables, B bags."""

    targets: NDArray[np.int64]
    """[T, 4], see compiled.target_table."""
    dense: NDArray[np.int64]
    """[T]: the bias of each target; its dense weights follow."""
    hashed: NDArray[np.int64]
    """[T]: its hashed weights."""
    sizes: NDArray[np.int64]
    """[2]: H hashed inputs; W inputs in all."""
    salts: NDArray[np.int64]
    """[C + B]: what the rows of each table, then of each bag, are hashed with."""
    forgetting: NDArray[np.float64]
    """[1]"""


class Rls(Compiled):
    """Recursive least squares."""

    name: ClassVar[str] = "rls"
    shaped_by: ClassVar[tuple[str, ...]] = ("width",)
    learns: ClassVar[tuple[TargetKind, ...]] = ("number",)
    differentiable: ClassVar[bool] = False
    passes: ClassVar[Passes] = Passes(
        Tables, rls_passes.score, rls_passes.learn, rls_passes.no_gradient
    )

    def __init__(self, recipe: Recipe) -> None:
        schema = recipe.schema
        left = recipe.model.width - 1 - schema.inputs
        self.hashed = max(left, 1) if sparse_of(schema) else 0
        """Inputs that names are hashed into; the settings see to it that one is left."""
        self.width = 1 + schema.inputs + self.hashed
        super().__init__(recipe)

    def parameters_of(self) -> list[Parameter]:
        """Return bias and dense weights as those of linear, and the hashed ones."""
        found = [one for one in linear_parameters(self.recipe.schema) if not one.sparse]
        if self.hashed:
            for target in self.recipe.schema.targets:
                name = f"{head_of(target.name)}hashed"
                found.append(Parameter(name, (self.hashed, 1), target.name))
        return found

    def extras_of(self) -> list[Extra]:
        """Return a matrix for each target. Its name tells which inputs it is of: under other
        fields it starts anew, and the weights go on from where they are."""
        schema = self.recipe.schema
        inputs = [label_of(block) for block in schema.dense] + [str(self.hashed)]
        mark = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:8]
        return [
            Extra(
                "optimizer", f"covariance/{escape(target.name)}/{mark}", "float64",
                (self.width, self.width), np.eye(self.width),
            )
            for target in schema.targets
        ]  # fmt: skip

    def tables_of(self) -> Tables:
        """Return where the weights lie."""
        schema, places = self.recipe.schema, self.places
        heads = [head_of(t.name) for t in schema.targets]
        salts = [
            int.from_bytes(hashlib.sha256(label_of(field).encode()).digest()[:8], "little")
            for field in sparse_of(schema)
        ]
        return Tables(
            target_table(schema),
            np.array([places[f"{head}bias"] for head in heads], dtype=np.int64),
            np.array([places.get(f"{head}hashed", 0) for head in heads], dtype=np.int64),
            np.array([self.hashed, self.width], dtype=np.int64),
            np.array(salts, dtype=np.uint64).view(np.int64),
            np.array([self.recipe.model.forgetting]),
        )
