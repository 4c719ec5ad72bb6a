"""Brokers that move, fall silent and answer with errors, by librdkafka's mock cluster.

The whole stream: survey, reader, producer, source. The mock does not answer the question about
topics (DescribeTopics waits for a controller), so partitions and ends stand in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from service.errors import BrokerAway, TopicMissing
from service.stream.broker import Fetched, Outgoing, OutOfRange, Run, Survey, TopicSurvey
from service.stream.kafka import KafkaBroker
from service.stream.records import Cut, DataLoss, Epochs, Offsets
from service.stream.source import Source
from tests.e2e.service import until
from tests.faults.mock_cluster import FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, MockCluster

TOPIC, PARTITIONS = "mocked", 4
ERRORS = {
    "NOT_LEADER": 6,
    "REQUEST_TIMED_OUT": 7,
    "COORDINATOR_LOAD_IN_PROGRESS": 14,
    "UNKNOWN_TOPIC_OR_PART": 3,
    "INVALID_MSG": 2,
}


class Surveyed(KafkaBroker):
    """Asks for ends only."""

    def survey(self, topics: Sequence[str]) -> Callable[[float], Survey | None]:
        """Return at once what there is."""

        def look(_: float) -> Survey:
            try:
                ends = {p: self.watermarks((TOPIC, p)) for p in range(PARTITIONS)}
            except TopicMissing:
                return {TOPIC: None}
            return {TOPIC: TopicSurvey("one", ends)}

        return look


class Stream:
    """A topic on the mock cluster, what is written to it and what comes out."""

    def __init__(self, cluster: MockCluster) -> None:
        cluster.create_topic(TOPIC, PARTITIONS, 3)
        self.broker = Surveyed(cluster.bootstrap_servers, name="mocked", timeout_s=2.0)
        self.producer = self.broker.producer()
        self.sent = 0
        self.taken: list[tuple[int, int]] = []
        cursors: Offsets = {(TOPIC, p): 0 for p in range(PARTITIONS)}
        self.source = Source(
            self.broker, [TOPIC], cursors, batch_rows=64, linger_s=0.02, buffer_records=10_000,
            discovery_s=0.5,
        )  # fmt: skip

    def write(self, n: int) -> None:
        """Append n records, round robin."""
        for _ in range(n):
            self.producer.send(Outgoing(TOPIC, b"%d" % self.sent, partition=self.sent % PARTITIONS))
            self.sent += 1

    def stored(self) -> None:
        """Wait until every record is acknowledged."""
        until(lambda: self.producer.flush(1.0) == [] and not self.producer.waiting(), "all stored")

    def all_taken(self) -> None:
        """Read until every record came, each once, in order of its partition's offsets."""

        def take() -> bool:
            found = self.source.next_cut(0.1)
            assert not isinstance(found, DataLoss), found
            if isinstance(found, Cut):
                self.taken += [(r.partition, r.offset) for r in found.records]
            return len(self.taken) >= self.sent

        until(take, f"{self.sent} records, {len(self.taken)} came", 30.0)
        expected = [(i % PARTITIONS, i // PARTITIONS) for i in range(self.sent)]
        assert sorted(expected) == sorted(self.taken)

    def close(self) -> None:
        self.source.close()
        self.producer.close()
        self.broker.close()


def fetched(stream: Stream, offsets: Offsets, epochs: Epochs, least: int) -> list[Fetched]:
    """Return what a reader brings from there, at least so many runs and signals."""
    reader = stream.broker.reader(offsets, epochs)
    found: list[Fetched] = []

    def enough() -> bool:
        found.extend(reader.fetch(100, 0.1))
        return len(found) >= least

    try:
        until(enough, f"{least} runs and signals")
    finally:
        reader.close()
    return found


@pytest.fixture
def stream(mock_cluster: MockCluster) -> Iterator[Stream]:
    made = Stream(mock_cluster)
    yield made
    made.close()


def test_f15_leaders_and_the_coordinator_may_move_while_records_are_read(
    mock_cluster: MockCluster, stream: Stream
) -> None:
    """
    Nothing is lost, nothing comes twice; commits go on.
    """
    for turn in range(6):
        stream.write(200)
        for partition in range(PARTITIONS):
            mock_cluster.lead(TOPIC, partition, 1 + (turn + partition) % 3)
        mock_cluster.coordinate(stream.broker.group, 1 + turn % 3)
        stream.source.commit(dict(stream.source.cursors))
        stream.stored()
        stream.all_taken()


def test_f14_brokers_may_go_down_one_by_one_and_all_at_once(
    mock_cluster: MockCluster, stream: Stream
) -> None:
    """
    What is on them comes when they are back; the watch says meanwhile that nobody answers.
    """
    stream.write(200)
    stream.stored()
    stream.all_taken()
    for broker in (1, 2, 3):
        mock_cluster.set_down(broker)
    stream.write(200)

    def away() -> bool:
        assert None is stream.source.next_cut(0.1)
        return not stream.source.answers

    until(away, "no answer")
    for broker in (3, 2, 1):
        mock_cluster.set_up(broker)
    stream.stored()
    stream.all_taken()


def test_f17_refused_requests_are_repeated_and_refused_commits_are_counted(
    mock_cluster: MockCluster, stream: Stream
) -> None:
    """
    Fetch, ListOffsets, Metadata, OffsetCommit: each refused with each error, and once more.
    """
    stream.write(100)
    stream.stored()
    stream.all_taken()
    for request in (FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT):
        mock_cluster.push_errors(request, *ERRORS.values(), *ERRORS.values())
    stream.source.commit(dict(stream.source.cursors))
    stream.write(100)

    stream.all_taken()

    stream.stored()
    cursors = dict(stream.source.cursors)

    def committed() -> bool:
        stream.source.commit(cursors)  # as with the next snapshot, and the one after it
        stream.source.next_cut(0.05)
        try:
            return stream.broker.committed(cursors) == cursors
        except BrokerAway:
            return False

    until(committed, "a commit")


def test_f17_a_commit_that_is_refused_is_counted(mock_cluster: MockCluster, stream: Stream) -> None:
    """
    Each that the client does not repeat by itself.
    """
    group_authorization_failed = 30
    mock_cluster.push_errors(OFFSET_COMMIT, group_authorization_failed, group_authorization_failed)
    stream.write(8)
    stream.all_taken()
    for n in (1, 2):
        stream.source.commit(dict(stream.source.cursors))

        def counted(n: int = n) -> bool:
            stream.source.next_cut(0.05)
            return stream.source.commit_failures == n

        until(counted, f"{n} refused commits counted")


def test_f21_the_client_says_where_a_log_was_cut_off(
    mock_cluster: MockCluster, stream: Stream
) -> None:
    """
    Five records under the first leader, others under the next: whoever had read ten under the
    first has read what is gone. The log goes on with others from the fifth on.
    """
    place = (TOPIC, 0)
    stream.write(5 * PARTITIONS)
    stream.stored()
    mock_cluster.lead(TOPIC, 0, 3)
    mock_cluster.lead(TOPIC, 0, 2)
    stream.write(20 * PARTITIONS)
    stream.stored()

    assert [OutOfRange(*place, 10, 5)] == fetched(stream, {place: 10}, {place: 0}, 1)

    runs = [run for run in fetched(stream, {place: 4}, {place: 0}, 2) if isinstance(run, Run)]
    assert (0, 1) == (runs[0].epoch, len(runs[0].records))
    assert 0 < runs[1].epoch
