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
from service.model.kinds.seam import Extra, Extras, Kind, Parameter, sparse_of
from service.model.names import escape, head_of, label_of

if TYPE_CHECKING:
    from service.model.recipe import Recipe


RESTARTS = "covariance_restarts/"
"""How the names begin of how often rounding made a matrix useless, so that it started anew."""


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
        """Return a matrix for each target, and how often it had to start anew. The name of a matrix
        tells which inputs it is of; under other fields, see `inherit`."""
        schema = self.recipe.schema
        inputs = [label_of(block) for block in schema.dense] + [str(self.hashed)]
        mark = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:8]
        names = [escape(target.name) for target in schema.targets]
        return [
            *(
                Extra(
                    "optimizer", f"covariance/{name}/{mark}", "float64", (self.width, self.width),
                    np.eye(self.width), target.name,
                )
                for name, target in zip(names, schema.targets, strict=True)
            ),
            *(Extra("optimizer", f"{RESTARTS}{name}", "float64", (1, 1)) for name in names),
        ]  # fmt: skip

    @classmethod
    def misfits(cls, old: Recipe, new: Recipe) -> list[str]:
        """Return why hashed weights cannot go on: names lie elsewhere among more or fewer."""
        before, after = cls(old), cls(new)
        if before.hashed in {0, after.hashed} or after.hashed == 0:
            return []
        needed = 1 + new.schema.inputs + before.hashed
        return [
            f"model.width: names were hashed into {before.hashed} inputs, {new.model.width} leaves "
            f"{after.hashed}; set it to {needed}, which makes room for what was added"
        ]

    def inherit(self, old: Kind, held: Extras, into: Extras) -> None:
        """Bring the matrices to other fields: what is known of inputs that stay is kept, what is new
        is as uncertain as at the start."""
        if not isinstance(old, Rls):
            return
        before, after = old.spans_of(), self.spans_of()
        pairs = [
            (before[n], after[n]) for n in after if n in before and before[n][1] == after[n][1]
        ]
        source = np.concatenate([np.arange(at, at + n) for (at, n), _ in pairs])
        place = np.concatenate([np.arange(at, at + n) for _, (at, n) in pairs])
        matrices = {e.target: e.name for e in old.extras if e.target is not None}
        for one in self.extras:
            if one.target in matrices and matrices[one.target] != one.name:
                kept = held[matrices[one.target]][np.ix_(source, source)]
                into[one.name][np.ix_(place, place)] = kept

    def spans_of(self) -> dict[str, tuple[int, int]]:
        """Return where the inputs of each field lie in a row of a matrix, and how many there are."""
        found = {"": (0, 1), "hashed": (self.width - self.hashed, self.hashed)}
        for block in self.recipe.schema.dense:
            found[label_of(block)] = (1 + block.start, block.width + 1)
        return found

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
