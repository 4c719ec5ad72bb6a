"""Random rows for experts, and the tensors that an expert asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.events.schema import Schema
from service.model.experts.inputs import Labels, Shared
from service.model.experts.seam import BLOCK, Expert, Fields, Held, Inputs, Task
from service.settings import EventSettings

__all__ = ["Fields", "Inputs", "fields", "held", "inputs", "learn", "part"]


def fields(numbers: int, categories: int, task: Task) -> Fields:
    features: dict[str, Any] = {f"n{i:03d}": {"type": "number"} for i in range(numbers)}
    features |= {f"c{i}": {"type": "category", "buckets": 64} for i in range(categories)}
    target: dict[str, Any] = {"type": task.kind}
    if task.kind == "multiclass":
        target["classes"] = [str(i) for i in range(task.outputs)]
    event = {"features": features or {"t": {"type": "text"}}, "targets": {"y": target}}
    schema = Schema(EventSettings.model_validate(event))
    return Labels(Shared(schema), schema.targets[0]).fields


def inputs(made: Fields, n: int, seed: int = 0, y: np.ndarray | None = None) -> Inputs:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, made.width)).astype(np.float32)
    ranks = draw.random((n, made.numbers)).astype(np.float32)
    ids = draw.integers(1, 5, (n, len(made.categories)))
    labels = np.zeros(n) if y is None else y
    none = np.zeros(0, dtype=np.int64)
    return Inputs(
        x, ranks, ids, np.zeros((n, 1), dtype=np.int64), none, np.zeros(0, dtype=np.float32),
        labels, np.ones(n),
    )  # fmt: skip


def held(expert: Expert) -> Held:
    at, flags = {}, {}
    for tensor in expert.tensors:
        view = np.empty(tensor.shape, dtype=tensor.dtype)
        view[...] = tensor.initial
        at[tensor.name] = view
        if tensor.large:
            assert view.dtype == np.float32, tensor.name
            assert view.size % BLOCK == 0, tensor.name
            flags[tensor.name] = np.zeros(view.size // BLOCK, dtype=np.uint8)
    return Held(at, flags)


def part(rows: Inputs, first: int, end: int) -> Inputs:
    s = slice(first, end)
    return Inputs(
        rows.x[s], rows.ranks[s], rows.ids[s], rows.spans[s], rows.entries, rows.values, rows.y[s],
        rows.weights[s],
    )  # fmt: skip


def learn(expert: Expert, task: Task, rows: Inputs, cut: int = 256) -> tuple[np.ndarray, Held]:
    """Return the predictions of all rows, each before it was learned, and what is remembered."""
    room = held(expert)
    into = np.empty((len(rows), len(expert.members), task.outputs), dtype=np.float32)
    for first in range(0, len(rows), cut):
        end = min(first + cut, len(rows))
        expert.learn(room, part(rows, first, end), into[first:end])
    return into, room
