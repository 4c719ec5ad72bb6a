"""What every Broker does: the fake, the embedded one, and Kafka itself."""

from __future__ import annotations

import pytest

from service.errors import TopicMissing
from service.stream.broker import Outgoing, Run
from tests.stream.labs import (
    SOON_S,
    Lab,
    fetch_until,
    fresh_name,
    read_refusal,
    read_to_end,
    write,
)


class TestTopics:
    def test_partitions_are_listed_in_order(self, lab: Lab) -> None:
        """
        A topic of three partitions has the partitions 0, 1 and 2.
        """
        assert [0, 1, 2] == lab.broker.partitions(lab.topic(3))

    def test_a_missing_topic_is_not_created_by_asking(self, lab: Lab) -> None:
        """
        Asking for a topic that does not exist says so, however often one asks.
        """
        name = fresh_name()

        for ask in (lab.broker.partitions, lab.broker.topic_id, lab.broker.partitions):
            with pytest.raises(TopicMissing):
                ask(name)

    def test_creating_an_existing_topic_changes_nothing(self, lab: Lab) -> None:
        """
        A topic that is there stays as it is.
        """
        name = lab.topic(2)

        lab.broker.create_topic(name, 5)

        assert [0, 1] == lab.broker.partitions(name)

    def test_a_topic_made_anew_has_another_identity(self, lab: Lab) -> None:
        """
        Same name, other topic id.
        """
        if not lab.has_topic_ids:
            pytest.skip("this broker gives topics no ids")
        name = lab.topic()
        before = lab.broker.topic_id(name)

        lab.recreate(name)

        assert None is not before != lab.broker.topic_id(name)

    def test_a_survey_sees_partitions_watermarks_and_absence(self, lab: Lab) -> None:
        """
        One question tells partitions, ends, identity, and which topics are missing.
        """
        name, missing = lab.topic(2), fresh_name()
        write(lab, (name, 1), [b"a", b"b", b"c"])
        lab.delete_records({(name, 1): 2})

        seen = lab.broker.survey([name, missing])(SOON_S)

        assert seen is not None
        assert None is seen[missing]
        found = seen[name]
        assert found is not None
        assert {0: (0, 0), 1: (2, 3)} == found.watermarks
        assert lab.broker.topic_id(name) == found.topic_id


class TestOffsets:
    def test_watermarks_are_first_and_next(self, lab: Lab) -> None:
        """
        Of five records, the first readable is 0 and the next one written is 5.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 5)

        assert (0, 5) == lab.broker.watermarks(place)

    def test_deleted_records_raise_the_low_watermark(self, lab: Lab) -> None:
        """
        What was deleted is not readable any more.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 5)

        lab.delete_records({place: 3})

        assert (3, 5) == lab.broker.watermarks(place)

    def test_a_time_is_the_first_offset_of_it_or_later(self, lab: Lab) -> None:
        """
        Between two records, the later one is meant.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 3, [1_700_000_000_000, 1_700_000_000_010, 1_700_000_000_020])

        assert 1 == lab.broker.offset_for_time(place, 1_700_000_000_005)

    def test_a_time_after_the_last_record_is_the_end(self, lab: Lab) -> None:
        """
        Nothing is that late yet: the next record will be.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 3)

        assert 3 == lab.broker.offset_for_time(place, 1_800_000_000_000)

    def test_commits_are_kept_for_lag_tools(self, lab: Lab) -> None:
        """
        What a reader commits can be asked for; partitions without a commit are left out.
        """
        name = lab.topic(2)
        write(lab, (name, 0), [b"x"] * 3)
        reader = lab.broker.reader({(name, 0): 0})
        deadline = lab.clock() + SOON_S

        reader.commit({(name, 0): 2})
        while not lab.broker.committed([(name, 0)]):
            assert lab.clock() < deadline
            reader.fetch(1, 0.05)
        reader.close()

        assert {(name, 0): 2} == lab.broker.committed([(name, 0), (name, 1)])
        assert 0 == reader.commit_failures


class TestReading:
    def test_records_come_as_they_were_sent(self, lab: Lab) -> None:
        """
        Key, value, timestamp and repeated headers survive; a tombstone has no value.
        """
        place = (lab.topic(), 0)
        headers = (("a", b"1"), ("a", b"2"), ("none", None))
        lab.producer.send(Outgoing(place[0], b"v", b"k", headers, 1_700_000_000_123, 0))
        lab.producer.send(Outgoing(place[0], None, b"k", None, 1_700_000_000_124, 0))
        assert [] == lab.producer.flush(SOON_S)
        reader = lab.broker.reader({place: 0})

        (first, second), _ = read_to_end(lab, reader)
        reader.close()

        assert (*place, 0, 1_700_000_000_123, b"k", b"v", headers) == (
            first.topic,
            first.partition,
            first.offset,
            first.timestamp_ms,
            first.key,
            first.value,
            first.headers,
        )
        assert (1, b"k", None, None) == (second.offset, second.key, second.value, second.headers)

    def test_reading_begins_where_it_is_told(self, lab: Lab) -> None:
        """
        Offset 2 is the first record of a reader that begins at 2.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"0", b"1", b"2", b"3"])
        reader = lab.broker.reader({place: 2})

        records, _ = read_to_end(lab, reader)
        reader.close()

        assert [b"2", b"3"] == [record.value for record in records]

    def test_the_end_of_a_partition_is_told(self, lab: Lab) -> None:
        """
        After the last record comes the offset of the one that is not there yet; then silence.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 3)
        reader = lab.broker.reader({place: 0})

        _, ends = read_to_end(lab, reader)

        assert [3] == [end.offset for end in ends]
        assert [] == reader.fetch(10, 0.3)
        assert 3 == reader.high(place)
        reader.close()

    def test_an_empty_partition_ends_at_once(self, lab: Lab) -> None:
        """
        Nothing to read is known to be nothing.
        """
        place = (lab.topic(), 0)
        reader = lab.broker.reader({place: 0})

        records, ends = read_to_end(lab, reader)
        reader.close()

        assert [] == records
        assert [0] == [end.offset for end in ends]

    def test_a_run_holds_one_partition_in_order(self, lab: Lab) -> None:
        """
        Records of several topics and partitions come as runs, each with its own timestamps.
        """
        first, second = lab.topic(2), lab.topic(1)
        places = [(first, 0), (first, 1), (second, 0)]
        for place in places:
            write(lab, place, [b"x"] * 40)
        reader = lab.broker.reader(dict.fromkeys(places, 0))

        found = fetch_until(
            lab, reader, lambda f: sum(len(r.records) for r in f if isinstance(r, Run)) == 120
        )
        reader.close()

        runs = [run for run in found if isinstance(run, Run)]
        for run in runs:
            assert {(run.topic, run.partition)} == {(r.topic, r.partition) for r in run.records}
            assert run.times_ms == [record.timestamp_ms for record in run.records]
        for place in places:
            mine = [run for run in runs if (run.topic, run.partition) == place]
            assert list(range(40)) == [record.offset for run in mine for record in run.records]

    def test_at_most_so_many_are_fetched(self, lab: Lab) -> None:
        """
        No fetch brings more than was asked for.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 10)
        reader = lab.broker.reader({place: 0})
        sizes: list[int] = []

        while sum(sizes) < 10:
            sizes += [len(r.records) for r in reader.fetch(3, 1.0) if isinstance(r, Run)]
        reader.close()

        assert max(sizes) <= 3

    def test_a_partition_can_be_added_later(self, lab: Lab) -> None:
        """
        Adding begins to read a partition, and leaves the others where they are.
        """
        name = lab.topic(2)
        write(lab, (name, 0), [b"a"])
        write(lab, (name, 1), [b"b", b"c"])
        reader = lab.broker.reader({(name, 0): 0})
        read_to_end(lab, reader)

        reader.add({(name, 1): 1})
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert [(1, b"c")] == [(record.partition, record.value) for record in records]

    def test_a_partition_set_aside_goes_on_where_it_is_told(self, lab: Lab) -> None:
        """
        Removed and added again, a partition is read from exactly that offset.
        """
        place = (lab.topic(), 0)
        write(lab, place, [str(i).encode() for i in range(300)])
        reader = lab.broker.reader({place: 0})
        fetch_until(lab, reader, bool)

        reader.remove([place])
        assert [] == reader.fetch(100, 0.2)
        reader.add({place: 7})
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert list(range(7, 300)) == [record.offset for record in records]

    def test_reading_goes_on_under_the_leader_epoch_that_was_told(self, lab: Lab) -> None:
        """
        Where the broker tells epochs, giving one back finds the log as it was.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"a", b"b"])
        reader = lab.broker.reader({place: 0})
        found = fetch_until(lab, reader, lambda found: any(isinstance(r, Run) for r in found))
        reader.close()
        epoch = next(run.epoch for run in found if isinstance(run, Run))
        write(lab, place, [b"c"])

        reader = lab.broker.reader({place: 2}, {place: epoch} if epoch >= 0 else None)
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert epoch >= 0 or lab.kind == "embedded"
        assert [b"c"] == [record.value for record in records]


class TestLoss:
    def test_deleted_records_are_out_of_range(self, lab: Lab) -> None:
        """
        An offset before the first readable one is refused, and named.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 5)
        lab.delete_records({place: 3})
        reader = lab.broker.reader({place: 1})

        refusal = read_refusal(lab, reader)
        reader.close()

        assert (*place, 1) == (refusal.topic, refusal.partition, refusal.offset)

    def test_an_offset_beyond_the_end_is_out_of_range(self, lab: Lab) -> None:
        """
        No reader jumps back to the end of a log that was cut off.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 5)
        reader = lab.broker.reader({place: 50})

        refusal = read_refusal(lab, reader)
        reader.close()

        assert 50 == refusal.offset

    def test_a_refused_partition_can_be_read_from_elsewhere(self, lab: Lab) -> None:
        """
        After a decision, reading goes on at the offset that was decided.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"x"] * 5)
        lab.delete_records({place: 3})
        reader = lab.broker.reader({place: 1})
        read_refusal(lab, reader)

        reader.remove([place])
        reader.add({place: 3})
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert [3, 4] == [record.offset for record in records]


class TestTransactions:
    def test_aborted_records_are_never_seen(self, lab: Lab) -> None:
        """
        Only what was committed is read; markers use up offsets without a record.
        """
        place = (lab.topic(), 0)
        lab.transaction(place, [b"kept"], commit=True)
        lab.transaction(place, [b"dropped", b"dropped"], commit=False)
        reader = lab.broker.reader({place: 0})

        records, ends = read_to_end(lab, reader)
        reader.close()

        assert [b"kept"] == [record.value for record in records]
        assert [5] == [end.offset for end in ends]

    def test_an_open_transaction_is_not_read_past(self, lab: Lab) -> None:
        """
        The readable end is where the open transaction begins, until it is decided.
        """
        place = (lab.topic(), 0)
        write(lab, place, [b"before"])
        reader = lab.broker.reader({place: 0})

        with lab.open_transaction(place, [b"inside"]):
            records, ends = read_to_end(lab, reader)
            assert [b"before"] == [record.value for record in records]
            assert [1] == [end.offset for end in ends]
            assert (0, 1) == lab.broker.watermarks(place)
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert [b"inside"] == [record.value for record in records]


class TestSending:
    def test_a_partition_keeps_the_order_of_sending(self, lab: Lab) -> None:
        """
        A thousand messages for one partition arrive in order, each once.
        """
        place = (lab.topic(2), 1)
        values = [str(i).encode() for i in range(1000)]

        write(lab, place, values)
        reader = lab.broker.reader({place: 0})
        records, _ = read_to_end(lab, reader)
        reader.close()

        assert values == [record.value for record in records]

    def test_what_was_acknowledged_is_not_waiting(self, lab: Lab) -> None:
        """
        After a flush without failures nothing is on its way.
        """
        name = lab.topic()
        producer = lab.broker.producer()
        producer.send(Outgoing(name, b"x"))

        failures = producer.flush(SOON_S)

        assert ([], 0) == (failures, producer.waiting())
        producer.close()
