"""The JSON Schema of an event with fields of every kind."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.decode import Decoder
from service.model.recipe import Recipe
from service.serve.schema import event_schema, example_event
from service.settings import EventSettings, LearningSettings, ModelSettings
from tests.events.kinds import EVENT, FEATURES, GOOD, JSON_VALUES, REST

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
        "every-kind",
        EventSettings.model_validate(event),
        ModelSettings(kind="linear"),
        LearningSettings(),
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
                whole = {**part, "$defs": schema["$defs"]}
                for example in part.get("examples", []):
                    jsonschema.validate(example, whole, jsonschema.Draft202012Validator)
                check(part.get("properties", {}))

    schema = event_schema(recipe(event))
    check(schema["properties"])


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
    ("amount", " -1.5e-3 ", True),
    ("amount", "12e5", True),
    ("amount", "1e30", True),
    ("amount", "1e31", False),
    ("amount", "9" * 31, False),
    ("amount", "1\x1c", False),
    ("genres", [str(n) for n in range(1024)], True),
    ("genres", [str(n) for n in range(1025)], False),
    ("genres", "|".join(map(str, range(1024))), True),
    ("genres", "|".join(map(str, range(1025))), False),
    ("genres", 7, True),
    ("extras", {"a": {"b": {"c": [[1]]}}}, False),
    ("extras", {"a": {"b": {"c": 1e31}}}, False),
    ("extras", {"a": {"b": {"c": "x", "d": [1, None]}}}, True),
    ("extras", {"a": [str(n) for n in range(1024)]}, False),
    ("at", "2026-01-31", True),
    ("at", "2026/01/31 12:30:00.123456", True),
    ("at", "20260131123000", True),
    ("at", "2026-W05-6", True),
    ("at", "2026W05", True),
    ("at", "2026-W54-1", False),
    ("at", "2026-01-31T12:30:00,5+05:30", True),
    ("at", " 2026-01-31t12:30z ", True),
    ("at", "2024-02-29", True),
    ("at", "2026-02-29", False),
    ("at", "2026-04-31", False),
    ("at", "2026-01-31T24:00:00", False),
    ("at", "2026-01-31T12:00:00+24:00", False),
    ("at", "9999-12-31T23:59:59Z", False),
    ("at", "0000-01-01", False),
    ("at", "31.01.2026", False),
    ("at", "noon", False),
    ("at", "1769860800", False),
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


TIMES: list[tuple[str, object, bool]] = [
    ("s", 1_769_860_800.25, True),
    ("s", "1769860800.25", True),
    ("s", -62_135_596_800, True),
    ("s", -62_135_596_801, False),
    ("s", 1_769_860_800_000, False),
    ("s", "1769860800000", False),
    ("s", "1e400", False),
    ("ms", 1_769_860_800_000, True),
    ("ms", 253_402_300_800_000, False),
    ("ns", 10**25, False),
    ("auto", "20260131", True),
    ("auto", "1769860800", True),
    ("auto", 1_769_860_800_000_000_000, True),
    ("auto", 10**25, False),
    ("auto", "soon", False),
]


@pytest.mark.parametrize(("form", "value", "valid"), TIMES)
def test_the_schema_knows_the_times_that_there_are(form: str, value: object, valid: bool) -> None:
    """
    Of the years 1 to 9999, as a number or a text that holds one.
    """
    made = recipe(EVENT | {"time": None, "features": {"at": {"type": "time", "format": form}}})
    event = {"at": value}

    assert valid is jsonschema.Draft202012Validator(event_schema(made)).is_valid(event)
    assert valid is ([] == Decoder(made.schema, 0).features([event])[1])


FIGURES = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "-", " +", "\n"]),
    st.integers(0, 10**33) | st.sampled_from([62_135_596_801, 253_402_300_800, 10**30, "00"]),
    st.sampled_from(["", ".", ".5", ".000"]),
    st.sampled_from(["", "e1", "E-7", "e+30", "e29", "e031"]),
    st.sampled_from(["", " "]),
)
DAYS = st.builds(
    "{:04}{}{:02}{}{:02}{}{}{}".format,
    st.sampled_from([0, 1, 1900, 2000, 2024, 2026, 9999]),
    st.sampled_from(["-", "/", ""]),
    st.integers(0, 13),
    st.sampled_from(["-", "/", ""]),
    st.integers(0, 32),
    st.sampled_from(["", "T", " ", "t", "x"]),
    st.sampled_from(["", "12", "23:59:59.5", "24:00", "1260", "120000", "12:00"]),
    st.sampled_from(["", "Z", "z", "+01:00", "-23:59", "+24:00", "-0800"]),
)
NESTED = JSON_VALUES | st.dictionaries(st.text(max_size=2), JSON_VALUES, max_size=2)
ZONES = ("UTC", "Europe/Paris", "America/Los_Angeles")
EVERY = recipe(
    EVENT
    | {
        "features": FEATURES
        | REST
        | {
            f"{form}/{zone}": {"type": "time", "format": form, "zone": zone}
            for form in ("iso", "auto", "s", "ms", "us", "ns")
            for zone in ZONES
        }
    }
)
_DECODER = Decoder(EVERY.schema, 0)
_SCHEMA = event_schema(EVERY)
_OF_FIELD = {
    name: jsonschema.Draft202012Validator({**said, "$defs": _SCHEMA["$defs"]})
    for name, said in [*_SCHEMA["properties"].items(), ("new", _SCHEMA["additionalProperties"])]
}


@given(JSON_VALUES | NESTED | FIGURES | DAYS)
def test_what_the_schema_takes_can_be_read(value: object) -> None:
    """
    Of any field, whatever is in it: who sends what is valid gets no refusal for it.
    """
    taken = {name: value for name, said in _OF_FIELD.items() if said.is_valid(value)}

    assert [] == _DECODER.features([taken])[1]


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
