"""A topic made anew between two records: what the source does, without a broker."""

from __future__ import annotations

from service.stream.records import Cut, DataLoss, Offsets
from service.stream.source import Source
from tests.fakes.broker import FakeBroker

PLACE = ("t", 0)


def opened(broker: FakeBroker) -> Source:
    """A source at the beginning, that looks at its topic every ten minutes."""
    cursors: Offsets = {PLACE: 0}
    return Source(
        broker, ["t"], cursors, batch_rows=100, linger_s=0.01, buffer_records=1000,
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
