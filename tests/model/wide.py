"""Rows with every kind of field, drawn at random: for tests of models, without decoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.events.schema import Schema
from service.model.featurizer import Rows

FEATURES: dict[str, Any] = {
    "amount": {"type": "number"},
    "new": {"type": "boolean"},
    "place": {"type": "vector", "size": 3},
    "shop": {"type": "category", "buckets": 16},
    "at": {"type": "time"},
    "tags": {"type": "categories", "buckets": 32},
    "more": {"type": "map", "buckets": 32, "names": 4},
    "said": {"type": "text", "buckets": 64},
}
BINARY: dict[str, Any] = {"fraud": {"type": "binary"}}
GRADES: dict[str, Any] = {"grade": {"type": "multiclass", "classes": ["a", "b", "c"]}}
NUMBER: dict[str, Any] = {"price": {"type": "number"}}


def event(**targets: dict[str, Any]) -> dict[str, Any]:
    """Return an event with FEATURES and these targets."""
    return {"features": FEATURES, "targets": targets}


def drawn(schema: Schema, n: int, seed: int = 0) -> Rows:
    """Return n rows of a schema; up to three entries a bag, a fifth of the labels missing. Labels
    depend on the inputs."""
    rng = np.random.default_rng(seed)
    x = 0.5 * rng.normal(size=(n, schema.inputs)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = 0.0
    ids = np.empty((n, len(schema.tables)), dtype=np.int64)
    for c, table in enumerate(schema.tables):
        ids[:, c] = rng.integers(0, min(table.buckets, 8), n)
    held = rng.integers(0, 4, size=(n, len(schema.bags)))
    ends = np.cumsum(held).reshape(held.shape)
    spans = np.column_stack((ends[:, :1] - held[:, :1], ends)) if len(schema.bags) else ends[:, :0]
    entries = [
        rng.choice(bag.buckets, size=held[r, b], replace=False)
        for r in range(n)
        for b, bag in enumerate(schema.bags)
    ]
    values = 0.5 * rng.normal(size=held.sum()).astype(np.float32)
    signal = 2.0 * x @ rng.normal(size=schema.inputs) + (ids[:, 0] % 3 - 1.0)
    y = np.empty((n, len(schema.targets)))
    for t, target in enumerate(schema.targets):
        noisy = signal + 0.3 * rng.normal(size=n)
        if target.kind == "number":
            y[:, t] = 50.0 + 7.0 * noisy
        elif target.kind == "binary":
            y[:, t] = noisy > 0.0
        else:
            y[:, t] = np.digitize(noisy, np.linspace(-1.0, 1.0, target.outputs - 1))
    y[rng.random(y.shape) < 0.2] = np.nan
    return Rows(x, ids.astype(np.int64), spans.astype(np.int64), np.concatenate(entries).astype(np.int64),
                values, y)  # fmt: skip
