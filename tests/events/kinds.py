"""An event with a field of every kind, and JSON to try it with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

from service.events.decode import Columns, Decoder
from service.events.schema import Schema
from service.settings import EventSettings

FEATURES: dict[str, Any] = {
    "amount": {"type": "number"},
    "shop": {"type": "category", "buckets": 1024},
    "vip": {"type": "boolean"},
    "genres": {"type": "categories", "separator": "|"},
    "memo": {"type": "text"},
    "emb": {"type": "vector", "size": 3},
    "extras": {"type": "map"},
    "at": {"type": "time", "zone": "Europe/Paris"},
    "os": {"type": "category", "path": "device.os"},
    "screen": {"type": "number", "path": ["device", "screen", "inch"]},
}
EVENT: dict[str, Any] = {
    "id": "id",
    "time": {"field": "at"},
    "features": FEATURES,
    "interactions": [["amount", "shop"]],
    "targets": {"y": {"type": "binary"}},
}
REST = {"others": {"type": "map", "rest": True}}
GOOD: dict[str, Any] = {
    "id": 7,
    "at": "2026-01-31T12:30:00Z",
    "amount": 12.5,
    "shop": "m17",
    "vip": "yes",
    "genres": ["drama", "war"],
    "memo": "Two words, 1 number!",
    "emb": [1, 2.5, -3],
    "extras": {"colour": "red", "weight": 1.5, "tags": ["a", "b"], "size": {"x": True}},
    "device": {"os": "ios", "screen": {"inch": "6.1"}},
    "y": 1,
}


def decoder_of(features: dict[str, Any], **event: Any) -> Decoder:
    """Return a decoder of these features; of a binary target y unless told otherwise."""
    tree = {"features": features, "targets": {"y": {"type": "binary"}}} | event
    return Decoder(Schema(EventSettings.model_validate(tree)), seed=0)


def row(decoder: Decoder, event: dict[str, Any]) -> Columns:
    """Return the columns of one good event, which request and record agree on."""
    found = decoder.decode_records([json.dumps(event).encode()])
    asked, faults = decoder.features([event])
    assert ([], []) == (found.faults, faults)
    same(found.columns, asked)
    return found.columns


def fault(decoder: Decoder, event: dict[str, Any]) -> tuple[str | None, str, str]:
    """Return field, code and message of one bad event, which request and record agree on."""
    found = decoder.decode_records([json.dumps(event).encode()])
    _, faults = decoder.features([event])
    assert [found.faults[0][2]] == faults
    return faults[0].field, faults[0].code, faults[0].msg


def same(one: Columns, other: Columns) -> None:
    """Check that the inputs of two sets of events are equal to the bit."""
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_array_equal(one.codes, other.codes)
    for left, right in zip(one.bags, other.bags, strict=True):
        np.testing.assert_array_equal(left.spans, right.spans)
        np.testing.assert_array_equal(left.codes, right.codes)
        np.testing.assert_array_equal(left.values, right.values)
        np.testing.assert_array_equal(left.names, right.names)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(["yes", "a|b", "2026-01-31", "1e3", "Words and 12 more"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    | st.dictionaries(st.sampled_from(["os", "screen", "inch"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
EVENTS = st.dictionaries(st.sampled_from([*GOOD, "new", "others"]), JSON_VALUES).map(
    lambda changes: GOOD | changes
)
