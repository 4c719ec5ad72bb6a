"""Bad events: few, nothing but bad ones, and nowhere to put them."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_bad_input import TABLE
from tests.e2e.test_learning import CLICK, events
from tests.faults.accounts import outcomes, settled
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.kafka]
PLACE = ("topic", "partition", "offset", "row")
BAD = [
    *(value for _, value, outcome in TABLE if outcome.startswith("dead_lettered/bad_json")),
    b"12",
    json.dumps({"x": "twelve", "c": "a", "y": 1}).encode(),
    json.dumps({"x": "Infinity", "c": "a", "y": 1}).encode(),
    json.dumps({"x": 1e300, "c": "a", "y": 1}).encode(),
    json.dumps({"x": [1.0], "c": "a", "y": 1}).encode(),
    json.dumps({"x": 1.0, "c": "a" * 900_000, "y": "maybe"}).encode(),
]


def places(letters: list[Any]) -> list[tuple[str, ...]]:
    """Return the key by which doubles among dead letters are told, of each."""
    found = []
    for letter in letters:
        headers = dict(letter.headers())
        found.append(tuple(headers[f"headwater-{name}"].decode() for name in PLACE))
    return found


def bad(service: Any) -> int:
    """Return how many events the metrics count as dead letters."""
    return sum(n for name, n in outcomes(service).items() if name.startswith("dead_lettered"))


def test_f26_f27_bad_events_cost_themselves_and_nothing_but_bad_ones_stops_learning(
    make_service, kafka_bootstrap
):
    """One in a hundred of a dozen kinds: each is a dead letter, the rest is learned, nothing
    restarts. Then nothing but bad ones: halted at the limit, letters no more than the limit."""
    topic, dead = Topic(kafka_bootstrap, 4), Topic(kafka_bootstrap)
    service = make_service(topic, kafka={"dead_letter_topic": dead.name})
    service.start()
    good = events(99 * len(BAD))
    stream: list[Any] = []
    for i, value in enumerate(BAD):
        stream += [*good[99 * i : 99 * i + 99], value]
    good += events(4, 1)
    topic.publish([*stream, *good[-4:]])
    service.learned(len(good))
    pid = service.learner_pid()
    until(lambda: bad(service) == len(BAD), f"{len(BAD)} dead letters")
    assert len(BAD) == len(set(places(dead.read_all())))
    assert len(good) == service.model()["events_learned"]

    topic.publish([b"bad"] * 600)
    learner = service.state_is("halted")

    assert "100 in a row" in learner["reason"]
    assert len(BAD) + 100 == len(dead.read_all())
    assert (200, pid) == (service.predict(CLICK)[0], service.learner_pid())


@chaos
def test_f28_f29_no_dead_letter_is_lost_without_its_topic_nor_in_a_crash(
    make_service, kafka_bootstrap
):
    """While the dead-letter topic is gone learning waits and says why, and the cursor passes
    nothing. A crash after a letter is acknowledged and before its cut is journaled: the letter is
    there twice, with one key, and the events are learned once."""
    topic, dead = Topic(kafka_bootstrap), Topic(kafka_bootstrap)
    service = make_service(topic, kafka={"dead_letter_topic": dead.name})
    service.start()
    topic.publish([*events(50), b"first"])
    settled(service, topic, learned=50, dead_lettered__bad_json=1)
    dead.admin.delete_topics([dead.name])[dead.name].result(PATIENCE_S)
    topic.publish([*events(20, 1), b"second", *events(20, 2)])

    def waits() -> bool:
        _, body = service.get("/v1/model")
        return "dead letters" in (body["learner"]["reason"] or "")

    until(waits, "learning waits for the dead letters")
    assert 50 == service.model()["events_learned"]
    assert (200, {"0": 51}) == (
        service.predict(CLICK)[0],
        service.model()["trained_through"][topic.name],
    )
    dead = Topic(kafka_bootstrap, name=dead.name)
    settled(service, topic, learned=90, dead_lettered__bad_json=2)
    assert [(topic.name, "0", "71", "0")] == sorted(set(places(dead.read_all())))

    pid = service.learner_pid()
    journal = max((service.folder / "state").rglob("journal/*"), key=lambda p: p.stat().st_size)
    size = journal.stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))  # no room for another entry
    topic.publish([*events(10, 3), b"third"])
    until(lambda: service.learner_pid() not in (None, pid), "a crash, and another learner")
    settled(service, topic, learned=100, dead_lettered__bad_json=3)

    letters = places(dead.read_all())
    assert 2 == letters.count((topic.name, "0", "102", "0"))
    assert 2 == len(set(letters))
