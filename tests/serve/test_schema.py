"""The JSON Schema of an event with fields of every kind."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jsonschema
import pytest

from service.events.decode import Decoder
from service.model.recipe import Recipe
from service.serve.schema import event_schema, example_event
from service.settings import EventSettings, LearningSettings, ModelSettings
from tests.events.kinds import EVENT, FEATURES, GOOD, REST

MORE = {
    "ms": {"type": "time", "format": "ms"},
    "any": {"type": "time", "format": "auto"},
    "tags": {"type": "categories"},
    "device": {"type": "map"},
    "same": {"type": "text", "path": "shop"},
}
EVENTS = {
    "fields": EVENT,
    "rest": EVENT | {"features": FEATURES | REST},
    "more": EVENT | {"features": FEATURES | MORE},
}


def recipe(event: dict[str, Any]) -> Recipe:
    return Recipe(
        "every-kind", EventSettings.model_validate(event), ModelSettings(), LearningSettings()
    )


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_the_example_is_valid_whole_and_read(event: dict[str, Any]) -> None:
    """
    By the schema and by the decoder; no field is missing from it, and none is unknown.
    """
    made = recipe(event)
    schema = event_schema(made)
    example = example_event(made.schema)
    decoder = Decoder(made.schema, 0)

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(example, schema, jsonschema.Draft202012Validator)
    assert [example] == schema["examples"]
    assert [] == decoder.features([example])[1]
    assert ([], []) == decoder.presence(example)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_every_field_has_an_example_of_its_own(event: dict[str, Any]) -> None:
    """
    Which obeys what is said of that field.
    """

    def check(properties: dict[str, Any]) -> None:
        for said in properties.values():
            for part in said.get("allOf", [said]):
                for example in part.get("examples", []):
                    jsonschema.validate(example, part, jsonschema.Draft202012Validator)
                check(part.get("properties", {}))

    check(event_schema(recipe(event))["properties"])


def changed(path: str, value: object) -> dict[str, Any]:
    """Return a good event with another value at a path."""
    event = deepcopy(GOOD)
    *above, key = path.split(".")
    place = event
    for step in above:
        place = place[step]
    place[key] = value
    return event


CHANGES: list[tuple[str, object, bool]] = [
    ("amount", "12.5", True),
    ("amount", True, False),
    ("vip", "oFF", True),
    ("vip", 1.0, True),
    ("vip", 2, False),
    ("vip", "maybe", False),
    ("genres", "a|b", True),
    ("genres", [["a"]], False),
    ("genres", {}, False),
    ("memo", 12, True),
    ("memo", [], False),
    ("emb", [1, 2], False),
    ("emb", [1, 2, None], False),
    ("emb", [1, "2", 3], True),
    ("emb", None, True),
    ("extras", {"a": {"b": [1, "x"]}, "c": None}, True),
    ("extras", {"a": [{}]}, False),
    ("extras", {"a": 1e31}, False),
    ("extras", "a", False),
    ("at", [], False),
    ("device", None, True),
    ("device", "ios", False),
    ("device.os", {}, False),
    ("device.screen", {"inch": "big"}, False),
    ("device.other", {}, True),
    ("new", {"a": [[1]]}, True),
]


@pytest.mark.parametrize(("path", "value", "valid"), CHANGES)
def test_the_schema_says_what_the_decoder_does(path: str, value: object, valid: bool) -> None:
    """
    An event is valid by the schema exactly when it can be read.
    """
    made = recipe(EVENT)
    event = changed(path, value)

    assert valid is jsonschema.Draft202012Validator(event_schema(made)).is_valid(event)
    assert valid is ([] == Decoder(made.schema, 0).features([event])[1])


def test_the_rest_of_an_event_has_a_schema_too() -> None:
    """
    Where a map takes every field that nothing else names.
    """
    validator = jsonschema.Draft202012Validator(event_schema(recipe(EVENTS["rest"])))

    assert validator.is_valid(GOOD | {"new": {"a": "x"}})
    assert not validator.is_valid(GOOD | {"new": [[1]]})


def test_a_schema_is_json() -> None:
    """
    Of plain values, without anything shared.
    """
    schema = event_schema(recipe(EVENTS["more"]))

    assert schema == json.loads(json.dumps(schema))
