"""From bytes to columns: types, faults, and neighbours that are left alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.decode import Decoder
from service.events.schema import Schema
from service.settings import EventSettings

EVENT = {
    "id": "id",
    "time": {"field": "at", "format": "iso", "zone": "Europe/Paris"},
    "features": {"amount": {"type": "number"}, "class": {"type": "category", "buckets": 1024},
                 "tx-id": {"type": "category", "buckets": 1024}},
    "targets": {"fraud": {"type": "binary"}, "up": {"type": "binary", "positive": "UP"},
                "kind": {"type": "multiclass", "classes": ["a", "17"]}, "n": {"type": "number"}},
}  # fmt: skip
GOOD = {"id": 1, "at": "2026-01-01T00:00:00", "amount": 2.5, "class": "x", "tx-id": 17, "fraud": 1}


@pytest.fixture
def decoder() -> Decoder:
    """A decoder of EVENT."""
    return Decoder(Schema(EventSettings.model_validate(EVENT)), seed=0)


def changed(**fields: object) -> bytes:
    """Return GOOD as JSON with other fields."""
    return json.dumps(GOOD | fields).encode()


def test_numbers_may_come_as_texts_and_missing_is_nan(decoder):
    """12.5, "12.5" and an absent number."""
    found = decoder.decode_records(
        [changed(amount=12.5), changed(amount="12.5"), b"{}", changed(amount=None)]
    )

    assert [12.5, 12.5] == found.columns.numbers[:2, 0].tolist()
    assert np.isnan(found.columns.numbers[2:, 0]).all()


def test_categories_compare_as_text(decoder):
    """17, "17" and 17.0 are one; true is "true"; another value is another code."""
    values = [17, "17", 17.0, True, "true", "18"]
    codes = decoder.decode_records([changed(**{"tx-id": v}) for v in values]).columns.codes[:, 1]

    assert codes[0] == codes[1] == codes[2]
    assert codes[3] == codes[4]
    assert 3 == len(set(codes.tolist()))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("fraud", 1, 1.0), ("fraud", "1", 1.0), ("fraud", True, 1.0), ("fraud", "true", 1.0),
        ("fraud", 0, 0.0), ("fraud", "false", 0.0), ("fraud", None, math.nan),
        ("up", "UP", 1.0), ("up", "DOWN", 0.0), ("up", 3, 0.0),
        ("kind", "a", 0.0), ("kind", 17.0, 1.0), ("n", "-3.5", -3.5), ("n", 4, 4.0),
    ],
)  # fmt: skip
def test_labels_are_read_as_the_target_says(decoder, field, value, expected):
    """Binary, multiclass and number targets."""
    at = [t.name for t in decoder.schema.targets].index(field)

    found = decoder.decode_records([changed(**{field: value})]).columns.targets[0, at]

    np.testing.assert_equal(found, expected)


BAD = [
    (b"", "bad_json"),
    (b"not json", "bad_json"),
    (b'{"amount": NaN}', "bad_json"),
    (b'{"amount": 1', "bad_json"),
    (b"\xff\xfe", "bad_json"),
    (b"12", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"null", "not_an_object"),
    (b"[]", "not_an_object"),
    (changed(amount=True), "wrong_type"),
    (changed(amount="twelve"), "wrong_type"),
    (changed(amount="1_000"), "wrong_type"),
    (changed(amount=[1]), "wrong_type"),
    (changed(amount={"v": 1}), "wrong_type"),
    (b'{"amount": ' + b"[" * 900 + b"]" * 900 + b"}", "wrong_type"),
    (b'{"amount": ' + b"[" * 9000 + b"]" * 9000 + b"}", "bad_json"),
    (changed(amount="NaN"), "not_finite"),
    (changed(amount="-Infinity"), "not_finite"),
    (changed(amount="1e999"), "not_finite"),
    (changed(amount=1e31), "out_of_range"),
    (changed(amount="1e31"), "out_of_range"),
    (changed(**{"class": ["x"]}), "wrong_type"),
    (changed(fraud="maybe"), "unknown_class"),
    (changed(fraud=2), "unknown_class"),
    (changed(kind="c"), "unknown_class"),
    (changed(n="many"), "wrong_type"),
    (changed(at="yesterday"), "bad_time"),
    (changed(at=12), "bad_time"),
]


@pytest.mark.parametrize(("payload", "code"), BAD)
def test_a_bad_event_is_named_and_costs_its_neighbours_nothing(decoder, payload, code):
    """Every kind of bad input between two good events."""
    found = decoder.decode_records([changed(), payload, changed(amount=3)])

    assert [0, 2] == found.record.tolist()
    assert [2.5, 3.0] == found.columns.numbers[:, 0].tolist()
    assert [(1, code)] == [(record, fault.code) for record, _, fault in found.faults]
    assert found.faults[0][2].msg


def test_a_huge_json_number_is_a_bad_event(decoder):
    """1e999 as a JSON number does not fit a double."""
    found = decoder.decode_records([b'{"amount": 1e999}'])

    assert 1 == len(found.faults)


def test_a_record_without_a_value_is_a_tombstone(decoder):
    """Compacted topics hold them."""
    found = decoder.decode_records([changed(), None, changed()])

    assert ([1], [0, 2], []) == (found.tombstones, found.record.tolist(), found.faults)


def test_a_record_may_hold_an_array_of_events(decoder):
    """One bad event inside the array does not cost the others."""
    payload = b"[" + changed() + b"," + changed(amount="x") + b"," + changed(amount=7) + b"]"
    found = decoder.decode_records([payload])

    assert [0, 2] == found.row.tolist()
    assert [(0, 1)] == [(record, row) for record, row, _ in found.faults]


def test_naive_times_are_in_the_zone_of_the_settings(decoder):
    """Midnight in Paris in winter is 23:00 UTC."""
    found = decoder.decode_records([changed(at="2026-01-01 00:00:00")]).columns.times_ms[0]

    assert 1767222000000 == found


@pytest.mark.parametrize(
    ("spelling", "value"),
    [("s", 1.5), ("ms", 1500), ("us", 1500000), ("ns", "1500000000"), ("ns", 1500000000)],
)
def test_times_come_in_every_unit(spelling, value):
    """Seconds to nanoseconds, numbers or texts."""
    event = EVENT | {"time": {"field": "at", "format": spelling, "zone": "UTC"}}
    decoder = Decoder(Schema(EventSettings.model_validate(event)), seed=0)

    assert [1500] == decoder.decode_records([changed(at=value)]).columns.times_ms.tolist()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
EVENTS = st.dictionaries(st.sampled_from([*GOOD, "up", "kind", "n", "other"]), JSON_VALUES)


@given(st.lists(st.binary(max_size=40) | EVENTS.map(lambda e: json.dumps(e).encode()), max_size=8))
def test_every_record_becomes_rows_or_a_fault_and_nothing_raises(payloads):
    """Whatever bytes come: each record is accounted for exactly once, alone or in company."""
    decoder = Decoder(Schema(EventSettings.model_validate(EVENT)), seed=0)
    found = decoder.decode_records(payloads)
    alone = [decoder.decode_records([p]) for p in payloads]

    places = [(r, row) for r, row, _ in found.faults]
    places += list(zip(found.record.tolist(), found.row.tolist(), strict=True))
    assert len(places) == len(set(places))
    assert set(range(len(payloads))) == {r for r, _ in places}
    assert len(found.columns) == sum(len(a.columns) for a in alone)
    for a, n in zip((a for a in alone if len(a.columns)), np.unique(found.record), strict=True):
        np.testing.assert_equal(found.columns.numbers[found.record == n], a.columns.numbers)
        np.testing.assert_equal(found.columns.codes[found.record == n], a.columns.codes)


@given(EVENTS)
def test_the_api_reads_an_event_as_the_learner_does(event):
    """Same event, same columns; where the learner's features are bad, the API has a fault."""
    decoder = Decoder(Schema(EventSettings.model_validate(EVENT)), seed=0)
    features = {k: v for k, v in event.items() if k in decoder.schema.features}

    from_topic = decoder.decode_records([json.dumps(features).encode()])
    from_http, faults = decoder.features([json.loads(json.dumps(features))])

    assert bool(from_topic.faults) == bool(faults)
    if not faults:
        np.testing.assert_equal(from_topic.columns.numbers, from_http.numbers)
        np.testing.assert_equal(from_topic.columns.codes, from_http.codes)


def test_a_field_may_have_any_name():
    """Quotes, backslashes, control characters: learner and API read them alike."""
    names = ['q"uo', "back\\slash", "new\nline", "é", "a/b"]
    event = {
        "features": {name: {"type": "number"} for name in names},
        "targets": {'y"': {"type": "binary"}},
    }
    decoder = Decoder(Schema(EventSettings.model_validate(event)), seed=0)
    given_event = {name: float(at) for at, name in enumerate(names)} | {'y"': 1}

    found = decoder.decode_records([json.dumps(given_event).encode()])
    asked, faults = decoder.features([given_event])

    assert [] == found.faults
    assert [] == faults
    np.testing.assert_equal(found.columns.numbers, asked.numbers)
    assert sorted(found.columns.numbers[0]) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_request_names_every_fault(decoder):
    """Event and field of each, all at once."""
    _, faults = decoder.features([{"amount": "x", "class": []}, 5, {"amount": 1}])

    assert [(0, "amount"), (0, "class"), (1, None)] == [(f.index, f.field) for f in faults]


def test_unknown_and_missing_fields_are_told(decoder):
    """A typo is visible; a target or an id is no typo."""
    unknown, missing = decoder.presence({"amuont": 1, "class": "x", "fraud": 0, "id": 4})

    assert (["amuont"], ["amount", "tx-id"]) == (unknown, missing)
