"""Settings of strategies that do not go together are refused, each with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import settings
from service.errors import BadSettings
from service.settings import BinaryTarget, LearningSettings

HEAD = """
name: test
kafka: {topics: [t]}
event:
  features: {x: {type: number}}
  targets:
    y: %s
model: {kind: %s}
learning: %s
"""
YES = "{type: binary}"


def taken(tmp_path: Path, learning: str, kind: str, target: str = YES) -> LearningSettings:
    """Return what is set of learning, where nothing is wrong."""
    path = tmp_path / "test.yaml"
    path.write_text(HEAD % (target, kind, learning))
    return settings.load(path, environment={}).learning


def problems(tmp_path: Path, learning: str, kind: str = "linear", target: str = YES) -> str:
    """Return what is wrong with these settings."""
    path = tmp_path / "test.yaml"
    path.write_text(HEAD % (target, kind, learning))
    with pytest.raises(BadSettings) as caught:
        settings.load(path, environment={})
    return str(caught.value)


@pytest.mark.parametrize(
    ("learning", "kind", "said"),
    [
        ("{trunk_every: 2}", "linear", "a model of kind linear cannot follow it"),
        ("{average: {}}", "rls", "a model of kind rls cannot follow it"),
        ("{optimizer: adam, safe_steps: true}", "linear", "needs plain sgd"),
        ("{optimizer: sgd, momentum: 0.9, safe_steps: true}", "linear", "needs plain sgd"),
        ("{replay: {kind: newest}}", "linear", "learning.replay.kind"),
        ("{ewc: {strength: -1}}", "linear", "learning.ewc.strength"),
    ],
)
def test_a_strategy_that_cannot_work_is_refused(tmp_path, learning, kind, said):
    """With the name of the setting and the reason."""
    assert said in problems(tmp_path, learning, kind)


@pytest.mark.parametrize("kind", ["linear", "fm", "mlp", '"a.b:C"'])
def test_safe_steps_are_refused_for_targets_of_several_classes(tmp_path, kind):
    """No closed step is known for them, but for the hinge."""
    target = "{type: multiclass, classes: [a, b]}"
    learning = "{optimizer: sgd, safe_steps: true}"
    assert "no safe step is known" in problems(tmp_path, learning, kind, target)
    assert taken(tmp_path, learning, "svm", target).safe_steps


@pytest.mark.parametrize("kind", ["mlp", '"a.b:C"'])
def test_safe_steps_are_refused_where_targets_share_weights(tmp_path, kind):
    """A step that is safe for one moves the prediction of the other."""
    both = "{type: number}\n    z: {type: number}"
    learning = "{optimizer: sgd, safe_steps: true}"
    assert "share weights" in problems(tmp_path, learning, kind, both)
    assert taken(tmp_path, learning, kind).safe_steps
    assert taken(tmp_path, learning, "fm", both).safe_steps


@pytest.mark.parametrize("kind", ["linear", "svm", "fm", "mlp", '"a.b:C"'])
def test_classes_have_weights_beside_other_targets_too(tmp_path, kind):
    """In every kind that has classes."""
    both = "{type: binary, balance: true}\n    z: {type: binary, class_weights: {1: 5}}"
    taken(tmp_path, "{}", kind, both)


def test_a_balanced_memory_needs_classes(tmp_path):
    """A number target has none."""
    assert "needs a target with classes" in problems(
        tmp_path, "{replay: {kind: balanced}}", target="{type: number}"
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{type: binary, class_weights: {2: 5}}", "is no class of this target"),
        ("{type: multiclass, classes: [a, b], class_weights: {c: 5}}", "Known: a, b"),
        ("{type: binary, class_weights: {1: 5}, balance: true}", "stands beside class_weights"),
        ("{type: binary, class_weights: {1: 0}}", "class_weights"),
    ],
)
def test_weights_of_classes_are_checked(tmp_path, target, said):
    """Unknown classes, both ways at once, no weight."""
    assert said in problems(tmp_path, "{}", target=target)


def test_every_strategy_may_be_asked_for_at_once(tmp_path):
    """What goes together is taken."""
    path = tmp_path / "test.yaml"
    learning = (
        "{l2: 0.1, l2_init: 0.1, ewc: {}, freeze: [head/*/bias], trunk_every: 2, average: {}, "
        "replay: {kind: balanced}, agem: {}}"
    )
    path.write_text(HEAD % ("{type: binary, class_weights: {1: 20}}", "mlp", learning))
    found = settings.load(path, environment={})
    assert found.learning.replay is not None
    target = found.event.targets["y"]
    assert isinstance(target, BinaryTarget)
    assert {"1": 20} == target.class_weights


PAGE = Path(__file__).parent.parent / "docs" / "strategies.md"
ASKED = {
    "l2": "l2: 0.1", "l2_init": "l2_init: 0.1", "ewc": "ewc: {}", "freeze": 'freeze: ["head/*"]',
    "agem": "agem: {}", "average": "average: {}", "trunk_every": "trunk_every: 2",
    "safe_steps": "safe_steps: true, optimizer: sgd", "replay": "replay: {}",
    "lookahead": "lookahead: {}",
}  # fmt: skip
KINDS = {"your own module": '"a.b:C"'}


def test_the_page_says_which_kind_takes_what(tmp_path: Path) -> None:
    """
    Its table, cell by cell, against the settings.
    """
    rows = PAGE.read_text().split("## What goes with what\n")[1].split("\n\n")[0].splitlines()
    said = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    path = tmp_path / "test.yaml"
    held = set()
    for names, *cells in said[2:]:
        for columns, cell in zip(said[0][1:], cells, strict=True):
            for kind in columns.split(", "):
                for name in set(names.split(", ")) & ASKED.keys():
                    target = "{type: number}" if kind == "rls" else YES
                    learning = f"{{{ASKED[name]}}}"
                    path.write_text(HEAD % (target, KINDS.get(kind, kind), learning))
                    try:
                        settings.load(path, environment={})
                        answer = "yes"
                    except BadSettings:
                        answer = "refused"
                    held.add(name)
                    assert cell == answer, (name, kind)

    assert ASKED.keys() == held
