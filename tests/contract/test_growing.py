"""An event of all types of fields learns; a stream grows, and the model grows with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.learn import history
from service.learn.learner import Learner
from service.model.recipe import Recipe
from service.stream.records import Record
from tests.contract.kinds import FEATURES, PLACES, events, learner, one_record, recipe
from tests.learn import cuts
from tests.learn.desk import Desk

BINARY: dict[str, Any] = {"fraud": {"type": "binary"}}
N = 600
ANSWERS: dict[str, Any] = {
    "amount": lambda yes: 1.0 if yes else -1.0,
    "income": lambda yes: 1e6 if yes else 1.0,
    "rank": lambda yes: 5.0 if yes else -5.0,
    "raw": lambda yes: {"raw": 1.0 if yes else -1.0},
    "new": lambda yes: yes,
    "when": lambda yes: "2026-01-05T09:00:00Z" if yes else "2026-01-05T21:00:00Z",
    "shop": lambda yes: "here" if yes else "there",
    "tags": lambda yes: ["both", "one"] if yes else ["both", "other"],
    "title": lambda yes: "a fine day" if yes else "a rainy night",
    "place": lambda yes: [1.0, 0.5] if yes else [-1.0, 0.5],
    "more": lambda yes: {"unheard": 3.0} if yes else {"other": 1.0},
    "names": lambda yes: {"colour": "red" if yes else "blue"},
}
"""What a field says of the label, where it alone tells."""


def event(**features: Any) -> dict[str, Any]:
    """Return the settings of an event with one question and all fields, or others beside."""
    return {"id": "id", "features": {**FEATURES, **features}, "targets": BINARY}


def grower(kind: str, **features: Any) -> Recipe:
    """Return a recipe that is wide enough to learn something quickly."""
    model = {"mlp": {"hidden": 16, "embedding": 4, "dropout": 0.0}}.get(kind)
    return recipe(kind, event(**features), model=model, learning_rate=0.2)


def stream(n: int, field: str, first: int = 0) -> list[Record]:
    """Return records whose label one field tells, and nothing else."""
    found = []
    for at in range(first, first + n):
        given = events(1, at)[0]
        yes = bool(np.random.default_rng([7, at]).random() < 0.5)
        said = ANSWERS[field](yes)
        if field in {"more", "names"}:
            given |= said
        else:
            given[PLACES[field]] = said
        found.append(one_record(at, {**given, "fraud": int(yes)}))
    return found


def right(one: Learner, given: list[Record]) -> float:
    """Learn records; return the share of the last 100 that were predicted right before."""
    step = cuts.take(one, given)
    said = step.scores[-100:, 0] > 0.5
    return float((said == (step.labels[-100:, 0] > 0.5)).mean())


@pytest.mark.parametrize("field", ANSWERS)
@pytest.mark.parametrize("kind", ["linear", "mlp", "fm", "svm"])
def test_of_an_event_of_all_types_each_field_alone_can_tell_the_answer(kind, field):
    """Among all others, which say nothing."""
    one = learner(grower(kind))

    assert right(one, stream(N, field)) > 0.9


@pytest.mark.parametrize("kind", ["linear", "mlp", "fm", "svm"])
def test_a_stream_grows_names_categories_and_fields_and_the_model_uses_them(kind):
    """Nothing tells the answer for 300 events. Then a category never seen does, a name in a list, a
    field that no setting names: each is used within 300 events, without a restart."""
    for field in ("shop", "tags", "more", "names"):
        one = learner(grower(kind))
        quiet = [
            one_record(at, {**given, "fraud": int(np.random.default_rng([3, at]).random() < 0.5)})
            for at, given in enumerate(events(300))
        ]

        assert right(one, quiet) < 0.7
        assert right(one, stream(300, field, 300)) > 0.9, field


@pytest.mark.parametrize("kind", ["linear", "mlp", "fm", "svm"])
def test_a_field_added_to_the_settings_keeps_what_was_learned_and_is_learned(kind, tmp_path: Path):
    """Over a restart: events that say nothing new are predicted as before; then the field counts."""
    old = grower(kind)
    desk = Desk(tmp_path, old)
    desk.learn(stream(N, "shop"))
    asked = [{"shop": "here"}, {"shop": "there"}]
    before = desk.learner.score(desk.learner.decoder.features(asked)[0])
    desk.order("snapshot")
    desk.close()

    wider = grower(kind, score={"type": "number"})
    grown = history.rebuilt(desk.learner, wider)
    kept = grown.score(grown.decoder.features(asked)[0])
    later = []
    for at in range(N, N + 400):
        yes = bool(np.random.default_rng([9, at]).random() < 0.5)
        later.append(one_record(at, {"score": 10.0 if yes else 2.0, "fraud": int(yes)}))

    assert before[0, 0] > 0.7
    assert before[1, 0] < 0.3
    np.testing.assert_allclose(kept, before, rtol=1e-5)
    assert right(grown, later) > 0.9
