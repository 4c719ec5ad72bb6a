"""A table of bad inputs at the topic: what each gets, and that its neighbours are learned."""

from __future__ import annotations

import json

import pytest

from tests.e2e.service import Topic, until

pytestmark = pytest.mark.e2e

GOOD = {"id": "a", "at": "2026-01-01T00:00:00Z", "x": 1.0, "c": "red", "y": 1, "m": "lo"}


def event(**fields: object) -> bytes:
    """Return GOOD as JSON with other fields."""
    return json.dumps(GOOD | fields).encode()


TABLE: list[tuple[str, bytes | None, str]] = [
    ("empty value", b"", "dead_lettered/bad_json"),
    ("not JSON", b"GET / HTTP/1.1", "dead_lettered/bad_json"),
    ("cut off", event()[:-5], "dead_lettered/bad_json"),
    ("not UTF-8", b'{"c": "\xff"}', "dead_lettered/bad_json"),
    ("NaN literal", b'{"x": NaN, "y": 1}', "dead_lettered/bad_json"),
    ("nested beyond reason", b"[" * 100_000, "dead_lettered/bad_json"),
    ("a number", b"12", "dead_lettered/not_an_object"),
    ("a text", b'"hello"', "dead_lettered/not_an_object"),
    ("number as boolean", event(x=True), "dead_lettered/wrong_type"),
    ("number as word", event(x="twelve"), "dead_lettered/wrong_type"),
    ("number as list", event(x=[1]), "dead_lettered/wrong_type"),
    ("category as object", event(c={"a": 1}), "dead_lettered/wrong_type"),
    ("Infinity as text", event(x="Infinity"), "dead_lettered/not_finite"),
    ("too large a number", event(x=1e300), "dead_lettered/out_of_range"),
    ("label of no class", event(y="maybe"), "dead_lettered/unknown_class"),
    ("class not declared", event(m="middle"), "dead_lettered/unknown_class"),
    ("time that is none", event(at="tomorrow"), "dead_lettered/bad_time"),
    ("tombstone", None, "filtered/tombstone"),
    ("no label at all", event(y=None, m=None), "filtered/unlabelled"),
    ("number as text", event(x="12.5"), "learned"),
    ("unseen category", event(c="never seen before"), "learned"),
    ("missing features", b'{"y": 0}', "learned"),
    ("unknown field", event(other=[1, {"deep": True}]), "learned"),
    ("one label of two", event(m=None), "learned"),
    ("an array of two", b"[" + event() + b"," + event(y=0) + b"]", "learned"),
]


def test_each_bad_input_gets_its_outcome_and_its_neighbours_are_learned(
    make_service, embedded_bootstrap
):
    """Every input of the table between good events; the dead letters are exact."""
    topic, dead = Topic(embedded_bootstrap, 2), Topic(embedded_bootstrap)
    service = make_service(
        topic,
        kafka={"dead_letter_topic": dead.name},
        event={
            "id": "id",
            "time": "at",
            "features": {"x": {"type": "number"}, "c": {"type": "category"}},
            "targets": {
                "y": {"type": "binary"},
                "m": {"type": "multiclass", "classes": ["lo", "hi"]},
            },
        },
    )
    service.start()
    stream: list[bytes | None] = []
    expected: dict[str, int] = {}
    bad: dict[int, tuple[str, bytes]] = {}
    for _, value, outcome in TABLE:
        if outcome.startswith("dead_lettered") and value is not None:
            bad[len(stream)] = (outcome.partition("/")[2], value)
        stream += [value, event()]
        expected["learned"] = expected.get("learned", 0) + 1
        expected[outcome] = expected.get(outcome, 0) + (2 if value and value[:2] == b"[{" else 1)
    topic.publish(stream)
    service.learned(expected["learned"])

    total = sum(expected.values())
    until(lambda: sum(service.status()["outcomes"].values()) >= total, "the end of the topic")
    assert expected == service.status()["outcomes"]
    letters = dead.read_all()
    found = {}
    for letter in letters:
        headers = {k.removeprefix("headwater-"): v.decode() for k, v in letter.headers()}
        assert topic.name == headers["topic"]
        assert {"error", "timestamp", "version", "lineage", "row"} <= headers.keys()
        at = int(headers["offset"]) * 2 + int(headers["partition"])
        found[at] = (headers["reason"], letter.value())
    assert bad == found
    assert len(bad) == len(letters)
    name = 'headwater_events_total{outcome="learned",process="learner",reason=""}'
    until(
        lambda: service.metrics().get(name) == expected["learned"], "the metric of learned events"
    )
    counted = [v for k, v in service.metrics().items() if k.startswith("headwater_events_total")]
    assert total == sum(counted)
