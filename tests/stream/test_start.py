"""Before the first record: topics that are not there yet, and where to begin."""

from __future__ import annotations

import pytest

from service.stream.start import resolve_start, wait_for_topics
from tests.fakes.broker import FakeBroker
from tests.stream.labs import Lab, write

T0 = 1_700_000_000_000


class TestWaiting:
    def test_a_missing_topic_is_waited_for_and_told_once(self) -> None:
        """
        No crash loop: as soon as the topic is created, the wait is over.
        """
        broker, told = FakeBroker(), list[str]()
        pauses = iter([lambda: None, lambda: None, lambda: broker.create_topic("t", 1)])

        there = wait_for_topics(broker, ["t"], lambda: False, told.append, lambda: next(pauses)())

        assert there
        assert ["topic t does not exist yet"] == told

    def test_a_broker_that_is_away_is_waited_for(self) -> None:
        """
        The reason is told, and again when it changes.
        """
        broker, told = FakeBroker(), list[str]()
        broker.away = True

        def comes_back() -> None:
            broker.away = False
            if told[-1].startswith("topic"):
                broker.create_topic("t", 1)

        assert wait_for_topics(broker, ["t"], lambda: False, told.append, comes_back)
        assert ["the fake is away", "topic t does not exist yet"] == told

    def test_a_stop_ends_the_wait(self) -> None:
        """
        Whoever waits can be stopped.
        """
        assert not wait_for_topics(FakeBroker(), ["t"], lambda: True, lambda _: None)


class TestBeginning:
    @pytest.mark.parametrize(
        ("start", "offset"),
        [
            ("earliest", 1),
            ("latest", 4),
            ("2023-11-14T22:13:20.015Z", 2),
            ("2023-11-14T22:13:20.015", 2),
            ("2023-11-14T23:13:20.015+01:00", 2),
            ("2030-01-01", 4),
            ("2000-01-01", 1),
        ],
    )
    def test_a_start_is_an_offset_in_every_partition(
        self, lab: Lab, start: str, offset: int
    ) -> None:
        """
        The first record left, the end, or the first record of a time (UTC unless it says so).
        """
        topic = lab.topic(2)
        write(lab, (topic, 0), [b"x"] * 4, [T0, T0 + 10, T0 + 20, T0 + 30])
        lab.delete_records({(topic, 0): 1})

        assert {(topic, 0): offset, (topic, 1): 0} == resolve_start(lab.broker, [topic], start)
