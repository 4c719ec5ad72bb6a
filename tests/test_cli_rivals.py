"""What the command line says of challengers, and how their code is tried."""

from __future__ import annotations

import json

import pytest

from service.cli import modules, rivals
from service.cli.probe_module import probed
from service.errors import BadSettings
from service.learn import rivals as learning
from service.settings import load
from tests.learn.cuts import learner, records, take
from tests.learn.test_rivals import beside


def test_a_table_and_a_line_for_each_model_say_who_answers_and_who_failed():
    """The same report that /v1/model gives."""
    of = learner(beside(deep="mlp", other="fm"))
    take(of, records(60))
    learning.change(of.state, "deep")
    learning._set_back(of.state, "other", "not_finite")
    report = json.loads(json.dumps(of.challengers()))

    head, *rows = list(rivals.table(report, "y"))
    assert ["model", "events", "log_loss", "accuracy", "auc"] == head.split()[:5]
    assert ["main (linear)", "deep (mlp) *", "other (fm)"] == [
        row[2:26].strip() for row in rows[:-1]
    ]
    assert ["60", "60", "0"] == [row[26:36].strip() for row in rows[:-1]]
    assert "failed: not_finite 1; sits out 1,000 events" in rows[2]
    lines = rivals.lines(report).splitlines()
    assert lines[1].startswith("deep (mlp), answers: 60 events, y log_loss 0.")
    assert "- (recent)" in lines[2]
    assert [] == list(rivals.table({}, "y"))


def test_the_code_of_a_challenger_is_tried_before_it_learns(tmp_path):
    """A process of its own says what is wrong with it, and the problem stands at the challenger."""
    file = tmp_path / "headwater.yaml"
    kinds = {"sound": "tests.modules.bad:Good", "odd": "tests.modules.bad:Raises"}
    file.write_text(json.dumps({
        "name": "t", "kafka": {"topics": ["t"]},
        "event": {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}},
        "challengers": {name: {"kind": kind} for name, kind in kinds.items()},
    }))  # fmt: skip
    found = load(file, environment={})
    assert list(kinds.values()) == modules.references(found)
    with pytest.raises(BadSettings) as caught:
        probed(found, file, None)
    assert ["challengers.odd.kind"] == [one.path for one in caught.value.problems]
    assert "no rows today" in caught.value.problems[0].msg
