"""Every kind of model (guest: a mixture with a module), each with an event of all types of fields and the targets that it learns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from service.learn.learner import Learner, Step
from service.learn.standing import Standing
from service.model.kinds import module_code
from service.model.recipe import Recipe
from service.settings import DriftSettings, EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record
from tests.learn import cuts

NET = "tests.modules.nets:Net"
KINDS = ("mixture", "guest", "bayes", "linear", "svm", "mlp", "fm", "rls", "module")
FEATURES: dict[str, Any] = {
    "amount": {"type": "number"},
    "income": {"type": "number", "scale": "log"},
    "rank": {"type": "number", "scale": "quantile"},
    "raw": {"type": "number", "scale": "none", "path": "deep.raw"},
    "new": {"type": "boolean"},
    "when": {"type": "time"},
    "shop": {"type": "category", "buckets": 16},
    "tags": {"type": "categories", "buckets": 16},
    "title": {"type": "text", "buckets": 64},
    "place": {"type": "vector", "size": 2},
    "more": {"type": "map", "rest": True, "buckets": 32, "names": 8},
}
PLACES = {name: "deep" if name == "raw" else name for name in FEATURES}
"""The key at the top of an event under which each field lies."""
TARGETS: dict[str, Any] = {
    "fraud": {"type": "binary", "weight": 1.5},
    "grade": {"type": "multiclass", "classes": ["a", "b", "c"]},
    "price": {"type": "number"},
}
LEARNS = {"svm": ("fraud", "grade"), "bayes": ("fraud", "grade"), "rls": ("price",)}
"""Targets of those kinds that do not learn every type."""
MODEL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": 6, "embedding": 2, "dropout": 0.2},
    "fm": {"factors": 2},
    "rls": {"width": 32},
    "guest": {
        "kind": "mixture",
        "experts": [
            "prior",
            "newton",
            "squares",
            {
                "kind": NET,
                "arguments": {"size": 2, "hidden": 6, "dropout": 0.2},
                "optimizer": "adam",
            },
        ],
    },
    "module": {"kind": NET, "arguments": {"size": 2, "hidden": 6, "dropout": 0.2}},
}


def event_of(kind: str, **features: Any) -> dict[str, Any]:
    """Return the settings of an event that this kind learns; features: others beside, or None for
    one that is left out."""
    chosen = {n: spec for n, spec in {**FEATURES, **features}.items() if spec is not None}
    targets = {name: TARGETS[name] for name in LEARNS.get(kind, TARGETS)}
    crosses = [["shop", "amount"]] if {"shop", "amount"} <= chosen.keys() else []
    return {"id": "id", "features": chosen, "interactions": crosses, "targets": targets}


def recipe(
    kind: str, event: dict[str, Any] | None = None, drift: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None, **learning: Any,
) -> Recipe:  # fmt: skip
    """Return a small recipe of a kind; dropout is on where there is any."""
    module_code.trust(NET)
    return Recipe(
        "test",
        EventSettings.model_validate(event or event_of(kind)),
        ModelSettings.model_validate({"kind": kind, **MODEL.get(kind, {}), **(model or {})}),
        LearningSettings.model_validate({"step_rows": 8, **learning}),
        DriftSettings.model_validate(drift or {}),
    )


def learner(of: Recipe) -> Learner:
    """Return a fresh learner."""
    return Learner.fresh(of, Standing(0, "feedbeef00000000", {("t", 0): 0}))


def events(n: int, first: int = 0) -> list[dict[str, Any]]:
    """Return n events with every field, labels of every target, and two fields that no setting
    names."""
    found = []
    for at in range(first, first + n):
        rng = np.random.default_rng(at)
        a, b = (float(v) for v in rng.normal(size=2))
        kind = int(rng.integers(0, 5))
        found.append({
            "id": at, "amount": a, "income": float(np.exp(b)), "rank": b, "deep": {"raw": a * b},
            "new": kind % 2 == 0, "when": f"2026-01-0{1 + kind}T{10 + kind}:00:00Z",
            "shop": f"s{kind}", "tags": [f"t{kind}", f"t{at % 3}"],
            "title": f"word{kind} of {at % 4}", "place": [a, b], "extra": a - b, "colour": f"c{kind}",
            "fraud": int(a + 0.3 * kind > 0.5), "grade": "abc"[kind % 3], "price": 10.0 + 3.0 * a + kind,
        })  # fmt: skip
    return found


def records(n: int, first: int = 0) -> list[Record]:
    """Return n events as records."""
    return [cuts.record(first + i, event) for i, event in enumerate(events(n, first))]


def teach(one: Learner, n: int, first: int = 0, size: int = 1000) -> list[Step]:
    """Have it learn n records, `size` in a cut."""
    given = records(n, first)
    return [cuts.take(one, given[at : at + size]) for at in range(0, n, size)]


def taught(of: Recipe, n: int = 60) -> Learner:
    """Return a learner that learned n records."""
    one = learner(of)
    teach(one, n)
    return one


def reversed_keys(value: Any) -> Any:
    """Return the same value, the keys of its objects in the other order."""
    if isinstance(value, dict):
        return {k: reversed_keys(v) for k, v in reversed(value.items())}
    return value


def one_record(offset: int, event: dict[str, Any]) -> Record:
    """Return an event as a record; numbers may be larger than JSON writers like."""
    return cuts.record(offset, json.dumps(event).encode())
