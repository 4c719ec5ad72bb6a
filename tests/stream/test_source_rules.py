"""The source over the fake broker: whatever is written, lost or delayed, the rules hold."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BrokerAway
from service.stream.broker import Trouble
from service.stream.records import TP, Cut, DataLoss, Offsets, PartitionAdded, Record
from service.stream.source import Source
from tests.fakes.broker import FakeBroker

TOPIC = "t"
LINGER_S = 0.02


def cluster(partitions: int) -> FakeBroker:
    broker = FakeBroker()
    broker.create_topic(TOPIC, partitions)
    return broker


def source_of(
    broker: FakeBroker,
    cursors: Offsets | None = None,
    *,
    batch_rows: int = 4,
    buffer_records: int = 1000,
) -> Source:
    if cursors is None:
        cursors = {(TOPIC, p): 0 for p in broker.partitions(TOPIC)}
    return Source(
        broker,
        [TOPIC],
        cursors,
        batch_rows=batch_rows,
        linger_s=LINGER_S,
        buffer_records=buffer_records,
        clock=broker.clock,
        wall_ms=broker.clock.wall_ms,
    )


def cuts_until_silence(source: Source) -> list[Cut]:
    """Every cut until nothing comes for several times the longest wait."""
    cuts, silent = [], 0
    while silent < 4:
        found = source.next_cut(1.0)
        assert not isinstance(found, DataLoss)
        silent = silent + 1 if found is None else 0
        if isinstance(found, Cut):
            cuts.append(found)
    return cuts


def offsets_taken(cuts: Iterable[Cut]) -> dict[TP, list[int]]:
    taken: dict[TP, list[int]] = {}
    for cut in cuts:
        for i in cut.selection:
            record = cut.records[i]
            taken.setdefault((record.topic, record.partition), []).append(record.offset)
    return taken


@st.composite
def clusters(draw: st.DrawFn) -> FakeBroker:
    """A topic with any records, gaps, and any order in which its partitions are fetched."""
    broker = cluster(draw(st.integers(1, 4)))
    partitions = broker.partitions(TOPIC)
    for _ in range(draw(st.integers(0, 60))):
        place = (TOPIC, draw(st.sampled_from(partitions)))
        if draw(st.integers(0, 9)) == 0:
            broker.skip_offsets(place, draw(st.integers(1, 3)))
        else:
            broker.append(place, b"", timestamp_ms=draw(st.integers(0, 20)))
    shuffle = random.Random(draw(st.integers(0, 99)))
    broker.reading_order = lambda places: shuffle.sample(places, len(places))
    return broker


def everything(broker: FakeBroker) -> dict[TP, list[int]]:
    logs = enumerate(broker.topics[TOPIC].partitions)
    return {(TOPIC, p): [r.offset for r in log.records] for p, log in logs if log.records}


class TestConservation:
    @given(clusters(), st.integers(1, 20), st.integers(1, 12))
    def test_every_record_is_handed_out_once_with_any_buffer(
        self, broker: FakeBroker, batch_rows: int, buffer_records: int
    ) -> None:
        """
        Even where the buffer holds one record, nothing is lost, doubled or held for ever.
        """
        source = source_of(broker, batch_rows=batch_rows, buffer_records=buffer_records)

        assert everything(broker) == offsets_taken(cuts_until_silence(source))

    @given(clusters(), st.integers(1, 20), st.integers(1, 30), st.data())
    def test_a_publisher_that_writes_meanwhile_loses_nothing(
        self, broker: FakeBroker, batch_rows: int, buffer_records: int, data: st.DataObject
    ) -> None:
        """
        Records that are written between cuts are handed out as well, each once.
        """
        source = source_of(broker, batch_rows=batch_rows, buffer_records=buffer_records)
        cuts = []
        for _ in range(data.draw(st.integers(0, 10))):
            found = source.next_cut(data.draw(st.sampled_from([0.0, 0.01, 0.5])))
            if isinstance(found, Cut):
                cuts.append(found)
            for partition in data.draw(st.lists(st.sampled_from(broker.partitions(TOPIC)))):
                broker.append((TOPIC, partition), b"", timestamp_ms=data.draw(st.integers(0, 30)))
        cuts += cuts_until_silence(source)

        assert everything(broker) == offsets_taken(cuts)

    @given(clusters(), st.integers(1, 20), st.integers(1, 12))
    def test_the_buffer_is_bounded(
        self, broker: FakeBroker, batch_rows: int, buffer_records: int
    ) -> None:
        """
        Never more than twice the buffer, and one more round, is held.
        """
        source = source_of(broker, batch_rows=batch_rows, buffer_records=buffer_records)
        most = 0
        for _ in range(40):
            source.next_cut(0.5)
            most = max(most, source.buffered)

        assert most <= 2 * buffer_records + len(broker.partitions(TOPIC))

    def test_a_partition_far_behind_does_not_block_for_ever(self) -> None:
        """
        Fetches bring all of partition 0 first; what is needed of partition 1 comes through.
        """
        broker = cluster(2)
        for i in range(500):
            broker.append((TOPIC, 0), b"", timestamp_ms=1000 + i)
            broker.append((TOPIC, 1), b"", timestamp_ms=i)
        source = source_of(broker, buffer_records=50)

        cuts = cuts_until_silence(source)

        times = [cut.records[i].timestamp_ms for cut in cuts for i in cut.selection]
        assert sorted(times) == times
        assert 1000 == len(times)
        assert source.parked > 0


class TestCursors:
    @given(clusters(), st.integers(1, 20))
    def test_cursors_are_the_offsets_after_the_last_cut(
        self, broker: FakeBroker, batch_rows: int
    ) -> None:
        """
        A source that begins at another's cursors hands out exactly the rest.
        """
        first = source_of(broker, batch_rows=batch_rows)
        cuts = [cut for cut in (first.next_cut(3.0), first.next_cut(3.0)) if isinstance(cut, Cut)]
        cursors = dict(first.cursors)
        first.close()
        second = source_of(broker, cursors, batch_rows=batch_rows)
        cuts += cuts_until_silence(second)

        assert everything(broker) == offsets_taken(cuts)


class TestReplay:
    @given(clusters(), st.integers(1, 20), st.integers(1, 30))
    def test_a_replay_gives_the_very_same_cuts(
        self, broker: FakeBroker, batch_rows: int, buffer_records: int
    ) -> None:
        """
        Given only the next offsets of each cut, the same rows come in the same order.
        """
        cuts = cuts_until_silence(source_of(broker, batch_rows=batch_rows))
        replay = source_of(broker, buffer_records=buffer_records)

        again = [replay.read_range(cut.next_offsets, 5.0) for cut in cuts]

        assert [rows(cut.records) for cut in cuts] == [rows(of(cut)) for cut in again]

    @given(clusters(), st.integers(1, 30), st.data())
    def test_any_cutting_can_be_replayed(
        self, broker: FakeBroker, buffer_records: int, data: st.DataObject
    ) -> None:
        """
        Ranges need not be cuts this source would make; gaps at their ends do no harm.
        """
        source = source_of(broker, buffer_records=buffer_records)
        seen: list[Record] = []
        for _ in range(data.draw(st.integers(1, 5))):
            upto = {
                tp: data.draw(st.integers(cursor, broker.watermarks(tp)[1]))
                for tp, cursor in source.cursors.items()
                if data.draw(st.booleans())
            }
            cut = source.read_range(upto, 5.0)
            assert upto == {tp: source.cursors[tp] for tp in upto}
            seen += of(cut)

        for (topic, partition), cursor in source.cursors.items():
            log = broker.topics[topic].partitions[partition]
            wanted = [r.offset for r in log.records if r.offset < cursor]
            assert wanted == sorted(r.offset for r in seen if r.partition == partition)

    @given(clusters(), st.integers(1, 20))
    def test_live_reading_goes_on_where_the_replay_ends(
        self, broker: FakeBroker, batch_rows: int
    ) -> None:
        """
        What a replay fetched ahead is not read again, and not left out.
        """
        first = source_of(broker, batch_rows=batch_rows)
        found = first.next_cut(3.0)
        source = source_of(broker, batch_rows=batch_rows)
        cuts = []
        if isinstance(found, Cut):
            replayed = source.read_range(found.next_offsets, 5.0)
            assert isinstance(replayed, Cut)
            cuts.append(replayed)
        cuts += cuts_until_silence(source)

        assert everything(broker) == offsets_taken(cuts)
        assert source.records_fetched == sum(map(len, everything(broker).values()))

    def test_compacted_records_leave_the_rest_of_the_range(self) -> None:
        """
        Records compacted away since then are missing; their range still ends.
        """
        broker = cluster(1)
        for _ in range(6):
            broker.append((TOPIC, 0), b"")
        broker.compact((TOPIC, 0), lambda record: record.offset not in (2, 3))
        source = source_of(broker)

        cut = source.read_range({(TOPIC, 0): 4}, 5.0)

        assert [0, 1] == [record.offset for record in of(cut)]

    def test_a_range_that_retention_has_reached_is_a_loss(self) -> None:
        """
        The first offset that is wanted and gone is named.
        """
        broker = cluster(1)
        for _ in range(6):
            broker.append((TOPIC, 0), b"")
        broker.delete_records({(TOPIC, 0): 3})

        loss = source_of(broker).read_range({(TOPIC, 0): 4}, 5.0)

        assert DataLoss(TOPIC, 0, "retention", 0, 3, 6) == loss

    def test_a_range_beyond_the_end_of_the_log_is_a_loss(self) -> None:
        """
        A log that was cut off cannot give what was learned from it.
        """
        broker = cluster(1)
        for _ in range(6):
            broker.append((TOPIC, 0), b"")
        source = source_of(broker)
        broker.truncate((TOPIC, 0), 2)

        loss = source.read_range({(TOPIC, 0): 4}, 1.0)

        assert DataLoss(TOPIC, 0, "truncated", 2, 0, 2) == loss

    def test_an_open_transaction_does_not_prove_a_range_complete(self) -> None:
        """
        The log goes on behind the last readable record, but nobody can say with what.
        """
        broker = cluster(1)
        broker.append((TOPIC, 0), b"")
        broker.open_transaction((TOPIC, 0))
        broker.append((TOPIC, 0), b"undecided")
        source = source_of(broker)

        found = source.read_range({(TOPIC, 0): 2}, 1.0)

        assert isinstance(found, DataLoss)

    def test_a_range_of_a_topic_that_is_gone_is_a_loss(self) -> None:
        """
        There is nothing to wait for.
        """
        broker = cluster(1)
        broker.append((TOPIC, 0), b"")
        source = source_of(broker)
        broker.delete_topic(TOPIC)

        loss = source.read_range({(TOPIC, 0): 1}, 1.0)

        assert DataLoss(TOPIC, 0, "topic_missing", 0, 0, 0) == loss

    def test_a_range_that_does_not_come_in_time_may_be_asked_for_again(self) -> None:
        """
        What was fetched is kept; nothing is half done.
        """
        broker = cluster(1)
        for _ in range(3):
            broker.append((TOPIC, 0), b"")
        source = source_of(broker)
        broker.away = True
        with pytest.raises(BrokerAway):
            source.read_range({(TOPIC, 0): 3}, 1.0)
        broker.away = False

        assert [0, 1, 2] == [r.offset for r in of(source.read_range({(TOPIC, 0): 3}, 1.0))]

    def test_what_is_late_is_named_in_a_few_words(self) -> None:
        """
        Of two hundred partitions five: the reason goes into a heartbeat.
        """
        broker = cluster(200)
        source = source_of(broker)
        for p in range(200):
            broker.append((TOPIC, p), b"")
        broker.deaf.update((TOPIC, p) for p in range(200))

        with pytest.raises(BrokerAway, match="and 195 more") as late:
            source.read_range({(TOPIC, p): 1 for p in range(200)}, 1.0)
        assert len(str(late.value)) < 500


class TestNews:
    def test_a_new_partition_is_told_and_then_read(self) -> None:
        """
        A partition without a cursor begins at its first readable record.
        """
        broker = cluster(1)
        source = source_of(broker)
        broker.add_partitions(TOPIC, 2)
        broker.append((TOPIC, 1), b"new")

        told = source.next_cut(1.0)
        cut = source.next_cut(1.0)

        assert PartitionAdded(TOPIC, 1, 0) == told
        assert isinstance(cut, Cut)
        assert [b"new"] == [record.value for record in cut.records]

    def test_a_partition_that_a_replay_added_is_not_told_again(self) -> None:
        """
        The journal knows it already.
        """
        broker = cluster(2)
        broker.append((TOPIC, 1), b"new")
        source = source_of(broker, {(TOPIC, 0): 0})
        source.add_partition(TOPIC, 1, 0)

        found = source.next_cut(1.0)

        assert isinstance(found, Cut)

    def test_new_partitions_are_looked_for_from_time_to_time(self) -> None:
        """
        One that appears later is found within the time between two looks.
        """
        broker = cluster(1)
        source = source_of(broker)
        assert None is source.next_cut(1.0)
        broker.add_partitions(TOPIC, 2)

        assert None is source.next_cut(5.0)
        assert PartitionAdded(TOPIC, 1, 0) == source.next_cut(10.0)

    def test_a_broker_that_is_away_is_counted_and_waited_for(self) -> None:
        """
        Neither a look nor a fetch that fails ends the source.
        """
        broker = cluster(1)
        source = source_of(broker)
        broker.away = True
        assert None is source.next_cut(25.0)
        broker.away = False
        broker.append((TOPIC, 0), b"")

        assert isinstance(source.next_cut(1.0), Cut)
        assert 3 == source.survey_failures


class TestLosses:
    def test_a_loss_is_told_after_what_is_still_readable(self) -> None:
        """
        Records that were fetched before come first; then the loss, at every call.
        """
        broker = cluster(1)
        for _ in range(10):
            broker.append((TOPIC, 0), b"")
        source = source_of(broker, batch_rows=2, buffer_records=4)
        assert isinstance(source.next_cut(1.0), Cut)
        broker.delete_records({(TOPIC, 0): 8})

        found = [source.next_cut(1.0) for _ in range(3)]

        loss = DataLoss(TOPIC, 0, "retention", 4, 8, 10)
        assert isinstance(found[0], Cut)
        assert [loss, loss] == found[1:]

    def test_a_skip_goes_on_behind_the_loss(self) -> None:
        """
        After the decision, the rest is read and the cursor stands behind it.
        """
        broker = cluster(1)
        for _ in range(10):
            broker.append((TOPIC, 0), b"")
        broker.delete_records({(TOPIC, 0): 8})
        source = source_of(broker)
        loss = source.next_cut(1.0)
        assert isinstance(loss, DataLoss)

        source.skip_to((TOPIC, 0), loss.available_low)

        assert {(TOPIC, 0): [8, 9]} == offsets_taken(cuts_until_silence(source))
        assert {(TOPIC, 0): 10} == source.cursors

    def test_a_topic_made_anew_is_a_loss_even_where_offsets_fit(self) -> None:
        """
        Same name, same offsets, other topic: what is there was never meant.
        """
        broker = cluster(1)
        broker.append((TOPIC, 0), b"old")
        source = source_of(broker)
        cuts_until_silence(source)
        broker.delete_topic(TOPIC)
        broker.create_topic(TOPIC, 1)
        broker.append((TOPIC, 0), b"new")

        assert DataLoss(TOPIC, 0, "recreated", 1, 0, 1) == source.next_cut(30.0)

    def test_a_topic_made_anew_can_be_accepted(self) -> None:
        """
        After the decision, the new topic is the one that is watched.
        """
        broker = cluster(1)
        broker.append((TOPIC, 0), b"old")
        source = source_of(broker)
        cuts_until_silence(source)
        broker.delete_topic(TOPIC)
        broker.create_topic(TOPIC, 1)
        broker.append((TOPIC, 0), b"new")
        assert isinstance(source.next_cut(30.0), DataLoss)

        source.skip_to((TOPIC, 0), 0)

        assert isinstance(source.next_cut(30.0), Cut)
        assert {TOPIC: broker.topic_id(TOPIC)} == source.topic_ids

    def test_a_topic_must_be_missing_twice(self) -> None:
        """
        Metadata of a broker that comes back may be stale; a topic that stays away is lost.
        """
        broker = cluster(1)
        source = source_of(broker)
        assert None is source.next_cut(1.0)
        kept = broker.topics.pop(TOPIC)
        broker.topics[TOPIC] = kept
        assert None is source.next_cut(30.0)

        broker.delete_topic(TOPIC)
        assert DataLoss(TOPIC, 0, "topic_missing", 0, 0, 0) == source.next_cut(30.0)

    def test_cursors_are_checked_before_the_first_record(self) -> None:
        """
        Retention, truncation and another identity are found without reading.
        """
        broker = cluster(3)
        for partition in range(3):
            for _ in range(5):
                broker.append((TOPIC, partition), b"")
        broker.delete_records({(TOPIC, 0): 3})
        cursors = {(TOPIC, 0): 2, (TOPIC, 1): 9, (TOPIC, 2): 5}

        assert [
            DataLoss(TOPIC, 0, "retention", 2, 3, 5),
            DataLoss(TOPIC, 1, "truncated", 9, 0, 5),
        ] == source_of(broker, cursors).check()

    def test_a_saved_identity_is_compared_before_the_first_record(self) -> None:
        """
        A snapshot of another topic of the same name is noticed at once.
        """
        broker = cluster(1)
        source = Source(
            broker,
            [TOPIC],
            {(TOPIC, 0): 0},
            batch_rows=4,
            linger_s=LINGER_S,
            buffer_records=100,
            clock=broker.clock,
            topic_ids={TOPIC: "another"},
        )

        assert ["recreated"] == [loss.reason for loss in source.check()]


class TestNumbers:
    def test_lag_is_what_is_not_in_a_cut(self) -> None:
        """
        Ten written, four handed out: six behind; all handed out: none, markers or not.
        """
        broker = cluster(1)
        for _ in range(10):
            broker.append((TOPIC, 0), b"")
        broker.skip_offsets((TOPIC, 0), 2)
        source = source_of(broker)
        source.next_cut(1.0)
        assert {(TOPIC, 0): 8} == source.lag()

        cuts_until_silence(source)
        assert {(TOPIC, 0): 0} == source.lag()

    def test_headroom_is_the_distance_to_retention(self) -> None:
        """
        The cursor at 10, the first record left at 3: seven records of headroom.
        """
        broker = cluster(1)
        for _ in range(10):
            broker.append((TOPIC, 0), b"")
        broker.delete_records({(TOPIC, 0): 3})
        source = source_of(broker, {(TOPIC, 0): 10})
        source.next_cut(1.0)

        assert {(TOPIC, 0): 7} == source.headroom()

    def test_troubles_of_the_client_are_counted(self) -> None:
        """
        The client goes on by itself; learning goes on; the number tells.
        """
        broker = cluster(1)
        broker.append((TOPIC, 0), b"")
        broker.troubles += [Trouble("_TRANSPORT", "gone"), Trouble("_TRANSPORT", "gone")]
        source = source_of(broker)

        assert isinstance(source.next_cut(1.0), Cut)
        assert {"_TRANSPORT": 2} == dict(source.troubles)

    def test_failed_commits_are_only_counted(self) -> None:
        """
        Kafka refuses a commit, and learning goes on.
        """
        broker = cluster(1)
        broker.commits_refused = True
        source = source_of(broker)

        source.commit({(TOPIC, 0): 1})

        assert 1 == source.commit_failures


def rows(records: list[Record]) -> list[tuple[int, int, int]]:
    return [(r.timestamp_ms, r.partition, r.offset) for r in records]


def of(cut: Cut | DataLoss) -> list[Record]:
    assert isinstance(cut, Cut)
    return cut.records
