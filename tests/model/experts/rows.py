"""Random rows as experts see them, and tensors to learn with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema
from service.model.experts.inputs import Labels, Shared
from service.model.experts.seam import BLOCK, Expert, Fields, Held, Inputs, Task, Tensor
from service.model.featurizer import Rows
from service.settings import EventSettings

FEATURES: dict[str, Any] = {
    "amount": {"type": "number"},
    "income": {"type": "number"},
    "new": {"type": "boolean"},
    "shop": {"type": "category", "buckets": 32},
    "city": {"type": "category", "buckets": 32},
    "title": {"type": "text", "buckets": 64},
}
TARGETS: dict[str, Any] = {
    "binary": {"type": "binary"},
    "multiclass": {"type": "multiclass", "classes": ["a", "b", "c"]},
    "number": {"type": "number"},
}


def fields(numbers: int, categories: tuple[int, ...], *spans: Any) -> Fields:
    """Return columns of any widths, with names. spans: the ranges of Fields, then its width."""
    names = tuple(f"number/{i}" for i in range(numbers))
    names += tuple(f"category/{i}" for i in range(len(categories)))
    columns = tuple(f"column {i}" for i in range(spans[-1]))
    made: Any = Fields  # so many of one type
    return made(numbers, categories, *spans, names, columns, ())


class Seen:
    """The inputs of one target, and what they remember."""

    def __init__(self, kind: str, features: dict[str, Any] | None = None) -> None:
        event = {"features": features or FEATURES, "targets": {"y": TARGETS[kind]}}
        self.schema = Schema(EventSettings.model_validate(event))
        target = self.schema.targets[0]
        self.shared = Shared(self.schema)
        self.labels = Labels(self.shared, target)
        self.fields = self.labels.fields
        self.task = Task(target.kind, target.outputs, 7)
        self._held = held(self.shared.tensors), held(self.labels.tensors)

    def inputs(
        self, rows: Rows, y: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> Inputs:
        """Return what experts see of the rows; labels count from here on."""
        weights = np.ones(len(y)) if weights is None else weights
        learn = (weights > 0).astype(np.uint8)
        x, ranks, ids = self.shared.write(self._held[0], rows, learn, self.fields.width)
        given = Inputs(
            x, ranks, ids, rows.spans, rows.entries, rows.values, y, np.asarray(weights, float)
        )
        self.labels.write(self._held[1], x, given)
        return given


def held(tensors: tuple[Tensor, ...]) -> Held:
    """Return tensors as they are before the first row."""
    at, flags = {}, {}
    for one in tensors:
        at[one.name] = np.zeros(one.shape, one.dtype)
        at[one.name][...] = one.initial
        if one.large:
            assert at[one.name].size % BLOCK == 0, one.name
            flags[one.name] = np.zeros(at[one.name].size // BLOCK, np.uint8)
    return Held(at, flags)


def rows(seen: Seen, n: int, seed: int = 0) -> Rows:
    """Return n random rows of the schema."""
    draw, schema = np.random.default_rng(seed), seen.schema
    numbers = draw.normal(size=(n, schema.values)) * 3.0 + 1.0
    numbers[draw.random(numbers.shape) < 0.05] = np.nan
    ids = draw.integers(0, 5, size=(n, len(schema.tables)))
    b = len(schema.bags)
    spans = np.arange(n * b + 1).reshape(-1)[: n * b + 1] * 3
    spans = (
        np.stack([spans[r * b : r * b + b + 1] for r in range(n)]) if b else np.zeros((n, 1), int)
    )
    entries = draw.integers(0, 40, size=3 * n * b)
    values = np.full(3 * n * b, 3**-0.5, np.float32)
    x = draw.normal(size=(n, schema.inputs)).astype(np.float32)
    return Rows(
        x, ids, spans.astype(np.int64), entries, values, np.zeros((n, 1)), numbers,
        np.full(n, -1, np.int64),
    )  # fmt: skip


def labels(seen: Seen, given: Rows, seed: int = 1) -> NDArray[np.float64]:
    """Return labels that follow from the rows: amount, shop and words matter; and some noise."""
    draw = np.random.default_rng(seed)
    first = np.nan_to_num(given.numbers[:, 0], nan=1.0)
    shop = given.ids[:, 1] if given.ids.shape[1] > 1 else given.ids[:, 0]
    words = given.entries.reshape(len(first), -1).min(axis=1) if len(given.entries) else 0
    signal = (first - 1.0) / 3.0 + 0.7 * (shop - 2) + 0.1 * (words - 10) * (words < 20)
    signal = signal + 0.2 * draw.normal(size=len(first))
    if seen.task.kind == "binary":
        return (signal > 0).astype(float)
    if seen.task.kind == "multiclass":
        return np.digitize(signal, [-0.5, 0.5]).astype(float)
    return signal


def predictions(expert: Expert, seen: Seen, n: int) -> NDArray[np.float32]:
    """Return room for the predictions of n rows."""
    return np.full((n, len(expert.members), seen.task.outputs), np.nan, np.float32)
