"""What the log is told of a start: waiting, replaying, learning, and that nothing comes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import BrokerAway
from service.learn import herald
from service.learn.door import Door
from service.learn.herald import Herald, Waiting
from service.learn.reach import Redone
from service.learn.sources import Sources
from tests.fakes.broker import FakeBroker
from tests.learn.cuts import learner, records, take

TESTED = """
name: tested
kafka: {bootstrap_servers: "none:1", topics: [t]}
event: {features: {x: {type: number}}, targets: {y: {type: binary}}}
"""


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def events(logs: list[Any]) -> list[tuple[str, Any]]:
    return [(one["event"], one.get("for_s")) for one in logs]


def test_what_is_waited_for_is_said_again_every_half_minute_and_when_it_is_over(
    clock: Clock,
) -> None:
    """
    At once when it changes, with for how long all in all; asking often says nothing more.
    """
    waiting = Waiting(clock)
    with capture_logs() as logs:
        waiting.over()
        waiting.tell("Kafka does not answer")
        for _ in range(70):
            clock.now_s += 1.0
            waiting.still()
            waiting.tell("Kafka does not answer")
        waiting.tell("topic t does not exist yet")
        clock.now_s += 5.0
        waiting.over()
        waiting.over()
        waiting.still()

    assert [
        ("waiting", None), ("waiting", 30), ("waiting", 60), ("waiting", None), ("waited", 75.0),
    ] == events(logs)  # fmt: skip
    assert "topic t does not exist yet" == logs[3]["why"]


def test_a_door_that_goes_on_to_something_else_waits_no_more(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A replay that got its records again does not say for ever that it waits for them.
    """
    beats: list[Any] = []

    class Live:
        def beat(self, said: dict[str, Any]) -> None:
            beats.append(said)

    class Nothing:
        place = None

    door = Door(Live(), Nothing(), Nothing(), clock)  # type: ignore[arg-type]
    with capture_logs() as logs:
        door.waiting("Kafka does not answer")
        door.beat("replaying", "at version 7", 0.5)
        clock.now_s += 100.0
        door.beat("replaying", "at version 8", 0.6)

    assert ["waiting", "waited"] == [one["event"] for one in logs]
    assert ["restoring", "replaying", "replaying"] == [said["state"] for said in beats]


def test_the_first_prediction_and_the_first_event_are_told_once(clock: Clock) -> None:
    """
    With version and events; what was learned before this start does not count as the first.
    """
    of, told = learner(), Herald(["t"], clock)
    take(of, records(20, 0))
    with capture_logs() as logs:
        told.published(of)
        told.published(of)
        take(of, records(20, 20))
        told.published(of)
        take(of, records(20, 40))
        told.published(of)

    assert [("predictions_possible", 1, 20), ("learning", 2, 40)] == [
        (one["event"], one["version"], one["events_learned"]) for one in logs
    ]
    assert "note" not in logs[0]


def test_a_new_model_says_that_its_predictions_are_from_nothing(clock: Clock) -> None:
    """
    They are possible at once, and worth little.
    """
    with capture_logs() as logs:
        Herald(["t"], clock).published(learner())

    assert (0, "from nothing learned yet; they get better with each event") == (
        logs[0]["events_learned"], logs[0]["note"],
    )  # fmt: skip


@pytest.mark.parametrize(("learned", "event"), [(0, "no_events_yet"), (20, "no_new_events")])
def test_that_nothing_comes_is_said_after_a_while_and_again(
    clock: Clock, learned: int, event: str
) -> None:
    """
    Only while it is idle with nothing waiting, and never again once an event was learned.
    """
    of, told = learner(), Herald(["clicks"], clock)
    if learned:
        take(of, records(learned, 0))
    told.published(of)
    with capture_logs() as logs:
        for state, lag, seconds in (
            ("idle", None, 60), ("paused", 0, 60), ("idle", 5, 60), ("idle", 0, 40),
        ):  # fmt: skip
            for _ in range(seconds):
                told.beat(state, lag)
                clock.now_s += 1.0
        take(of, records(20, learned))
        told.published(of)
        for _ in range(100):
            told.beat("idle", 0)
            clock.now_s += 1.0

    assert [(event, 3), (event, 33), ("learning", None)] == events(logs)
    assert ["clicks"] == logs[0]["topics"]


def test_a_replay_beats_often_and_logs_now_and_then(clock: Clock) -> None:
    """
    Records done of how many, how fast, what is left; the last entry is always told.
    """
    of, beats = learner(), list[Any]()
    with capture_logs() as logs:
        progress = herald.replaying(lambda *said: beats.append(said), clock)
        for done in range(1, 101):
            clock.now_s += 0.0625
            of.standing.version = done
            progress(Redone(done, 100, 10 * done, 1000), of)

    assert [1, 6] == [round((line["version"] - 1) / 16) for line in logs]
    first = logs[0]
    assert ("replaying", 1000, "records") == (first["event"], first["total"], first["unit"])
    assert 160 == pytest.approx(first["rate"], rel=0.1)
    assert 20 < len(beats) < 40
    state, reason, share = beats[-1]
    assert ("replaying", 1.0) == (state, share)
    assert reason.startswith("at version 100: 1,000 of 1,000 records (100%), ")


def test_the_search_for_topics_is_told_at_once(load_settings: Any) -> None:
    """
    Kafka may take ten seconds to be given up; whoever looks at the log knows what goes on.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    found = load_settings(TESTED)
    over: list[str] = []
    sources = Sources(
        found, broker, threading.Event(), lambda _: None, over=lambda: over.append("over")
    )
    with capture_logs() as logs:
        sources.wait()
        sources.wait()

    assert [("looking_for_topics", ["t"], "none:1")] == [
        (one["event"], one["topics"], one["kafka"]) for one in logs
    ]
    assert ["over", "over"] == over


def test_a_kafka_that_refuses_an_answer_at_once_is_asked_again_now_and_then(
    load_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a pause each time, and one line of the log for all of it.
    """
    broker, stop, pauses, waiting = FakeBroker(), threading.Event(), list[Any](), Waiting()
    broker.create_topic("t", 1)
    monkeypatch.setattr(stop, "wait", pauses.append)
    sources = Sources(load_settings(TESTED), broker, stop, waiting.tell, over=waiting.over)

    def asked() -> str:
        if len(pauses) < 5:
            raise BrokerAway("Kafka says no")
        return "found"

    with capture_logs() as logs:
        assert "found" == sources.ask(asked)

    assert 5 == len(pauses)
    assert all(pause > 0 for pause in pauses)
    assert ["waiting", "waited"] == [one["event"] for one in logs if one["event"][:4] == "wait"]
