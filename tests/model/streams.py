"""Small made-up streams for tests of models: recipes, columns, rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.events.columns import Bags, Columns, bags_of
from service.model.featurizer import Featurizer, Rows
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State
from service.settings import EventSettings, LearningSettings, ModelSettings

EVENT: dict[str, Any] = {
    "features": {
        "amount": {"type": "number"},
        "age": {"type": "number", "scale": "none"},
        "shop": {"type": "category", "buckets": 16},
        "tx/kind": {"type": "category", "buckets": 8},
    },
    "targets": {
        "fraud": {"type": "binary"},
        "grade": {"type": "multiclass", "classes": ["a", "b", "c"]},
        "price": {"type": "number"},
    },
}
WIDE: dict[str, Any] = {
    "features": {
        "amount": {"type": "number"},
        "income": {"type": "number", "scale": "log"},
        "rank": {"type": "number", "scale": "quantile"},
        "any": {"type": "number", "scale": "fit"},
        "raw": {"type": "number", "scale": "none"},
        "new": {"type": "boolean"},
        "when": {"type": "time"},
        "shop": {"type": "category", "buckets": 16},
        "tags": {"type": "categories", "buckets": 16},
        "title": {"type": "text", "buckets": 64},
        "embedding": {"type": "vector", "size": 5},
        "facts": {"type": "map", "buckets": 32, "names": 8},
    },
    "interactions": [["shop", "amount"], ["new", "when", "raw"]],
    "targets": {
        "fraud": {"type": "binary", "weight": 1.5},
        "grade": {"type": "multiclass", "classes": ["a", "b", "c"], "weight": 0.5},
        "price": {"type": "number"},
    },
}
"""Every kind of field."""
CASES: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp"},
    "linear-wide": {"kind": "linear", "event": WIDE},
    "mlp-wide": {"kind": "mlp", "event": WIDE},
    "mlp-normed": {"kind": "mlp", "event": WIDE, "layer_norm": True, "dropout": 0.3},
}
"""Arguments of `recipe` by name: each kind of model, with few fields and with every kind of them."""
RULES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "learning_rate": 0.004},
    {"optimizer": "sgd", "learning_rate": 0.001, "momentum": 0.9},
    {"optimizer": "adagrad", "learning_rate": 0.1},
    {"optimizer": "adam", "learning_rate": 0.02},
]


def recipe(
    kind: str = "linear", learning: dict | None = None, event: dict | None = None, **model: object
) -> Recipe:
    """Return a recipe over EVENT, or another event."""
    return Recipe(
        "test",
        EventSettings.model_validate(event or EVENT),
        ModelSettings.model_validate({"kind": kind, "hidden": 12, "embedding": 3, **model}),
        LearningSettings.model_validate(learning or {}),
    )


def columns(n: int, seed: int = 0, of: Recipe | None = None) -> Columns:
    """Return n events with some features and some targets missing, of EVENT or another recipe."""
    rng = np.random.default_rng(seed)
    schema = (of or recipe()).schema
    numbers = rng.normal(size=(n, schema.values))
    for block in schema.dense:
        held = numbers[:, block.at : block.at + block.width]
        if block.scale in {"log", "fit"}:
            held[:] = np.exp(2.0 * held)
        if block.kind == "boolean":
            held[:] = held > 0.0
        held[rng.random(n) < 0.1] = np.nan
    codes = rng.integers(0, 40, size=(n, schema.coded)).astype(np.uint64)
    bags = tuple(_bags(n, rng, bag.kind == "map") for bag in schema.bags)
    labels = {"binary": rng.integers(0, 2, n), "multiclass": rng.integers(0, 3, n)}
    targets = np.column_stack(
        [labels.get(t.kind, rng.normal(50.0, 7.0, n)) for t in schema.targets]
    ).astype(np.float64)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    targets[np.isnan(targets).all(axis=1), 0] = 1.0
    blank = np.zeros(n)
    return Columns(numbers, codes, bags, targets, blank.astype(np.int64), blank.astype(np.uint64))


def _bags(n: int, rng: np.random.Generator, named: bool) -> Bags:
    """Return up to six entries per event; in a map half of them are numbers with a name."""
    events = []
    for _ in range(n):
        codes = rng.choice(np.arange(1, 200), rng.integers(0, 7), replace=False)
        event = []
        for code in codes.tolist():
            name = int(rng.integers(1, 9)) if named and code % 2 else 0
            event.append((code, float(rng.normal(5.0, 2.0)) if name else len(codes) ** -0.5, name))
        events.append(event)
    return bags_of(events)


def rows(of: Recipe, n: int, seed: int = 0) -> Rows:
    """Return n events as rows, featurized once."""
    state = State.fresh(Layout(of))
    learn = np.ones(n, dtype=np.uint8)
    return Featurizer(of.schema).rows(columns(n, seed, of), state.scales, learn)


def one_number(values: np.ndarray, targets: np.ndarray) -> Columns:
    """Return events with one number field, no category, one target."""
    n = len(values)
    blank = np.zeros(n, dtype=np.int64)
    codes = np.empty((n, 0), dtype=np.uint64)
    return Columns(values[:, None], codes, (), targets[:, None], blank, blank.astype(np.uint64))


def plain(x: np.ndarray, ids: np.ndarray, y: np.ndarray) -> Rows:
    """Return rows without bags."""
    nothing = np.empty(0, dtype=np.int64)
    spans = np.zeros((len(x), 1), dtype=np.int64)
    return Rows(x, ids, spans, nothing, nothing.astype(np.float32), y)
