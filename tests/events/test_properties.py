"""What holds of every event whatever, with a field of every kind."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.events.decode import Columns, Decoder, join, take
from tests.events.kinds import EVENT, EVENTS, FEATURES, GOOD, JSON_VALUES, REST, decoder_of, same

DECODERS = {
    "fields": decoder_of(**EVENT),
    "rest": decoder_of(**EVENT | {"features": FEATURES | REST}),
    "a map with a field inside": decoder_of(
        **EVENT | {"features": FEATURES | {"device": {"type": "map"}}}
    ),
}


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    """Each way to read an event."""
    return DECODERS[request.param]


def encoded(event: object) -> bytes:
    return json.dumps(event).encode()


@given(st.lists(st.binary(max_size=20) | (EVENTS | JSON_VALUES).map(encoded), max_size=6))
@settings(max_examples=25)
def test_every_record_is_accounted_for_alone_and_in_company(
    decoder: Decoder, payloads: list[bytes]
) -> None:
    """
    Nothing raises; a record gives the same rows and faults whoever its neighbours are.
    """
    found = decoder.decode_records(payloads)
    alone = [decoder.decode_records([payload]) for payload in payloads]

    assert sorted((r, row) for r, row, _ in found.faults) == [
        (r, row) for r, row, _ in found.faults
    ]
    assert [(row, f.field, f.code) for _, row, f in found.faults] == [
        (row, f.field, f.code) for one in alone for _, row, f in one.faults
    ]
    assert set(range(len(payloads))) == {r for r, _, _ in found.faults} | set(found.record.tolist())
    if alone:
        same(found.columns, join([one.columns for one in alone]))


@given(EVENTS)
@settings(max_examples=40)
def test_the_api_reads_an_event_as_the_learner_does(
    decoder: Decoder, event: dict[str, Any]
) -> None:
    """
    Same event, same columns; where one of them finds a fault, so does the other.
    """
    features = {name: value for name, value in event.items() if name not in {"id", "y"}}
    decoder_at = decoder.decode_records([encoded(features)])
    asked, faults = decoder.features([json.loads(json.dumps(features))])

    # as event.time the field `at` is looked at by the learner, as a feature by both
    assert bool(decoder_at.faults) == bool(faults)
    if not faults:
        same(decoder_at.columns, asked)


def shuffled(value: Any, order: Any) -> Any:
    """Return a JSON value with the names of every object in another order."""
    if not isinstance(value, dict):
        return value
    names = order.sample(sorted(value), len(value))
    return {name: shuffled(value[name], order) for name in names}


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_fields_does_not_matter(
    decoder: Decoder, event: dict[str, Any], order: Any
) -> None:
    """
    At the top and in every object inside.
    """
    one = decoder.decode_records([encoded(event)])
    other = decoder.decode_records([encoded(shuffled(event, order))])

    assert [f.field for _, _, f in one.faults] == [f.field for _, _, f in other.faults]
    same(one.columns, other.columns)


@given(EVENTS)
@settings(max_examples=25)
def test_what_is_asked_is_not_changed(decoder: Decoder, event: dict[str, Any]) -> None:
    """
    The objects of a request are read only.
    """
    before = copy.deepcopy(event)
    decoder.features([event])

    assert before == event


@given(st.dictionaries(st.text().filter(lambda name: name not in GOOD), JSON_VALUES))
@settings(max_examples=25)
def test_fields_that_nobody_named_are_ignored(others: dict[str, Any]) -> None:
    """
    Whatever they hold; except where a map takes the rest.
    """
    decoder = DECODERS["fields"]

    found = decoder.decode_records([encoded(GOOD | others)])

    same(found.columns, decoder.decode_records([encoded(GOOD)]).columns)
    assert sorted(others) == sorted(decoder.presence(GOOD | others)[0])


def some(n: int) -> Columns:
    """Return n events that differ in every field."""
    events = [
        GOOD
        | {"amount": i, "genres": list(map(str, range(i % 4))), "memo": "word " * (i % 3) + str(i)}
        for i in range(n)
    ]
    return DECODERS["rest"].decode_records([encoded(event) for event in events]).columns


@given(st.lists(st.integers(0, 19), max_size=30), st.integers(0, 20))
@settings(max_examples=25)
def test_rows_can_be_taken_and_joined(chosen: list[int], at: int) -> None:
    """
    What is cut in two and joined again is the same; what is taken is what decoding those gives.
    """
    columns = some(20)
    index = np.array(chosen, dtype=np.int64)
    halves = [take(columns, np.arange(at)), take(columns, np.arange(at, 20))]

    same(columns, join(halves))
    taken = take(columns, index)
    assert len(index) == len(taken)
    if chosen:
        same(taken, join([take(columns, np.array([one])) for one in chosen]))
