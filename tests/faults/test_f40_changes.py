"""F40: the settings changed, the state did not. Each change keeps what it can by name, or is refused
with the difference; nothing is loaded in part without a word.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import LayoutChanged
from service.learn import restore
from service.learn.learner import Learner
from service.learn.restore import Policy
from service.learn.sources import RangeSource
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.learn.cuts import records, take

EVENT: dict[str, Any] = {
    "id": "id",
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}},
    "targets": {
        "y": {"type": "binary"},
        "kind": {"type": "multiclass", "classes": ["a", "b"]},
    },
}
MODEL = {"kind": "mlp", "hidden": 8, "embedding": 2}


def recipe(event: dict, model: dict, learning: dict) -> Recipe:
    return Recipe(
        "test",
        EventSettings.model_validate(event),
        ModelSettings.model_validate(model),
        LearningSettings.model_validate(learning),
    )


def restarted(
    home: Path, change: dict[str, Any], accept_removed: tuple[str, ...] = ()
) -> tuple[Learner, Learner]:
    """Learn a little, save, start again with other settings: the learner before and after.

    change: {"event.targets.y.positive": "yes", "model.hidden": 4, ...}; None removes.
    """
    event, model = deepcopy(EVENT), dict(MODEL)
    learning: dict[str, Any] = {}
    with Journal.open(home / "journal") as journal:
        snapshots = Snapshots(home / "snapshots", Keep())
        before = restore.begin(
            recipe(event, model, learning), {("t", 0): 0}, {"t": None}, journal, {}
        )
        take(before, records(40))
        journal.append({"version": 1, "kind": "cut"})
        snapshots.write(before.state.parts(), before.meta() | {"environment": {}})
        tree: Any = {"event": event, "model": model, "learning": learning}
        for path, value in change.items():
            *above, name = path.split(".")
            place = tree
            for step in above:
                place = place[step]
            if value is None:
                del place[name]
            else:
                place[name] = value

        def no_reader(_: Learner) -> RangeSource:
            raise AssertionError("there is nothing to replay")

        after = restore.restore(
            recipe(event, model, learning), journal, snapshots, {},
            Policy(power_lost=False, skip_lost=False, accept_removed=accept_removed),
            no_reader, lambda *_: None,
        )  # fmt: skip
    return before, after.learner


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.hidden": 4}, r"model\.hidden: the state has 8, the settings say 4"),
        ({"model.embedding": 4}, r"model\.embedding: the state has 2, the settings say 4"),
        ({"model.kind": "linear"}, r"model\.kind: the state is of a mlp model, not linear"),
        ({"model.kind": "auto"}, r"not mixture; with model\.kind: mlp it goes on"),
        ({"learning.seed": 7}, r"learning\.seed: it decides where every category lies"),
        ({"event.features.c.buckets": 128}, "feature 'c': buckets was 64, now 128"),
        (
            {"event.features.c": {"type": "number"}},
            "feature 'c': type was 'category', now 'number'",
        ),
        ({"event.features.x": None}, "feature 'x' is gone: .* say --accept-removed x"),
        ({"event.targets.kind": None}, "target 'kind' is gone: .* say --accept-removed kind"),
        ({"event.targets.y.positive": "yes"}, "target 'y': positive was .*, now"),
        ({"event.targets.kind.classes": ["a", "b", "c"]}, "target 'kind': classes was .*, now"),
        ({"event.targets.kind.classes": ["b", "a"]}, "target 'kind': classes was .*, now"),
        ({"event.targets.y": {"type": "number"}}, "target 'y': type was 'binary', now 'number'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_f40_a_change_of_what_weights_mean_is_refused_with_the_difference(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """The field or setting, what it was, what it is; and what to do."""
    with pytest.raises(LayoutChanged, match=said) as caught:
        restarted(tmp_path, change)

    assert "Undo the change, or give the model another name" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"learning.learning_rate": 0.01},
        {"learning.optimizer": "adam"},
        {"learning.optimizer": "sgd"},
        {"learning.batch_rows": 7},
        {"learning.holdout": 0.5},
        {"event.features.z": {"type": "number"}},
        {"event.features.d": {"type": "category", "buckets": 16}},
        {"event.targets.amount": {"type": "number"}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_f40_another_change_keeps_every_weight_by_name(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """What is new starts from nothing; all that was learned is there to the bit."""
    before, after = restarted(tmp_path, change)

    then, now = before.state.parts()["weights"], after.state.parts()["weights"]
    lost = [name for name, tensor in then.items() if not np.array_equal(now[name], tensor)]
    assert [] == lost
    assert before.events_learned == after.events_learned
    assert before.standing.lineage == after.standing.lineage


def test_f40_what_the_operator_gives_up_goes_and_nothing_else(tmp_path: Path) -> None:
    """One field removed, by name."""
    before, after = restarted(tmp_path, {"event.features.x": None}, accept_removed=("x",))

    then, now = before.state.parts()["weights"], after.state.parts()["weights"]
    gone = {name for name in then if name not in now}
    assert {"normaliser/x", "hidden/number/x"} == gone
    assert all(np.array_equal(now[name], then[name]) for name in then.keys() - gone)
