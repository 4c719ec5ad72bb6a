"""Modules of the user's own that are experts of a mixture, tried before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import BadSettings, Diverged
from service.learn.ailing import ailing
from service.learn.modules_tried import examine_all
from service.learn.rebuild import rebuild
from service.model.kinds import module_code, recipe_of
from service.settings import Settings
from tests.contract.kinds import NET
from tests.learn.test_restoring import Home
from tests.modules import bad

EVENT: dict[str, Any] = {"features": {"x": {"type": "number"}}}


def mixture(*experts: Any, event: dict[str, Any] = EVENT) -> Settings:
    """Return settings of a mixture."""
    return Settings.model_validate({
        "name": "t", "kafka": {"topics": ["t"]},
        "event": {**event, "targets": {"y": {"type": "binary"}}},
        "model": {"kind": "mixture", "experts": list(experts)},
    })  # fmt: skip


def test_all_of_them_are_tried_and_the_recipe_says_what_their_code_was():
    of = recipe_of(mixture("auto", NET, {"kind": NET, "name": "other"}))
    said = examine_all(of)
    alone = examine_all(recipe_of(mixture("newton", NET)))

    assert ["Net", "other"] == [*of.modules]
    assert 64 == len(of.codes[NET].source)
    assert [1, 32] == of.modules["other"].shapes["module/out.weight"]
    assert 2 * alone.parameters == said.parameters
    assert [] == said.warnings


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("tests.modules.bad:BatchNorm", "forward changes buffers in train mode"),
        ("tests.modules.bad:NoModule", "is no torch.nn.Module"),
        ("tests.modules.nowhere:Net", "there is no module tests.modules.nowhere"),
    ],
)
def test_one_that_breaks_a_rule_is_named(broken, message):
    with pytest.raises(BadSettings) as refused:
        examine_all(recipe_of(mixture("auto", NET, broken)))
    (problem,) = refused.value.problems

    assert "model.experts" == problem.path
    assert f"{broken}: " in problem.msg
    assert message in problem.msg


@pytest.mark.parametrize("saved", [True, False], ids=["a snapshot", "entries to replay"])
def test_code_of_an_expert_that_has_other_weights_begins_anew(saved, tmp_path, monkeypatch):
    """The rest goes on with what it learned. What was to be replayed with the code of before cannot be:
    that is a new lineage."""
    source = Path(bad.__file__).read_text()
    name = f"growing_net_{saved}"  # no two of one name in a process
    file = tmp_path / f"{name}.py"
    file.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    reference = f"{name}:Good"
    event = {"features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}}}
    found = mixture("prior", reference, event=event)
    home = Home(tmp_path / "state", partitions=1, of=recipe_of(found))
    home.learn(10)
    home.learn(10)
    if saved:
        home.save()

    file.write_text(
        source.replace("self.out = ", "self.more = nn.Linear(3, 3)\n        self.out = ")
    )
    assert module_code.follow(reference, module_code.source_of(reference))
    home.learner.recipe = recipe_of(found)
    restored = home.restart()
    kinds = [entry["kind"] for entry in home.journal.read(0)]

    with pytest.raises(Diverged, match=f"The code of {reference} is not that of then"):
        rebuild(home.directory, 2, tmp_path / "out", home.ranges, base=0)
    assert "the expert Good begins anew: its weights have other shapes now" in restored.notes
    assert 20 == restored.learner.events_learned
    assert saved != ("environment" in kinds)
    assert "layout" == kinds[-1]
    home.learn(10)
    members = home.learner.layout.kind.standings(home.learner.state.extras)["y"]
    assert {"prior/4": 30, "Good": 10} == {
        m.member: m.rows for m in members if m.member in {"prior/4", "Good"}
    }


def test_a_restart_replays_an_expert_that_fails_to_the_bit(tmp_path):
    """Dropout, adam, events that it fails on: from the newest snapshot, what was journaled after it."""
    net = {"kind": NET, "arguments": {"size": 2, "hidden": 4, "dropout": 0.2}, "optimizer": "adam"}
    failing = {"kind": "tests.modules.poisoned:Poisoned", "arguments": {"how": "nan", "field": "x"}}
    event = {"features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}}}
    home = Home(
        tmp_path / "state", partitions=1, of=recipe_of(mixture("prior", net, failing, event=event))
    )
    home.learn(40)
    home.save()
    home.learn(30)
    home.learn(7)
    learned = home.learner.state.image.copy()
    restored = home.restart()
    (found,) = ailing(restored.learner)

    assert (2, None) == (restored.replayed.entries, restored.replayed.diverged_at)
    assert np.array_equal(learned, restored.learner.state.image)
    assert ("Poisoned", True) == (found.member, 0 < found.failures < 40)
