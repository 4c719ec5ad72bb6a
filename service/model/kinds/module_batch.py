"""What a user's module is told of its inputs, and the batches that it is given.

Tensors are copies in memory of torch's own: a module that wrote into them would harm nobody, and
their alignment, on which the last bits of a product may depend, is the same each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.errors import BadSettings, Problem
from service.events.schema import Dense, Schema, Table
from service.model.featurizer import Rows
from service.model.kinds.seam import sparse_of

Batch = dict[str, Tensor | tuple[Tensor, Tensor, Tensor]]
Inputs = dict[str, dict[str, Any]]


def inputs_of(schema: Schema) -> Inputs:
    """Return {name: {"form": "dense" | "table" | "bag", "kind", "width" | "rows"}}.

    BadSettings where two would have one name.
    """
    found: Inputs = {}
    for block in schema.dense:
        _add(found, name_of(block), form="dense", kind=block.kind, width=block.width + 1)
    for field in sparse_of(schema):
        form = "table" if isinstance(field, Table) else "bag"
        _add(found, name_of(field), form=form, kind=field.kind, rows=field.buckets)
    return found


def name_of(field: Any) -> str:
    """Return the name of an input: its field's; title_figures, at_hour and at_weekday where a field
    has several."""
    if isinstance(field, Dense) and field.kind == "text":
        return f"{field.name}_figures"
    return f"{field.name}_{field.kind}" if field.kind in {"hour", "weekday"} else field.name


def outputs_of(schema: Schema) -> dict[str, int]:
    """Return {target: outputs}, in the order of the columns of what a module returns."""
    return {target.name: target.outputs for target in schema.targets}


def batch_of(schema: Schema, rows: Rows) -> Batch:
    """Return the rows as a module reads them.

    dense: float32 [N, width], the values and then 1 where they are unknown; table: int64 [N], row 0
    is "missing"; bag: what nn.EmbeddingBag takes: entries int64 [E], offsets int64 [N], values
    float32 [E].
    """
    batch: Batch = {}
    for block in schema.dense:
        batch[name_of(block)] = _copy(rows.x[:, block.start : block.start + block.width + 1])
    for c, table in enumerate(schema.tables):
        batch[name_of(table)] = _copy(rows.ids[:, c])
    for b, bag in enumerate(schema.bags):
        first, last = rows.spans[:, b], rows.spans[:, b + 1]
        held = last - first
        offsets = np.cumsum(held) - held
        chosen = np.repeat(first - offsets, held) + np.arange(held.sum())
        batch[name_of(bag)] = (
            _copy(rows.entries[chosen]), _copy(offsets), _copy(rows.values[chosen]),
        )  # fmt: skip
    return batch


def _copy(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).clone()


def _add(found: Inputs, name: str, **said: Any) -> None:
    if name in found:
        msg = f"two inputs of the module would be called {name!r}"
        raise BadSettings([Problem("event.features", None, msg, "Rename one of the fields.")])
    found[name] = said
