"""Modules of the user's own that are experts of a mixture, tried before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import BadSettings
from service.learn.modules_tried import examine_all
from service.model.kinds import recipe_of
from service.settings import Settings
from tests.contract.kinds import NET


def mixture(*experts: Any) -> Settings:
    """Return settings of a mixture."""
    return Settings.model_validate({
        "name": "t", "kafka": {"topics": ["t"]},
        "event": {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}},
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
    ("bad", "message"),
    [
        ("tests.modules.bad:BatchNorm", "forward changes buffers in train mode"),
        ("tests.modules.bad:NoModule", "is no torch.nn.Module"),
        ("tests.modules.nowhere:Net", "there is no module tests.modules.nowhere"),
    ],
)
def test_one_that_breaks_a_rule_is_named(bad, message):
    with pytest.raises(BadSettings) as refused:
        examine_all(recipe_of(mixture("auto", NET, bad)))
    (problem,) = refused.value.problems

    assert "model.experts" == problem.path
    assert f"{bad}: " in problem.msg
    assert message in problem.msg
