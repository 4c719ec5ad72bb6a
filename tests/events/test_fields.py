"""Each kind of field: what it takes, what it gives, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from service.events.decode import Columns, blank, join
from tests.events.kinds import EVENT, FEATURES, GOOD, REST, decoder_of, fault, row, same


def only(kind: str, value: object, **spec: Any) -> Columns:
    """Return the columns of an event with one field."""
    return row(decoder_of({"f": {"type": kind} | spec}), {"f": value})


def refused(kind: str, value: object, **spec: Any) -> tuple[str, str]:
    """Return why a value of one field is refused: code and message."""
    field, code, msg = fault(decoder_of({"f": {"type": kind} | spec}), {"f": value})
    assert "f" == field
    return code, msg


def codes(kind: str, value: object, **spec: Any) -> set[int]:
    """Return the codes of the one bag of an event with one field."""
    [bag] = only(kind, value, **spec).bags
    assert (sorted(set(bag.codes.tolist())), True) == (bag.codes.tolist(), 0 not in bag.codes)
    return set(bag.codes.tolist())


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "TRUE", "t", "Yes", "y", "on", " 1 "])
def test_yes_comes_in_many_spellings(value: object) -> None:
    """
    Each of them is 1.
    """
    assert 1.0 == only("boolean", value).numbers[0, 0]


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "False", "f", "NO", "n", "off", "0"])
def test_no_comes_in_many_spellings(value: object) -> None:
    """
    Each of them is 0.
    """
    assert 0.0 == only("boolean", value).numbers[0, 0]


@pytest.mark.parametrize("value", ["", "maybe", 2, -1, 0.5, [], {}, "ja", [True]])
def test_anything_else_is_neither_yes_nor_no(value: object) -> None:
    """
    Nothing is guessed.
    """
    assert "wrong_type" == refused("boolean", value)[0]


def test_a_list_of_names_has_no_order_and_no_doubles() -> None:
    """
    Names compare as text; null among them is none; the squares of the values add up to 1.
    """
    [bag] = only("categories", ["war", "17", None, "drama", 17]).bags

    assert 3 == len(bag.codes)
    np.testing.assert_allclose(1.0, (bag.values**2).sum())
    assert codes("categories", [17.0, "drama", "war"]) == set(bag.codes.tolist())
    assert not bag.names.any()


def test_names_may_stand_in_one_text() -> None:
    """
    With a separator between them; lists are taken all the same.
    """
    wanted = codes("categories", ["war", "drama"], separator="|")

    assert wanted == codes("categories", "drama| war |", separator="|")
    assert wanted == codes("categories", ["drama", "war"])
    assert "wrong_type" == refused("categories", "drama|war")[0]
    assert set() == codes("categories", "", separator="|") == codes("categories", [])


@pytest.mark.parametrize(("value", "code"), [
    ({"a": 1}, "wrong_type"), ([["a"]], "wrong_type"), (list(range(1025)), "out_of_range"),
])  # fmt: skip
def test_a_bad_list_of_names_is_refused(value: object, code: str) -> None:
    """
    An object, a list in a list, more names than fit.
    """
    assert code == refused("categories", value)[0]


def test_a_vector_is_as_long_as_the_settings_say() -> None:
    """
    Numbers, or texts that hold them; a missing one is missing as a whole.
    """
    assert [1.0, 2.5, -3.0] == only("vector", [1, "2.5", -3], size=3).numbers[0].tolist()
    assert np.isnan(only("vector", None, size=3).numbers).all()


@pytest.mark.parametrize(("value", "code", "said"), [
    ([1, 2], "wrong_type", "a list of 3 numbers, got one of 2"),
    ([1, None, 2], "wrong_type", "null is among them"),
    ([1, True, 2], "wrong_type", "expected a number"),
    ([1, [2], 3], "wrong_type", "expected a number"),
    ([1, 1e31, 3], "out_of_range", "1e30"),
    ([1, 10**400, 3], "out_of_range", "too large"),
    ([1, "NaN", 3], "not_finite", "not a finite number"),
    ("1,2,3", "wrong_type", "a list of 3 numbers"),
])  # fmt: skip
def test_a_bad_vector_is_refused(value: object, code: str, said: str) -> None:
    """
    Of another length, or with something in it that is no number.
    """
    got = refused("vector", value, size=3)

    assert (code, True) == (got[0], said in got[1]), got


def test_a_number_in_a_map_is_scaled_by_its_name() -> None:
    """
    One entry with the value and the hash of its name, one that says it is there.
    """
    [bag] = only("map", {"weight": 1.5}).bags
    [twice] = only("map", {"weight": 3, "height": 2}).bags

    assert [0, 1] == sorted(bag.names.astype(bool).tolist())
    assert 1.5 == bag.values[bag.names != 0]
    assert [1.0] == bag.values[bag.names == 0].tolist()
    assert set(bag.codes.tolist()) < set(twice.codes.tolist())
    assert set(bag.names.tolist()) < set(twice.names.tolist())


def test_names_of_a_map_may_come_and_go() -> None:
    """
    The entries of a name are the same whatever else is there, and need no setting.
    """
    before, after = codes("map", {"a": "x", "b": True}), codes("map", {"b": True, "c": ["p", "q"]})

    assert 1 == len(before & after)
    assert before & after == codes("map", {"b": "true"})
    assert 2 == len(after - before)


@pytest.mark.parametrize(("one", "other"), [
    ({"a": "1"}, {"a": 1}), ({"a": "bc"}, {"ab": "c"}), ({"a": "?b"}, {"a?": "b"}),
    ({"a": ["x"]}, {"b": ["x"]}),
])  # fmt: skip
def test_what_differs_in_a_map_has_other_codes(one: object, other: object) -> None:
    """
    A text is no number, and no name runs into its value.
    """
    assert set() == codes("map", one) & codes("map", other)


def test_an_object_in_a_map_counts_by_its_fields() -> None:
    """
    With dots between names; null and empty ones are nothing.
    """
    assert codes("map", {"a.b": 1, "a.c.d": "x"}) == codes("map", {"a": {"b": 1, "c": {"d": "x"}}})
    assert set() == codes("map", {"a": None, "b": {}, "c": [], "d": [None]})


@pytest.mark.parametrize(("value", "code"), [
    ([1], "wrong_type"), ("a", "wrong_type"), ({"a": [{}]}, "wrong_type"),
    ({"a": 1e31}, "out_of_range"), ({"a": list(range(2000))}, "out_of_range"),
    ({str(i): i for i in range(1025)}, "out_of_range"),
    ({"a": {"b": {str(i): {} for i in range(1023)}}}, "out_of_range"),
])  # fmt: skip
def test_a_bad_map_is_refused(value: object, code: str) -> None:
    """
    No object, something in it that is no value, more names than fit.
    """
    assert code == refused("map", value)[0]


def test_the_rest_is_what_nothing_else_names() -> None:
    """
    Not id, time, targets, features, nor what a path goes through.
    """
    decoder = decoder_of(**EVENT | {"features": FEATURES | REST})
    plain = decoder_of({"others": {"type": "map"}})
    new = {"new": 7, "": "x", "others": "y"}

    found, wanted = row(decoder, GOOD | new), row(plain, {"others": new})

    at = [bag.name for bag in decoder.schema.bags].index("others")
    np.testing.assert_array_equal(found.bags[at].codes, wanted.bags[0].codes)
    assert 0 == len(row(decoder, GOOD).bags[at].codes)
    assert ([], []) == decoder.presence(GOOD | new)


def test_a_time_has_hour_and_weekday_in_its_zone() -> None:
    """
    Half past one on a Saturday in Paris is half past noon in Greenwich.
    """
    found = only("time", "2026-01-31T12:30:00Z", zone="Europe/Paris")
    hour, week = math.tau * 13.5 / 24, math.tau * (5 + 13.5 / 24) / 7

    np.testing.assert_allclose(
        [math.sin(hour), math.cos(hour), math.sin(week), math.cos(week)], found.numbers[0]
    )
    assert [14, 6] == found.codes[0].tolist()


def test_no_two_hours_or_weekdays_share_a_row() -> None:
    """
    Of the 32 and 8 rows of their tables.
    """
    decoder = decoder_of({"f": {"type": "time", "format": "s"}})
    events = [{"f": hour * 3600} for hour in range(24 * 7)]
    columns, _ = decoder.features(events)
    rows = 1 + columns.codes % np.array([31, 7], dtype=np.uint64)

    assert [24, 7] == [len(np.unique(rows[:, 0])), len(np.unique(rows[:, 1]))]


def test_a_time_beyond_the_calendar_is_refused() -> None:
    """
    It has no weekday.
    """
    assert "bad_time" == refused("time", 10**12, format="s")[0]


@pytest.mark.parametrize("device", [None, {}, {"os": None}, {"screen": None}, {"screen": {}}])
def test_a_way_that_ends_early_is_a_missing_field(device: object) -> None:
    """
    A key that is missing or null, at any place on the way.
    """
    decoder = decoder_of(**EVENT)
    found = row(decoder, {"device": device})

    same(blank(decoder.schema, 1), found)
    assert {"os", "screen"} <= set(decoder.presence({"device": device})[1])


@pytest.mark.parametrize(("device", "field", "said"), [
    (5, "os", "an object at device, on the way to device.os, got 5"),
    ({"screen": "big"}, "screen", "at device.screen, on the way to device.screen.inch, got 'big'"),
    ({"screen": []}, "screen", "got an array of 0"),
])  # fmt: skip
def test_a_value_on_the_way_is_named(device: object, field: str, said: str) -> None:
    """
    The path as far as it goes, and the field that cannot be reached.
    """
    decoder = decoder_of(**EVENT)
    _, faults = decoder.features([{"device": device}])
    found = decoder.decode_records([b'{"device": 1}', b'{"device": {"os": 1}}'])

    assert (field, "wrong_type", True) == (faults[0].field, faults[0].code, said in faults[0].msg)
    assert [0] == [record for record, _, _ in found.faults]


def test_a_nested_field_is_the_field_that_it_would_be_at_the_top() -> None:
    """
    Where a value lies means nothing; what it is called does.
    """
    deep = decoder_of({"f": {"type": "category", "path": ["a", "b.c", 'q"']}})
    flat = decoder_of({"f": {"type": "category"}})

    same(row(deep, {"a": {"b.c": {'q"': "x"}}}), row(flat, {"f": "x"}))


def test_one_place_may_be_several_fields() -> None:
    """
    A title as text and as category; a map, and one of its names as a field of its own.
    """
    decoder = decoder_of({
        "title": {"type": "text"}, "same": {"type": "category", "path": "title"},
        "device": {"type": "map"}, "os": {"type": "category", "path": "device.os"},
    })  # fmt: skip
    found = row(decoder, {"title": "x", "device": {"os": "ios"}})

    assert found.codes.all()
    assert [1, 2] == sorted(min(len(bag.codes), 2) for bag in found.bags)


def test_id_and_time_may_be_learned_from() -> None:
    """
    A field may be both.
    """
    decoder = decoder_of({"id": {"type": "category"}, "at": {"type": "number"}}, id="id",
                         time={"field": "at", "format": "s"})  # fmt: skip
    found = decoder.decode_records([b'{"id": 5, "at": "2"}']).columns

    assert (2.0, 2000, True, True) == (
        found.numbers[0, 0], found.times_ms[0], bool(found.keys[0]), bool(found.codes[0, 0])
    )  # fmt: skip


def test_the_seed_and_the_field_move_every_code() -> None:
    """
    Two fields never share codes by their meaning.
    """
    for kind, value in (("categories", ["x"]), ("map", {"a": 1, "b": "x"}), ("text", "some words")):
        decoder = decoder_of({"f": {"type": kind}, "g": {"type": kind}})
        one, other = row(decoder, {"f": value, "g": value}).bags

        assert set() == set(one.codes.tolist()) & set(other.codes.tolist())


@pytest.mark.parametrize(("name", "values"), [
    ("amount", [1.5, None, -0.0, 1e30, "2", 3, 1e-300]), ("amount", [0.1, None, 0.3]),
    ("shop", ["a", None, "b"]), ("shop", ["a", 1, True, 2.0]), ("vip", [True, None, "no"]),
    ("emb", [[1, 2, 3], [0.5, "1", 2], None]), ("memo", ["a b", None, ""]),
    ("extras", [{"a": 1}, None, {"b": "x"}]), ("at", ["2026-01-31", None]),
])  # fmt: skip
def test_a_value_is_read_the_same_alone_and_among_many(name: str, values: list[Any]) -> None:
    """
    Though a whole column may go another way than a single value.
    """
    decoder = decoder_of(**EVENT)
    events = [{name: value} for value in values * 9]
    columns, faults = decoder.features(events)

    assert [] == faults
    same(columns, join([row(decoder, event) for event in events]))


def test_codes_of_categories_are_counted_by_whether_they_were_remembered() -> None:
    """Three shops and two tags, then the same again with one that is new."""
    event = {"shop": {"type": "category"}, "tags": {"type": "categories"}}
    decoder = decoder_of(event)
    first = [b'{"shop": "a", "tags": ["x", "y"]}', b'{"shop": "b"}', b'{"shop": "c"}']

    decoder.decode_records(first)
    assert (0, 5) == decoder.codes
    decoder.decode_records([*first, b'{"shop": "d", "tags": null}', b"{}"])
    assert (5, 6) == decoder.codes
