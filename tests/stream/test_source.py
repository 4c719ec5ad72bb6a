"""The source over every broker: the fake, the embedded one, and Kafka itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from service.stream.broker import Outgoing
from service.stream.records import Cut, DataLoss, Offsets, PartitionAdded, Record
from service.stream.source import Source
from service.stream.start import resolve_start
from tests.stream.labs import SOON_S, Lab, write

T0 = 1_700_000_000_000

Found = Cut | DataLoss | PartitionAdded


def source_of(
    lab: Lab, topic: str, cursors: Offsets | None = None, *, batch_rows: int = 100
) -> Source:
    return Source(
        lab.broker,
        [topic],
        resolve_start(lab.broker, [topic], "earliest") if cursors is None else cursors,
        batch_rows=batch_rows,
        linger_s=0.02,
        buffer_records=5000,
        clock=lab.clock,
        discovery_s=0.1,
    )


def next_of(lab: Lab, source: Source, enough: Callable[[list[Found]], bool]) -> list[Found]:
    """Everything the source says until it is enough."""
    found: list[Found] = []
    deadline = lab.clock() + SOON_S
    while not enough(found):
        assert lab.clock() < deadline, f"not enough: {found}"
        if (item := source.next_cut(0.1)) is not None:
            found.append(item)
    return found


def records_of(found: list[Found]) -> list[Record]:
    """Records in the order in which they were taken."""
    return [cut.records[i] for cut in found if isinstance(cut, Cut) for i in cut.selection]


def spread(lab: Lab, topic: str, partitions: int, total: int) -> None:
    """Write consecutive milliseconds over partitions, in turns."""
    for partition in range(partitions):
        turns = range(partition, total, partitions)
        values = [str(i).encode() for i in turns]
        write(lab, (topic, partition), values, [T0 + i for i in turns])


class TestOrder:
    def test_a_backlog_over_four_partitions_is_read_in_order_of_time(self, lab: Lab) -> None:
        """
        What was written in turns to four partitions is learned as if it had been one.
        """
        topic = lab.topic(4)
        spread(lab, topic, 4, 2000)
        source = source_of(lab, topic)

        found = next_of(lab, source, lambda f: len(records_of(f)) >= 2000)
        source.close()

        assert [T0 + i for i in range(2000)] == [r.timestamp_ms for r in records_of(found)]

    def test_a_publisher_writing_flat_out_is_read_nearly_in_order(self, lab: Lab) -> None:
        """
        While records arrive as fast as they can be written, few are taken after newer ones.
        """
        if lab.kind == "fake":
            pytest.skip("the clock of the fake knows no other thread")
        topic, total = lab.topic(4), 40_000
        source = source_of(lab, topic, batch_rows=1000)
        assert None is source.next_cut(0.5)

        def publish() -> None:
            for i in range(total):
                lab.producer.send(Outgoing(topic, b"x", timestamp_ms=T0 + i, partition=i % 4))
            lab.producer.flush(SOON_S)

        publisher = threading.Thread(target=publish)
        publisher.start()
        found = next_of(lab, source, lambda f: len(records_of(f)) >= total)
        publisher.join()
        source.close()

        times = [record.timestamp_ms for record in records_of(found)]
        newest, late = 0, 0
        for time_ms in times:
            late += time_ms < newest
            newest = max(newest, time_ms)
        assert total == len(set(times))
        assert late <= total // 20


class TestReplay:
    def test_a_replay_gives_the_same_rows(self, lab: Lab) -> None:
        """
        Each cut is read again exactly, given its next offsets; then the rest comes, once.
        """
        topic = lab.topic(3)
        spread(lab, topic, 3, 900)
        live = source_of(lab, topic)
        cuts = [cut for cut in next_of(lab, live, lambda f: len(f) >= 4) if isinstance(cut, Cut)]
        live.close()
        replay = source_of(lab, topic)

        again = [replay.read_range(cut.next_offsets, SOON_S) for cut in cuts]
        rest = next_of(lab, replay, lambda f: len(records_of(f)) >= 900 - sum(map(rows, cuts)))
        replay.close()

        assert [cut.records for cut in cuts] == [cut.records for cut in again if type(cut) is Cut]
        everything = [r.timestamp_ms for r in records_of([*cuts, *rest])]
        assert [T0 + i for i in range(900)] == everything

    def test_a_range_that_ends_in_markers_is_complete(self, lab: Lab) -> None:
        """
        Behind the last committed record stand an aborted transaction and its marker.
        """
        place = (lab.topic(), 0)
        lab.transaction(place, [b"kept"], commit=True)
        lab.transaction(place, [b"dropped"], commit=False)
        source = source_of(lab, place[0])

        cut = source.read_range({place: 4}, SOON_S)
        source.close()

        assert isinstance(cut, Cut)
        assert [b"kept"] == [record.value for record in cut.records]
        assert {place: 4} == source.cursors


class TestWhatIsSeen:
    def test_aborted_transactions_are_never_learned(self, lab: Lab) -> None:
        """
        Committed records come; aborted ones do not; and then nothing is left to do.
        """
        place = (lab.topic(), 0)
        lab.transaction(place, [b"kept"], commit=True)
        lab.transaction(place, [b"dropped"], commit=False)
        source = source_of(lab, place[0])

        found = next_of(lab, source, lambda f: len(records_of(f)) >= 1)
        assert None is source.next_cut(1.0)
        lag = source.lag()
        source.close()

        assert [b"kept"] == [record.value for record in records_of(found)]
        assert {place: 0} == lag

    def test_tombstones_are_records(self, lab: Lab) -> None:
        """
        A record without a value is handed out: it is counted, not overlooked.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"a", None, b"b"])
        source = source_of(lab, place[0])

        found = next_of(lab, source, lambda f: len(records_of(f)) >= 3)
        source.close()

        assert [b"a", None, b"b"] == [record.value for record in records_of(found)]

    def test_a_new_partition_is_found(self, lab: Lab) -> None:
        """
        It is told, begins at its first record, and is read.
        """
        topic = lab.topic(1)
        source = source_of(lab, topic)
        lab.add_partitions(topic, 2)
        write(lab, (topic, 1), [b"new"])

        found = next_of(lab, source, lambda f: len(records_of(f)) >= 1)
        source.close()

        assert PartitionAdded(topic, 1, 0) in found
        assert [b"new"] == [record.value for record in records_of(found)]


class TestLoss:
    def test_retention_that_overtook_the_cursor_is_a_loss(self, lab: Lab) -> None:
        """
        Reading stops there, says what is gone, and goes on where it is told.
        """
        place = (lab.topic(), 0)
        write(lab, place, [str(i).encode() for i in range(10)])
        lab.delete_records({place: 6})
        source = source_of(lab, place[0], {place: 2})

        assert [DataLoss(*place, "retention", 2, 6, 10)] == source.check()
        (loss,) = next_of(lab, source, bool)
        assert DataLoss(*place, "retention", 2, 6, 10) == loss
        source.skip_to(place, 6)
        found = next_of(lab, source, lambda f: len(records_of(f)) >= 4)
        source.close()

        assert [b"6", b"7", b"8", b"9"] == [record.value for record in records_of(found)]

    def test_a_topic_made_anew_is_a_loss(self, lab: Lab) -> None:
        """
        The cursor belongs to another topic of that name.
        """
        if not lab.has_topic_ids:
            pytest.skip("this broker gives topics no ids")
        place = (lab.topic(), 0)
        write(lab, place, [b"old"] * 3)
        source = source_of(lab, place[0])
        next_of(lab, source, lambda f: len(records_of(f)) >= 3)
        source.check()

        lab.recreate(place[0])
        write(lab, place, [b"new"] * 3)

        (loss,) = next_of(lab, source, lambda f: any(isinstance(i, DataLoss) for i in f))
        source.close()
        assert isinstance(loss, DataLoss)
        # where the new log begins is not said for certain in its first moments, and nothing asks
        assert (*place, "recreated", 3) == (loss.topic, loss.partition, loss.reason, loss.wanted)
        assert 3 == loss.available_high

    def test_a_topic_made_anew_while_we_were_away_is_a_loss(self, lab: Lab) -> None:
        """
        The identity that was saved is compared before the first record.
        """
        if not lab.has_topic_ids:
            pytest.skip("this broker gives topics no ids")
        place = (lab.topic(), 0)
        saved = {place[0]: lab.broker.topic_id(place[0])}
        lab.recreate(place[0])
        write(lab, place, [b"new"] * 3)
        source = Source(
            lab.broker,
            [place[0]],
            {place: 1},
            batch_rows=10,
            linger_s=0.02,
            buffer_records=100,
            clock=lab.clock,
            topic_ids=saved,
        )

        losses = source.check()
        source.close()

        assert [DataLoss(*place, "recreated", 1, 0, 3)] == losses


def rows(cut: Cut) -> int:
    return len(cut.records)
