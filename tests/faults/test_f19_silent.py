"""A partition that the client does not hear any more, without an error."""

from __future__ import annotations

import pytest

from service.stream.records import Cut, Offsets
from service.stream.source import Source
from tests.fakes.broker import FakeBroker

TOPIC, SILENT_S = "t", 30.0


def cluster() -> FakeBroker:
    """A topic of four partitions, ten records each."""
    broker = FakeBroker()
    broker.create_topic(TOPIC, 4)
    for partition in range(4):
        for i in range(10):
            broker.append((TOPIC, partition), b"", timestamp_ms=i)
    return broker


def opened(broker: FakeBroker) -> Source:
    """A source at the beginning."""
    cursors: Offsets = {(TOPIC, p): 0 for p in range(4)}
    return Source(
        broker, [TOPIC], cursors, batch_rows=8, linger_s=0.01, buffer_records=1000,
        clock=broker.clock, wall_ms=broker.clock.wall_ms,
    )  # fmt: skip


def taken(source: Source, seconds: float) -> Offsets:
    """Take cuts for so long; return how many records came of each partition."""
    count: Offsets = {}
    until_s = source._clock() + seconds
    while source._clock() < until_s:
        if isinstance(cut := source.next_cut(0.05), Cut):
            for r in cut.records:
                count[r.topic, r.partition] = count.get((r.topic, r.partition), 0) + 1
    return count


def test_f19_a_silent_partition_is_an_alarm_and_is_read_again() -> None:
    """
    One of four brings nothing although it has more: told within the limit, the reader is opened
    anew, and each record comes once.
    """
    broker = cluster()
    source = opened(broker)
    broker.deaf = {(TOPIC, 2)}

    early = taken(source, SILENT_S - 12.0)
    assert {(TOPIC, 0): 10, (TOPIC, 1): 10, (TOPIC, 3): 10} == early
    assert {} == source.silences
    late = taken(source, 24.0)

    assert {(TOPIC, 2): 10} == late
    assert {(TOPIC, 2): 1} == source.silences
    assert 2 == broker.readers


def test_f19_a_partition_that_falls_silent_at_its_end_is_noticed_too() -> None:
    """
    It was read to its end; what came after that is known from the survey only.
    """
    broker = cluster()
    source = opened(broker)
    taken(source, 15.0)
    broker.deaf = {(TOPIC, 1)}
    broker.append((TOPIC, 1), b"late")

    assert {(TOPIC, 1): 1} == taken(source, SILENT_S + 15.0)
    assert {(TOPIC, 1): 1} == source.silences


@pytest.mark.parametrize(
    "quiet", ["nothing to read", "an open transaction", "one that begins later", "only markers"]
)
def test_f19_a_partition_that_has_nothing_is_not_silent(quiet: str) -> None:
    """
    Idle partitions, open transactions and offsets without records raise no alarm.
    """
    broker = cluster()
    if quiet == "an open transaction":
        broker.open_transaction((TOPIC, 0))
        broker.append((TOPIC, 0), b"uncommitted")
    if quiet == "only markers":
        broker.skip_offsets((TOPIC, 0), 3)
    source = opened(broker)
    taken(source, 12.0)
    if quiet == "one that begins later":
        broker.skip_offsets((TOPIC, 0))  # the end is behind the last record
        taken(source, 12.0)
        broker.open_transaction((TOPIC, 0))
        broker.append((TOPIC, 0), b"uncommitted")

    taken(source, 4 * SILENT_S)

    assert ({}, 1) == (dict(source.silences), broker.readers)


def test_f19_neither_an_absent_broker_nor_a_slow_caller_makes_a_partition_silent() -> None:
    """
    Only time in which somebody listened counts, and in which the broker answers.
    """
    broker = cluster()
    source = opened(broker)
    taken(source, 12.0)
    for partition in range(4):
        broker.append((TOPIC, partition), b"more")
    source.next_cut(0.0)
    broker.away = True
    taken(source, 3 * SILENT_S)
    broker.away = False
    for _ in range(10):
        broker.clock.advance(SILENT_S)
        source.next_cut(0.0)

    assert ({}, 1) == (dict(source.silences), broker.readers)
