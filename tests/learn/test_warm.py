"""Passes are compiled before they are needed, for whatever the settings allow."""

from __future__ import annotations

import pytest

from service.learn import warm
from service.model.kinds import module_warm
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings


@pytest.mark.parametrize("expert", ["bayes", "words"])
def test_an_expert_beside_a_module_need_not_take_every_target_or_field(
    expert: str, monkeypatch: pytest.MonkeyPatch
):
    """The module may do that: one for classes beside it, or one for texts where there are none."""
    monkeypatch.setattr(module_warm, "compile_all", lambda: None)
    event = {"features": {"x": {"type": "number"}}, "targets": {"z": {"type": "number"}}}
    model = {"kind": "auto", "experts": [expert, "tests.modules.bad:Good"]}
    learned: list[Recipe] = []
    monkeypatch.setattr(warm, "score_once", lambda recipe, _: learned.append(recipe))
    warm.compile_passes(
        Recipe(
            "test",
            EventSettings.model_validate(event),
            ModelSettings.model_validate(model),
            LearningSettings(),
        )
    )
    assert [{expert, "prior"}] == [set(one.model.built_in) for one in learned]
