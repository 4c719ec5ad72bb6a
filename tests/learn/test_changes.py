"""Which changes of fields a state may live with."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from service.errors import LayoutChanged
from service.learn.changes import compare
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings
from tests.events.kinds import EVENT


def recipe(**features: Any) -> Recipe:
    """Return the recipe of EVENT with some fields changed, added, or (None) removed."""
    return recipe_of(deepcopy(EVENT), features)


def recipe_of(event: dict[str, Any], features: dict[str, Any]) -> Recipe:
    event["features"] = {n: f for n, f in (event["features"] | features).items() if f is not None}
    return Recipe(
        "test",
        EventSettings.model_validate(event),
        ModelSettings(kind="linear"),
        LearningSettings(),
    )


def crossed(*interactions: list[str]) -> Recipe:
    return recipe_of(deepcopy(EVENT) | {"interactions": interactions}, {})


@pytest.mark.parametrize("field", [
    {"type": "boolean"}, {"type": "categories"}, {"type": "text"}, {"type": "vector", "size": 2},
    {"type": "map"}, {"type": "time"},
])  # fmt: skip
def test_a_field_of_any_kind_may_be_added_and_given_up(field: dict[str, Any]) -> None:
    """
    Adding needs no word; removing needs its name.
    """
    assert "layout" == compare(recipe(), recipe(new=field))
    assert "layout" == compare(recipe(new=field), recipe(), ["new"])
    with pytest.raises(LayoutChanged, match=r"feature 'new' is gone: .* --accept-removed new"):
        compare(recipe(new=field), recipe())


@pytest.mark.parametrize(("name", "field", "said"), [
    ("vip", {"type": "number"}, "'vip': type was 'boolean', now 'number'"),
    ("emb", {"type": "vector", "size": 4}, "'emb': size was 3, now 4"),
    ("memo", {"type": "text", "words": 1}, "'memo': words was 2, now 1"),
    ("memo", {"type": "text", "characters": None}, "'memo': characters was "),
    ("amount", {"type": "number", "scale": "log"}, "'amount': scale was 'auto', now 'log'"),
    ("extras", {"type": "map", "names": 64}, "'extras': names was 1024, now 64"),
    ("at", {"type": "time"}, "'at': zone was 'Europe/Paris', now 'UTC'"),
])  # fmt: skip
def test_what_a_field_means_may_not_change(name: str, field: dict[str, Any], said: str) -> None:
    """
    The weights have learned the old meaning; the difference is told.
    """
    with pytest.raises(LayoutChanged, match=said):
        compare(recipe(), recipe(**{name: field}))


@pytest.mark.parametrize(("name", "field"), [
    ("os", {"type": "category", "path": "phone.os"}), ("shop", {"type": "category", "buckets": 1024, "path": "a.b"}),
    ("genres", {"type": "categories", "separator": ","}),
])  # fmt: skip
def test_how_a_field_comes_may_change(name: str, field: dict[str, Any]) -> None:
    """
    Where it lies, and what stands between its names; the journal notes it as new settings.
    """
    assert "settings" == compare(recipe(), recipe(**{name: field}))


def test_an_interaction_is_added_and_given_up_like_a_field() -> None:
    """
    By the names of its fields with a * between, in the order of the alphabet.
    """
    one, two = crossed(["amount", "shop"]), crossed(["amount", "shop"], ["vip", "os"])

    assert "layout" == compare(one, two)
    assert "layout" == compare(two, one, ["os*vip"])
    assert "settings" == compare(one, crossed(["shop", "amount"]))
    with pytest.raises(LayoutChanged, match=r"interaction 'os\*vip' is gone: .* os\*vip"):
        compare(two, one)


def test_a_target_whose_scale_followed_the_fields_is_told_how_it_stays() -> None:
    """A first number that is scaled is added where all were taken as they are."""
    plain = {"features": {"x": {"type": "number", "scale": "none"}}}
    more: dict[str, Any] = {"z": {"type": "number"}}
    target: dict[str, Any] = {"type": "number"}

    with pytest.raises(LayoutChanged, match=r"to keep it, say event.targets.y.scale: none"):
        compare(recipe_of({**plain, "targets": {"y": target}}, {}),
                recipe_of({**plain, "targets": {"y": target}}, more))  # fmt: skip

    said = {"y": target | {"scale": "none"}}
    assert "layout" == compare(
        recipe_of({**plain, "targets": {"y": target}}, {}),
        recipe_of({**plain, "targets": said}, more),
    )
