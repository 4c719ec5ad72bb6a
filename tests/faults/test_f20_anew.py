"""A topic made anew between two records: what the source does, without a broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from service.stream.broker import Survey
from service.stream.records import Cut, DataLoss, Offsets
from service.stream.source import Source
from tests.fakes.broker import FakeBroker

PLACE = ("t", 0)


def opened(broker: FakeBroker, cursors: Offsets | None = None) -> Source:
    """A source at the beginning, that looks at its topic every ten minutes."""
    return Source(
        broker, ["t"], cursors or {PLACE: 0}, batch_rows=100, linger_s=0.01, buffer_records=1000,
        clock=broker.clock, wall_ms=broker.clock.wall_ms, discovery_s=600.0,
    )  # fmt: skip


def write(broker: FakeBroker, n: int) -> None:
    """Append n records."""
    for _ in range(n):
        broker.append(PLACE, b"")


def test_f20_records_after_a_pause_are_not_handed_out_before_the_topic_is_known_to_be_the_same() -> (
    None
):
    """
    The new topic has offsets that fit; the next look would be in ten minutes.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    write(broker, 5)
    source = opened(broker)
    assert isinstance(source.next_cut(1.0), Cut)
    broker.clock.advance(1.0)
    broker.delete_topic("t")
    broker.create_topic("t", 1)
    write(broker, 50)

    assert DataLoss("t", 0, "recreated", 5, 0, 50) == source.next_cut(1.0)
    assert {PLACE: 5} == source.cursors


def test_f20_records_wait_for_a_slow_look_but_not_for_long() -> None:
    """
    A cluster that takes ten seconds to describe a topic holds records for two, again and again
    they come.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    source = opened(broker)
    source.next_cut(1.0)
    broker.survey_s = 10.0
    taken = 0
    for _ in range(20):
        broker.clock.advance(1.0)
        write(broker, 1)
        if isinstance(cut := source.next_cut(0.1), Cut):
            taken += len(cut.records)

    assert 15 < taken


def test_f20_a_look_that_was_under_way_when_records_came_proves_nothing() -> None:
    """
    It may have seen the topic of before; what it holds back is told lost by the look after it.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    write(broker, 5)
    source = opened(broker)
    assert isinstance(source.next_cut(1.0), Cut)
    broker.clock.advance(1.0)
    broker.survey_s, broker.surveys_tell_what_was = 1.0, True
    write(broker, 1)  # of the topic that is known; a look begins, which takes a second
    assert source.next_cut(0.05) is None
    broker.delete_topic("t")
    broker.create_topic("t", 1)
    write(broker, 50)
    broker.clock.advance(0.5)
    found = [source.next_cut(0.1) for _ in range(30)]
    cuts = [cut for cut in found if isinstance(cut, Cut)]

    assert [[5]] == [[record.offset for record in cut.records] for cut in cuts]
    assert DataLoss("t", 0, "recreated", 6, 0, 50) == found[-1]


def test_f20_a_process_that_stood_still_releases_nothing_unproven() -> None:
    """
    The time in which it could not ask is not time in which Kafka did not answer.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    write(broker, 5)
    source = opened(broker)
    assert isinstance(source.next_cut(1.0), Cut)
    broker.clock.advance(1.0)
    broker.survey_s, broker.surveys_tell_what_was = 1.0, True
    write(broker, 1)  # of the topic that is known; a look begins, which takes a second
    assert source.next_cut(0.05) is None
    broker.delete_topic("t")
    broker.create_topic("t", 1)
    write(broker, 50)
    broker.clock.advance(0.5)
    assert source.next_cut(0.05) is None  # they came, and wait for the look after that one
    assert source.buffered > 1
    broker.clock.advance(60.0)
    found = [source.next_cut(0.1) for _ in range(30)]
    cuts = [cut for cut in found if isinstance(cut, Cut)]

    assert [[5]] == [[record.offset for record in cut.records] for cut in cuts]
    assert DataLoss("t", 0, "recreated", 6, 0, 50) == found[-1]


@pytest.mark.parametrize(("partitions", "answer_s"), [(1, 0.0), (40, 0.05), (200, 0.1)])
def test_f20_looks_are_few_and_records_do_not_wait_long_for_them(
    partitions: int, answer_s: float
) -> None:
    """
    However many partitions pause all the time: at most four looks a second, and a record waits
    for the one after it came, not for a moment in which none comes.
    """
    broker = FakeBroker()
    broker.create_topic("t", partitions)
    broker.survey_s = answer_s
    source = opened(broker, {("t", p): 0 for p in range(partitions)})
    source.next_cut(1.0)
    looks, ask = [0], broker.survey

    def counted(topics: Sequence[str]) -> Callable[[float], Survey | None]:
        looks[0] += 1
        return ask(topics)

    broker.survey = counted  # type: ignore[method-assign]
    began, waits, n = broker.clock(), [], 0
    while broker.clock() - began < 4.0:
        broker.append(("t", n % partitions), b"", timestamp_ms=broker.clock.wall_ms())
        n += 1
        found = source.next_cut(0.02)
        if isinstance(found, Cut):
            waits += [broker.clock.wall_ms() - r.timestamp_ms for r in found.records]

    assert looks[0] <= 4.0 / 0.25 + 2
    assert max(waits) <= 1000 * (0.25 + 2 * answer_s + 0.2)
    assert len(waits) >= n - 60
