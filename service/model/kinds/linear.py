"""The linear model: one weight per dense input, per row of a table and per row of a bag, for each
output. Learned row by row.

Names of weights: head/<target>/bias [o]; head/<target>/<kind>/<field>, where a dense field has
[width + 1, o] (its values, then its unknown flag; see seam.label_of) and a table or a bag [buckets, o]. An entry of a
bag counts with its value.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Bag, Schema, Table
from service.model.featurizer import Rows
from service.model.kinds import linear_passes
from service.model.kinds.compiled import Compiled, Passes, emphasis, target_table
from service.model.kinds.seam import Parameter, Served, sparse_of
from service.model.names import head_of, label_of


class Tables(NamedTuple):
    """Where the weights lie. Legend: T targets, C tables, B bags."""

    targets: NDArray[np.int64]
    """[T, 4], see compiled.target_table."""
    emphasis: NDArray[np.float64]
    """[T]"""
    dense: NDArray[np.int64]
    """[T]: the bias of each target; its dense weights follow."""
    tables: NDArray[np.int64]
    """[T, C]"""
    bags: NDArray[np.int64]
    """[T, B]"""
    sizes: NDArray[np.int64]
    """[C + B]: rows of each table, then of each bag."""


class Linear(Compiled):
    """The linear model."""

    name: ClassVar[str] = "linear"
    passes: ClassVar[Passes] = Passes(
        Tables, linear_passes.score, linear_passes.learn, linear_passes.gradient
    )

    tables: Tables

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind. The kernel takes arrays one by one: to take tuples of them
        apart costs more than to score one row."""
        scores, tables = np.empty((len(rows), self.recipe.schema.outputs)), self.tables
        linear_passes.score(
            tables.targets, tables.dense, tables.tables, tables.bags, served.theta, served.frames,
            rows.x, rows.ids, rows.spans, rows.entries, rows.values, scores,
        )  # fmt: skip
        return scores

    def parameters_of(self) -> list[Parameter]:
        """Return them; see linear_parameters."""
        return linear_parameters(self.recipe.schema)

    def tables_of(self) -> Tables:
        """Return where they lie."""
        schema, places = self.recipe.schema, self.places
        heads = [head_of(t.name) for t in schema.targets]

        def at(fields: tuple[Table | Bag, ...]) -> NDArray[np.int64]:
            rows = [[places[f"{h}{label_of(f)}"] for f in fields] for h in heads]
            return np.array(rows, dtype=np.int64).reshape(len(heads), len(fields))

        return Tables(
            target_table(schema),
            emphasis(schema),
            np.array([places[f"{head}bias"] for head in heads], dtype=np.int64),
            at(schema.tables),
            at(schema.bags),
            np.array([t.buckets for t in sparse_of(schema)], dtype=np.int64),
        )


def linear_parameters(schema: Schema) -> list[Parameter]:
    """Return all dense weights, then all tables and bags, target by target."""
    found = []
    for target in schema.targets:
        head, outputs = head_of(target.name), target.outputs
        found.append(Parameter(f"{head}bias", (outputs,), target.name))
        for block in schema.dense:
            name = f"{head}{label_of(block)}"
            found.append(Parameter(name, (block.width + 1, outputs), target.name))
        for table in sparse_of(schema):
            name, shape = f"{head}{label_of(table)}", (table.buckets, outputs)
            found.append(Parameter(name, shape, target.name, sparse=True))
    return found
