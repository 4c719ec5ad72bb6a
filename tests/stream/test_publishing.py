"""From rows to messages: timestamps, keys, partitions, and what was acknowledged."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from service.settings import EventSettings, EventTime
from service.stream.files import Row
from service.stream.publishing import Messages, Sent, Stamps, publish
from tests.fakes.broker import FakeBroker

NOW_MS = 1_700_000_000_000


def event(**more: Any) -> EventSettings:
    return EventSettings.model_validate(
        {
            "features": {"n": {"type": "number"}, "c": {"type": "category"}},
            "targets": {"y": {"type": "number"}},
            **more,
        }
    )


def rows(count: int) -> list[Row]:
    return [{"n": "1"} for _ in range(count)]


class TestStamps:
    def test_an_event_with_a_time_has_it(self) -> None:
        """
        The record's timestamp is the event's own time.
        """
        stamps = Stamps(EventTime(field="t"), lambda: NOW_MS)

        assert [1_577_836_800_000, 1_577_836_799_000] == [
            stamps.of({"t": "2020-01-01T00:00:00Z"}),
            stamps.of({"t": "2019-12-31T23:59:59Z"}),
        ]

    def test_events_without_a_time_are_milliseconds_apart(self) -> None:
        """
        Consecutive, from now on: so order survives partitions.
        """
        stamps = Stamps(None, lambda: NOW_MS)

        assert [NOW_MS, NOW_MS + 1, NOW_MS + 2] == [stamps.of({}) for _ in range(3)]

    def test_slow_events_have_the_time_of_the_clock(self) -> None:
        """
        When the clock is ahead of the count, the clock is right.
        """
        clock = iter([NOW_MS, NOW_MS + 500, NOW_MS + 500])
        stamps = Stamps(None, lambda: next(clock))

        assert [NOW_MS, NOW_MS + 500, NOW_MS + 501] == [stamps.of({}) for _ in range(3)]

    def test_timestamps_stay_within_what_brokers_take(self) -> None:
        """
        Millions of events in a second do not run an hour ahead of the clock.
        """
        stamps = Stamps(None, lambda: NOW_MS)
        stamps._last = NOW_MS + 50 * 60_000

        assert [NOW_MS + 50 * 60_000] * 2 == [stamps.of({}) for _ in range(2)]

    @pytest.mark.parametrize("broken", [{}, {"t": "no time"}, {"t": 5}, [], b"{", "9999-01-01"])
    def test_an_event_whose_time_cannot_be_used_follows_the_one_before(
        self, broken: object
    ) -> None:
        """
        It is sent all the same, a millisecond later than its predecessor.
        """
        stamps = Stamps(EventTime(field="t"), lambda: NOW_MS)
        first = stamps.of({"t": "2020-01-01T00:00:00Z"})

        assert first + 1 == stamps.of(broken)

    def test_an_event_from_the_future_follows_the_one_before(self) -> None:
        """
        Kafka would refuse its time as a timestamp.
        """
        stamps = Stamps(EventTime(field="t"), lambda: NOW_MS)
        first = stamps.of({"t": "2020-01-01T00:00:00Z"})

        assert first + 1 == stamps.of({"t": "2999-01-01T00:00:00Z"})

    def test_the_same_events_again_are_later(self) -> None:
        """
        A second pass over a file begins behind the first.
        """
        stamps = Stamps(EventTime(field="t", format="ms"), lambda: NOW_MS)
        first = [stamps.of({"t": t}) for t in (1000, 2000)]
        stamps.again()

        assert [2001, 3001] == [stamps.of({"t": t}) for t in (1000, 2000)]
        assert [1000, 2000] == first


class TestMessages:
    def test_number_fields_are_sent_as_numbers(self) -> None:
        """
        Cells of number fields become JSON numbers, those of categories stay texts.
        """
        message = Messages(event(), "t", 1).of({"n": "1.50", "c": "1.50", "y": "2"})

        assert b'{"n":1.50,"c":"1.50","y":2}' == message.value

    def test_messages_without_an_id_go_to_partitions_in_turns(self) -> None:
        """
        Every partition gets the same share.
        """
        messages = Messages(event(), "t", 3)

        assert [0, 1, 2, 0, 1, 2] == [messages.of({"n": "1"}).partition for _ in range(6)]

    def test_an_id_is_the_key_and_decides_the_partition(self) -> None:
        """
        The same id always goes to the same partition.
        """
        messages = Messages(event(id="k"), "t", 4)
        sent = [messages.of({"k": name}) for name in "abcabc"]

        assert [b"a", b"b", b"c"] * 2 == [message.key for message in sent]
        assert sent[0].partition == sent[3].partition
        assert all(0 <= (message.partition or 0) < 4 for message in sent)

    def test_a_malformed_line_is_sent_as_it_is(self) -> None:
        """
        Bad input is what dead letters are for.
        """
        message = Messages(event(id="k", time="t"), "t", 4).of(b"{broken")

        assert (b"{broken", None) == (message.value, message.key)


class TestPublish:
    def test_everything_is_acknowledged_at_the_end(self) -> None:
        """
        What was sent is what was acknowledged, spread over partitions.
        """
        broker = FakeBroker()
        broker.create_topic("t", 2)
        messages = Messages(event(), "t", 2)
        sent = Sent()

        publish(broker.producer(), map(messages.of, rows(10)), None, sent, lambda _: None)

        assert (10, 10) == (sent.sent, sent.acknowledged)
        assert [5, 5] == [len(log.records) for log in broker.topics["t"].partitions]

    def test_what_is_refused_is_told(self) -> None:
        """
        Failures are counted, and the first reason is kept.
        """
        broker = FakeBroker()
        broker.create_topic("t", 1)
        broker.writes_refused = "not authorized"
        sent = Sent()

        publish(
            broker.producer(),
            map(Messages(event(), "t", 1).of, rows(3)),
            None,
            sent,
            lambda _: None,
        )

        assert (3, 0, "not authorized") == (sent.sent, sent.acknowledged, sent.reason)

    def test_an_interruption_still_settles_what_was_sent(self) -> None:
        """
        A file that breaks off in the middle: what was sent before is acknowledged.
        """
        broker = FakeBroker()
        broker.create_topic("t", 1)
        messages = Messages(event(), "t", 1)
        sent = Sent()

        def breaking_off() -> Any:
            yield messages.of({"n": "1"})
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            publish(broker.producer(), breaking_off(), None, sent, lambda _: None)

        assert (1, 1) == (sent.sent, sent.acknowledged)

    def test_progress_ends_with_the_total(self) -> None:
        """
        The last word is how many were sent.
        """
        broker = FakeBroker()
        broker.create_topic("t", 1)
        said: Counter[int] = Counter()

        publish(
            broker.producer(),
            map(Messages(event(), "t", 1).of, rows(3)),
            1_000_000.0,
            Sent(),
            lambda done: said.update([done]),
        )

        assert 3 == max(said)
