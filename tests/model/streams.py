"""Small made-up streams for tests of models: recipes, columns, rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.events.decode import Columns
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
RULES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "learning_rate": 0.02},
    {"optimizer": "sgd", "learning_rate": 0.001, "momentum": 0.9},
    {"optimizer": "adagrad", "learning_rate": 0.1},
    {"optimizer": "adam", "learning_rate": 0.02},
]


def recipe(kind: str = "linear", learning: dict | None = None, event: dict | None = None) -> Recipe:
    """Return a recipe over EVENT, or another event."""
    return Recipe(
        "test",
        EventSettings.model_validate(event or EVENT),
        ModelSettings.model_validate({"kind": kind, "hidden": 12, "embedding": 3}),
        LearningSettings.model_validate(learning or {}),
    )


def columns(n: int, seed: int = 0) -> Columns:
    """Return n events of EVENT with some features and some targets missing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2)) * [1.0, 3.0]
    numbers[rng.random((n, 2)) < 0.1] = np.nan
    codes = rng.integers(0, 40, size=(n, 2)).astype(np.uint64)
    targets = np.column_stack(
        (rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(50.0, 7.0, n))
    ).astype(np.float64)
    targets[rng.random((n, 3)) < 0.2] = np.nan
    targets[np.isnan(targets).all(axis=1), 0] = 1.0
    blank = np.zeros(n)
    return Columns(numbers, codes, (), targets, blank.astype(np.int64), blank.astype(np.uint64))


def rows(of: Recipe, n: int, seed: int = 0) -> Rows:
    """Return n events as rows, featurized once."""
    state = State.fresh(Layout(of))
    learn = np.ones(n, dtype=np.uint8)
    return Featurizer(of.schema).rows(columns(n, seed), state.scales, learn)


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
