"""The factorization machine (Rendle 2010): the linear model, and all pairs of inputs.

output = bias + sum w x + .5 (|sum v x|^2 - sum |v|^2 x^2), where every input has a weight w and a
vector v of model.factors numbers, for each output: the pair of inputs i and j counts v_i . v_j. So
a pair that was never seen together is known by what each did with others. Learned row by row.

Names of weights: those of linear, and head/<target>/factors/<kind>/<field>, where a dense field has
[width + 1, o, K] and a table or a bag [buckets, o, K]. An entry of a bag counts with its value.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Bag, Dense, Table, Target
from service.model.kinds import fm_passes
from service.model.kinds.compiled import Compiled, Passes, emphasis, target_table
from service.model.kinds.linear import linear_parameters
from service.model.kinds.seam import Parameter, sparse_of
from service.model.names import head_of, label_of

_FRESH = 0.05
"""Deviation of fresh factors."""


class Tables(NamedTuple):
    """Where the weights lie. Legend: T targets, C tables, B bags."""

    targets: NDArray[np.int64]
    """[T, 4], see compiled.target_table."""
    emphasis: NDArray[np.float64]
    """[T]"""
    dense: NDArray[np.int64]
    """[T, 2]: the bias of each target, its dense weights follow; its dense factors."""
    fields: NDArray[np.int64]
    """[T, C + B, 2]: weights and factors of each table, then of each bag."""
    sizes: NDArray[np.int64]
    """[C + B]: rows of each table, then of each bag."""
    factors: NDArray[np.int64]
    """[1]: K"""


class Fm(Compiled):
    """The factorization machine."""

    name: ClassVar[str] = "fm"
    shaped_by: ClassVar[tuple[str, ...]] = ("factors",)
    passes: ClassVar[Passes] = Passes(Tables, fm_passes.score, fm_passes.learn, fm_passes.gradient)

    def parameters_of(self) -> list[Parameter]:
        """Return the weights of a linear model, then all factors, target by target."""
        schema = self.recipe.schema
        found = linear_parameters(schema)
        for target in schema.targets:
            for block in schema.dense:
                found.append(self._factors(target, block, block.width + 1, sparse=False))
            for table in sparse_of(schema):
                found.append(self._factors(target, table, table.buckets, sparse=True))
        return found

    def _factors(
        self, target: Target, field: Dense | Table | Bag, rows: int, *, sparse: bool
    ) -> Parameter:
        """Return the factors of one field. A field that is added later starts with none, so that
        no prediction changes; its pairs with others move them."""
        shape = (rows, target.outputs, self.recipe.model.factors)
        name = _factors_of(target.name, field)
        return Parameter(name, shape, target.name, deviation=_FRESH, sparse=sparse, unit=0.5)

    def tables_of(self) -> Tables:
        """Return where they lie."""
        schema, places = self.recipe.schema, self.places
        dense, fields = [], []
        after = schema.dense[0] if schema.dense else None
        for name in (t.name for t in schema.targets):
            head = head_of(name)
            far = places[_factors_of(name, after)] if after else 0
            dense.append((places[f"{head}bias"], far))
            fields.append(
                [
                    (places[f"{head}{label_of(f)}"], places[_factors_of(name, f)])
                    for f in sparse_of(schema)
                ]
            )
        return Tables(
            target_table(schema),
            emphasis(schema),
            np.array(dense, dtype=np.int64),
            np.array(fields, dtype=np.int64).reshape(len(dense), -1, 2),
            np.array([t.buckets for t in sparse_of(schema)], dtype=np.int64),
            np.array([self.recipe.model.factors], dtype=np.int64),
        )


def _factors_of(target: str, field: Dense | Table | Bag) -> str:
    return f"{head_of(target)}factors/{label_of(field)}"
