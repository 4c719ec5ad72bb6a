"""Records and learners for tests of learning, without Kafka."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.recipe import Recipe
from service.settings import DriftSettings, EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record

EVENT: dict[str, Any] = {
    "id": "id",
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}},
    "targets": {"y": {"type": "binary"}},
}


def recipe(
    kind: str = "linear",
    event: dict | None = None,
    drift: dict | None = None,
    **learning: object,
) -> Recipe:
    """Return a small recipe."""
    return Recipe(
        "test",
        EventSettings.model_validate(event or EVENT),
        ModelSettings.model_validate({"kind": kind, "hidden": 8, "embedding": 2}),
        LearningSettings.model_validate(learning),
        DriftSettings.model_validate(drift or {}),
    )


def learner(of: Recipe | None = None) -> Learner:
    """Return a fresh learner that stands at the start of one partition."""
    return Learner.fresh(of or recipe(), Standing(0, "feedbeef00000000", {("t", 0): 0}))


def records(n: int, first: int = 0, partition: int = 0) -> list[Record]:
    """Return n good records."""
    rng = np.random.default_rng(first * 31 + partition)
    return [
        record(first + i, {"id": first + i, "x": rng.normal(), "c": f"c{i % 9}", "y": i % 2},
               partition)
        for i in range(n)
    ]  # fmt: skip


def record(offset: int, event: object, partition: int = 0) -> Record:
    """Return a record that holds this event; bytes and None are taken as they are."""
    value = event if event is None or isinstance(event, bytes) else json.dumps(event).encode()
    return Record("t", partition, offset, 1_000 + offset, None, value, None)


def take(of: Learner, given: list[Record]):
    """Have the learner take one cut of these records."""
    ends: dict[tuple[str, int], int] = {}
    for r in given:
        ends[r.topic, r.partition] = max(ends.get((r.topic, r.partition), 0), r.offset + 1)
    return of.take(given, of.decode(given), ends)
