"""Dead letters: what they carry, and that nobody passes one that has not arrived."""

from __future__ import annotations

import pytest

from service.errors import BrokerAway, TopicMissing
from service.stream.broker import Fetched, Run
from service.stream.deadletters import DeadLetters
from service.stream.records import Record
from tests.fakes.broker import FakeBroker, FakeProducer
from tests.stream.labs import SOON_S, Lab, fetch_until, fresh_name

BAD = Record("events", 3, 17, 1_700_000_000_000, b"key", b"{broken", (("trace", b"abc"),))


def add(letters: DeadLetters, record: Record = BAD, row: int = 0) -> None:
    letters.add(record, row=row, reason="bad_json", error="no object", version=42, lineage="l-1")


def letters_in(lab: Lab, topic: str, count: int) -> list[Record]:
    reader = lab.broker.reader({(topic, 0): 0})

    def records(found: list[Fetched]) -> list[Record]:
        return [record for run in found if isinstance(run, Run) for record in run.records]

    found = fetch_until(lab, reader, lambda f: len(records(f)) >= count)
    reader.close()
    return records(found)


class TestOverEveryBroker:
    def test_a_letter_is_the_record_and_its_story(self, lab: Lab) -> None:
        """
        Key, value and headers as they were, and who, where, when and why.
        """
        topic = lab.topic()
        letters = DeadLetters(lab.broker, topic)
        add(letters, row=2)
        letters.flush(SOON_S)
        letters.close()

        (found,) = letters_in(lab, topic, 1)

        assert (b"key", b"{broken") == (found.key, found.value)
        assert (
            ("trace", b"abc"),
            ("headwater-reason", b"bad_json"),
            ("headwater-error", b"no object"),
            ("headwater-topic", b"events"),
            ("headwater-partition", b"3"),
            ("headwater-offset", b"17"),
            ("headwater-row", b"2"),
            ("headwater-timestamp", b"1700000000000"),
            ("headwater-version", b"42"),
            ("headwater-lineage", b"l-1"),
        ) == found.headers

    def test_a_missing_topic_is_created(self, lab: Lab) -> None:
        """
        Nobody has to prepare the dead-letter topic.
        """
        topic = fresh_name()

        letters = DeadLetters(lab.broker, topic)
        add(letters)
        letters.flush(SOON_S)
        letters.close()

        assert 1 == len(letters_in(lab, topic, 1))

    def test_a_flush_returns_when_all_are_acknowledged(self, lab: Lab) -> None:
        """
        After it, the cursor may pass.
        """
        letters = DeadLetters(lab.broker, lab.topic())
        for row in range(100):
            add(letters, row=row)

        letters.flush(SOON_S)

        assert (0, 100, 100) == (
            letters.pending,
            letters.acknowledged,
            letters.counts["bad_json"],
        )
        letters.close()

    def test_a_letter_too_large_for_its_topic_goes_without_its_value(self, lab: Lab) -> None:
        """
        One event costs no more than itself: reason and place are stored, the size is told.
        """
        if lab.kind == "embedded":
            pytest.skip("this broker takes any size")
        topic = lab.topic()
        large = Record("events", 0, 1, 0, b"key", b"x" * (20 << 20))
        letters = DeadLetters(lab.broker, topic)
        add(letters, large)

        with pytest.raises(BrokerAway):
            letters.flush(SOON_S)
        letters.flush(SOON_S)
        letters.close()

        (found,) = letters_in(lab, topic, 1)
        assert (b"key", None) == (found.key, found.value)
        assert ("headwater-value-left-out", b"20971520 bytes") in (found.headers or ())


class TestWithoutAnAnswer:
    def test_letters_on_their_way_hold_the_cursor(self) -> None:
        """
        No answer in time: the flush raises, and the next one waits for the same letters.
        """
        broker = FakeBroker()
        letters = DeadLetters(broker, "dead")
        producer = letters._producer
        assert isinstance(producer, FakeProducer)
        add(letters)
        producer.stuck = True

        with pytest.raises(BrokerAway, match="1 dead letters for dead"):
            letters.flush(1.0)
        producer.stuck = False
        letters.flush(1.0)

        assert 1 == len(broker.topics["dead"].partitions[0].records)

    def test_failed_letters_are_sent_again(self) -> None:
        """
        A refusal is not the end of a letter.
        """
        broker = FakeBroker()
        letters = DeadLetters(broker, "dead")
        add(letters)
        broker.writes_refused = "not now"

        with pytest.raises(BrokerAway, match="not now"):
            letters.flush(1.0)
        broker.writes_refused = None
        letters.flush(1.0)

        assert 1 == len(broker.topics["dead"].partitions[0].records)
        assert (0, 1) == (letters.pending, letters.acknowledged)

    def test_a_topic_that_may_not_be_created_is_told_at_the_start(self) -> None:
        """
        Not at the first bad event, when learning would have to stop for it.
        """
        broker = FakeBroker()
        broker.topics_refused = True

        with pytest.raises(TopicMissing, match="dead"):
            DeadLetters(broker, "dead")

    def test_without_a_topic_letters_are_counted(self) -> None:
        """
        Nothing is sent, nothing is waited for.
        """
        letters = DeadLetters(FakeBroker(), None)
        add(letters)

        letters.flush(0.0)

        assert {"bad_json": 1} == dict(letters.counts)
        letters.close()
