"""The multi-layer perceptron: dense inputs and embeddings -> one hidden layer of relu -> outputs.

Learned row by row. Names of weights: hidden/bias [H]; hidden/<kind>/<field> [width + 1, H] for a
dense field and [E, H] for a table or a bag; embedding/<field> for a category and
embedding/<kind>/<field> for other tables and bags [buckets, E]; head/<target>/bias [o] and /weight
[o, H]. The embedding of a bag is the sum of its entries' rows times their values. With
`layer_norm` the hidden sums are normed before the relu: hidden/norm/gain and /bias [H]. With
`dropout` some units are left out while a row is learned; it is scored with all.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Bag, Table
from service.model.kinds import mlp_passes, mlp_score
from service.model.kinds.compiled import Compiled, Passes, emphasis, target_table
from service.model.kinds.seam import Parameter, sparse_of
from service.model.names import escape, head_of, label_of

_EMBEDDED = 0.1
"""Deviation of fresh embeddings."""


class Tables(NamedTuple):
    """Where the weights lie. Legend: T targets, C tables, B bags."""

    targets: NDArray[np.int64]
    """[T, 4], see compiled.target_table."""
    emphasis: NDArray[np.float64]
    """[T]"""
    dense: NDArray[np.int64]
    """[2]: the hidden bias [H]; the hidden weights [I, H], an input after the other."""
    heads: NDArray[np.int64]
    """[T]: bias [o], then weights [o, H]."""
    tables: NDArray[np.int64]
    """[C]"""
    bags: NDArray[np.int64]
    """[B]"""
    norm: NDArray[np.int64]
    """[2]: gain [H] and bias [H] of the layer norm; [0] without one."""
    sizes: NDArray[np.int64]
    """[3]: E numbers in an embedding, H units; the seed of what is left out."""
    dropout: NDArray[np.float64]
    """[1]: share of units that is left out while learning."""


class Mlp(Compiled):
    """The multi-layer perceptron."""

    name: ClassVar[str] = "mlp"
    shaped_by: ClassVar[tuple[str, ...]] = ("hidden", "embedding", "layer_norm")
    passes: ClassVar[Passes] = Passes(
        Tables, mlp_score.score, mlp_passes.learn, mlp_passes.gradient
    )

    def parameters_of(self) -> list[Parameter]:
        """Return the hidden layer, the heads, then the embeddings.

        A hidden input that is added later starts at zero, so that nothing it is added to changes.
        """
        schema, hidden = self.recipe.schema, self.recipe.model.hidden
        embedding = self.recipe.model.embedding
        fields = sparse_of(schema)
        inputs = sum(block.width for block in schema.dense) + embedding * len(fields)
        deviation = math.sqrt(2.0 / max(inputs, 1))
        found = [Parameter("hidden/bias", (hidden,))]
        for block in schema.dense:
            shape = (block.width + 1, hidden)
            found.append(Parameter(f"hidden/{label_of(block)}", shape, deviation=deviation))
        for field in fields:
            shape = (embedding, hidden)
            found.append(Parameter(f"hidden/{label_of(field)}", shape, deviation=deviation))
        if self.recipe.model.layer_norm:
            found.append(Parameter("hidden/norm/gain", (hidden,), constant=1.0))
            found.append(Parameter("hidden/norm/bias", (hidden,)))
        for target in schema.targets:
            head, outputs = head_of(target.name), target.outputs
            found.append(Parameter(f"{head}bias", (outputs,), target.name))
            found.append(Parameter(f"{head}weight", (outputs, hidden), target.name))
        for field in fields:
            shape = (field.buckets, embedding)
            found.append(
                Parameter(
                    _embedding(field), shape, deviation=_EMBEDDED, added=_EMBEDDED, sparse=True
                )
            )
        return found

    def tables_of(self) -> Tables:
        """Return where they lie."""
        schema, model, places = self.recipe.schema, self.recipe.model, self.places
        first = places["hidden/bias"]
        heads = [places[f"{head_of(t.name)}bias"] for t in schema.targets]
        norm = ["hidden/norm/gain", "hidden/norm/bias"] if model.layer_norm else []
        return Tables(
            target_table(schema),
            emphasis(schema),
            np.array([first, first + model.hidden], dtype=np.int64),
            np.array(heads, dtype=np.int64),
            np.array([places[_embedding(t)] for t in schema.tables], dtype=np.int64),
            np.array([places[_embedding(b)] for b in schema.bags], dtype=np.int64),
            np.array([places[name] for name in norm], dtype=np.int64),
            np.array([model.embedding, model.hidden, self.recipe.learning.seed], dtype=np.int64),
            np.array([model.dropout]),
        )


def _embedding(field: Table | Bag) -> str:
    name = escape(field.name) if field.kind == "category" else label_of(field)
    return f"embedding/{name}"
