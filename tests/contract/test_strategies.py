"""Each strategy, adapted rate and answer to drift, in each kind that allows it: how events are cut
changes no bit, a snapshot holds all of it, and a replay after a crash gives the same digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import settings
from service.errors import BadSettings
from service.learn.learner import Learner
from service.model.layout import Layout
from service.model.state import State
from service.weights.digest import digest
from tests.contract.kinds import KINDS, TARGETS, event_of, learner, recipe, records, teach
from tests.learn.desk import Desk

WAYS: dict[str, dict[str, Any]] = {
    "l2": {"l2": 0.01},
    "l2_init": {"l2_init": 0.01},
    "ewc": {"ewc": {"strength": 5.0}},
    "freeze": {"freeze": ["*bias"]},
    "trunk_every": {"trunk_every": 3},
    "average": {"average": {"decay": 0.05}},
    "agem": {"agem": {"memory": 16, "rows": 4}},
    "reservoir": {"replay": {"memory": 16}},
    "balanced": {"replay": {"memory": 16, "kind": "balanced", "rows": 2}},
    "recent": {"replay": {"memory": 16, "kind": "recent", "weight": 0.5}},
    "hypergradient": {"adapt": {"by": "hypergradient", "every": 5}},
    "held_out": {"holdout": 0.3, "adapt": {"by": "held_out", "every": 5}},
    "raise_rates": {"drift": {"react": ["raise_rates"]}},
    "reset_head": {"drift": {"react": ["reset_head"]}},
}


REFUSED: dict[str, set[str]] = {
    "mixture": {*WAYS},
    "guest": {*WAYS},
    "bayes": {*WAYS},
    "linear": {"trunk_every"},
    "mlp": set(),
    "svm": {"trunk_every"},
    "fm": {"trunk_every"},
    "rls": {
        "l2", "l2_init", "ewc", "freeze", "trunk_every", "average", "agem", "balanced",
        "hypergradient", "held_out", "raise_rates",
    },
    "module": {"trunk_every", "reset_head"},
}  # fmt: skip
"""Ways that the settings refuse to a kind."""


def allowed(kind: str, way: dict[str, Any], folder: Path) -> bool:
    """Whether the settings let this kind learn in this way."""
    of = recipe(kind)
    drift = way.get("drift", {})
    tree = {
        "name": "t", "kafka": {"topics": ["t"]}, "event": event_of(kind),
        "model": of.model.model_dump(mode="json", include={"kind", "arguments", "experts"}),
        "learning": {k: v for k, v in way.items() if k != "drift"}, "drift": drift,
    }  # fmt: skip
    path = folder / "headwater.yaml"
    path.write_text(json.dumps(tree))
    try:
        settings.load(path, environment={})
    except BadSettings:
        return False
    return True


SAFE = {
    "linear": ("fraud", "price"), "svm": ("fraud", "grade"), "fm": ("fraud", "price"),
    "mlp": ("price",), "module": ("fraud",),
}  # fmt: skip
"""Targets for which a kind can take safe steps."""
CASES = [(k, w) for k in KINDS for w in WAYS if w not in REFUSED[k]]


@pytest.fixture(params=[*CASES, *((k, "safe_steps") for k in SAFE)], ids="-".join)
def of(request):
    """A recipe of a kind that learns in a way."""
    kind, name = request.param
    if name == "safe_steps":
        event = {**event_of(kind), "targets": {t: TARGETS[t] for t in SAFE[kind]}}
        beside: dict[str, Any] = (
            {"trunk_every": 3} if kind == "mlp" else {}
        )  # the length of a step counts here
        return recipe(kind, event, optimizer="sgd", learning_rate=0.5, safe_steps=True, **beside)
    return recipe(kind, **WAYS[name])


def test_a_replay_and_other_cuts_give_the_same_bits(of, tmp_path):
    """A process that dies is followed by one that reads a snapshot and repeats the rest."""
    desk = Desk(tmp_path, of)
    for at in range(0, 48, 16):
        if at == 16:
            desk.order("snapshot")
        desk.learn(records(16, at))
    whole = desk.learner
    before = digest(whole.state.parts())
    again = desk.restart()
    after = digest(again.learner.state.parts())
    standing = again.learner.standing
    again.close()
    assert before == after
    assert whole.standing.lineage == standing.lineage

    sizes = (16,) if of.model.is_module else (48, 7)
    for size in sizes:
        one = learner(of)
        teach(one, 48, size=size)
        assert np.array_equal(whole.state.image, one.state.image), size

    state, lost = State.of(Layout(of), whole.state.parts())
    resumed = Learner(of, state, whole.standing.copy())
    for one in (whole, resumed):
        teach(one, 16, 48)
    assert [] == lost
    assert np.array_equal(whole.state.image, resumed.state.image)


def test_settings_refuse_just_what_a_kind_cannot_do(tmp_path):
    """What is tested above is all that they allow."""
    refused = {
        kind: {name for name, way in WAYS.items() if not allowed(kind, way, tmp_path)}
        for kind in KINDS
    }

    assert refused == REFUSED
