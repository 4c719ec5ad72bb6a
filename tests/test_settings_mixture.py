"""Settings beside a mixture of experts: what one expert cannot learn is refused, and what means
nothing to members is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from service import settings
from service.errors import BadSettings
from service.events.schema import TargetKind
from service.model.experts import EXPERTS
from service.model.kinds import kind_of
from service.model.recipe import Recipe
from service.settings import Settings

TARGETS: dict[str, dict[str, Any]] = {
    "binary": {"type": "binary"},
    "multiclass": {"type": "multiclass", "classes": ["a", "b", "c"]},
    "number": {"type": "number"},
}
FEATURES: dict[str, Any] = {
    "a": {"type": "number"},
    "c": {"type": "category"},
    "d": {"type": "category"},
    "t": {"type": "text"},
}


def tree(kind: str, **event: Any) -> dict[str, Any]:
    """Return settings of that kind."""
    told = {"features": FEATURES, "targets": {"y": TARGETS["binary"]}} | event
    return {"name": "x", "kafka": {"topics": ["x"]}, "event": told, "model": {"kind": kind}}


def problems(folder: Path, said: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return where and why `load` refuses, and what it says to do."""
    file = folder / "headwater.yaml"
    file.write_text(json.dumps(said))
    try:
        settings.load(file, environment={})
    except BadSettings as error:
        return [(one.path, one.msg, str(one.hint)) for one in error.problems]
    return []


def doubted(said: dict[str, Any]) -> list[str]:
    """Return which settings `config check` warns of."""
    return [one.path for one in settings.doubts(Settings.model_validate(said))]


@pytest.mark.parametrize("expert", EXPERTS)
@pytest.mark.parametrize("target", get_args(TargetKind))
def test_targets_that_an_expert_alone_cannot_learn_are_refused(
    tmp_path: Path, expert: str, target: str
) -> None:
    """By the settings, as its class says what it fits: never by a learner that has begun."""
    found = problems(tmp_path, tree(expert, targets={"y": TARGETS[target]}))
    assert [] == found if target in EXPERTS[expert].fits else "event.targets.y.type" == found[0][0]


@pytest.mark.parametrize(
    ("kind", "features", "said"),
    [
        ("words", ["a", "c"], "texts, lists and maps"),
        ("factors", ["a", "c", "t"], "pairs of categories"),
        ("factors", ["a"], "pairs of categories"),
        ("words", ["t"], ""),
        ("factors", ["c", "d"], ""),
        ("auto", ["a"], ""),
    ],
)
def test_an_expert_alone_without_its_fields_is_refused(
    tmp_path: Path, kind: str, features: list[str], said: str
) -> None:
    """The settings say so, and so does the model, where it is built from others."""
    told = tree(kind, features={name: FEATURES[name] for name in features})
    found = problems(tmp_path, told)
    assert bool(said) is bool(found)
    made = Settings.model_validate(told)
    recipe = Recipe("x", made.event, made.model, made.learning, made.drift)
    if not said:
        assert kind_of(recipe).parameters
        return
    assert ("model.kind", True) == (found[0][0], said in found[0][1])
    assert "auto" in found[0][2]
    with pytest.raises(BadSettings, match="no members for target y of type binary"):
        kind_of(recipe)


@pytest.mark.parametrize("kind", ["auto", "mixture", "forest", "cross"])
def test_defaults_are_not_doubted(kind: str) -> None:
    """Neither left out nor written down."""
    assert [] == doubted(tree(kind))
    written = Settings.model_validate(tree(kind)).model_dump(mode="json")
    assert [] == doubted(written)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("learning.clip", 1.0),
        ("learning.cap", 5.0),
        ("learning.cap", None),
        ("learning.step_rows", 64),
        ("learning.learning_rate", 0.3),
        ("event.interactions", [["c", "d"]]),
        ("event.features.a.scale", "log"),
        ("event.features.a.scale", "none"),
        ("event.targets.y.weight", 3.0),
    ],
)
def test_what_means_nothing_to_members_is_told(where: str, value: object) -> None:
    """To mixtures alone: the others do as it says, and so does a module of the user's own in one."""
    for kind in ("auto", "newton", "linear"):
        said = Settings.model_validate(tree(kind)).model_dump(mode="json")
        place = said
        *keys, last = where.split(".")
        for key in keys:
            place = place[key]
        place[last] = value
        assert doubted(said) == ([] if kind == "linear" else [where])
        said["model"]["experts"] = ["auto", "a.b:C"]
        assert kind != "auto" or doubted(said) == []


def test_scales_of_numbers_that_a_target_follows_are_not_doubted() -> None:
    """Where all numbers say none, a number target is taken as it is."""
    features = {"a": {"type": "number", "scale": "none"}}
    assert [] == doubted(tree("auto", features=features, targets={"y": TARGETS["number"]}))
