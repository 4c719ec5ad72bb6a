"""Kafka in memory, for tests: passes tests/stream/test_broker_contract.py like the real thing.

Its time is a FakeClock: waiting for records that are not there moves the clock and nothing else.
Fetches are as unkind as the real client's: all of one partition that lies ready comes before the
next partition, in the order that `reading_order` says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from service.errors import BrokerAway, TopicMissing
from service.stream.broker import (
    TOO_LARGE,
    EndOfPartition,
    Failure,
    Fetched,
    Outgoing,
    OutOfRange,
    Run,
    Survey,
    TopicSurvey,
    Trouble,
)
from service.stream.records import TP, Epochs, Headers, Offsets, Record


class FakeClock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    def wall_ms(self) -> int:
        return int(self.now_s * 1000) + 1_700_000_000_000


@dataclass
class FakePartition:
    """A log: records (with gaps where markers or compacted records were), and its ends."""

    records: list[Record] = field(default_factory=list)
    low: int = 0
    high: int = 0
    stable: int | None = None
    """First offset of an open transaction: nothing from there on is readable."""

    epochs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """Leader epochs: (first offset, epoch), in order."""

    def epoch_of(self, offset: int) -> int:
        return [epoch for first, epoch in self.epochs if first <= offset][-1]

    def parted(self, epoch: int) -> int | None:
        """Where the records of this epoch and of those before it end; None: with the log."""
        if epoch < 0:
            return None
        return next((first for first, known in self.epochs if known > epoch), None)

    @property
    def end(self) -> int:
        return self.high if self.stable is None else self.stable

    def readable(self, offset: int, most: int) -> list[Record]:
        start = bisect_left(self.records, offset, key=lambda record: record.offset)
        found = self.records[start : start + most]
        return [record for record in found if record.offset < self.end]


@dataclass
class FakeTopic:
    topic_id: str
    partitions: list[FakePartition]
    largest: int = 1_000_000


class FakeBroker:
    """Topics in memory, and the ways in which a cluster can be changed under a reader."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.topics: dict[str, FakeTopic] = {}
        self.away = False
        self.commits_refused = False
        self.writes_refused: str | None = None
        self.topics_refused = False
        self.reading_order: Callable[[list[TP]], list[TP]] = sorted
        self.troubles: list[Trouble] = []
        self.deaf: set[TP] = set()
        """What readers hear nothing of, until one is opened anew."""
        self.readers = 0
        self.survey_s = 0.0
        """How long a survey takes."""
        self.surveys_tell_what_was = False
        """A survey tells what there was when it was asked, not when it answers."""
        self._committed: Offsets = {}
        self._ids = count(1)

    # --- what a cluster's owner does ---------------------------------------------------------

    def append(
        self,
        place: TP,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        key: bytes | None = None,
        headers: Headers | None = None,
    ) -> None:
        log = self._log(place)
        stamp = self.clock.wall_ms() if timestamp_ms is None else timestamp_ms
        log.records.append(Record(*place, log.high, stamp, key, value, headers))
        log.high += 1

    def skip_offsets(self, place: TP, offsets: int = 1) -> None:
        """Use up offsets without a readable record: markers, aborted or compacted records."""
        self._log(place).high += offsets

    def open_transaction(self, place: TP) -> None:
        self._log(place).stable = self._log(place).high

    def end_transaction(self, place: TP, *, commit: bool) -> None:
        log = self._log(place)
        assert log.stable is not None, "no transaction is open"
        if not commit:
            log.records = [record for record in log.records if record.offset < log.stable]
        log.stable = None
        log.high += 1

    def compact(self, place: TP, keep: Callable[[Record], bool]) -> None:
        log = self._log(place)
        log.records = [record for record in log.records if keep(record)]

    def delete_records(self, before: Offsets) -> None:
        for place, offset in before.items():
            log = self._log(place)
            log.low = offset
            log.records = [record for record in log.records if record.offset >= offset]

    def truncate(self, place: TP, high: int) -> None:
        log = self._log(place)
        log.high = high
        log.records = [record for record in log.records if record.offset < high]

    def elect_unclean(self, place: TP, end: int) -> None:
        """A replica that had records up to `end` only becomes the leader."""
        self.truncate(place, end)
        log = self._log(place)
        newest = log.epochs[-1][1]
        log.epochs = [(first, epoch) for first, epoch in log.epochs if first < end or first == 0]
        log.epochs.append((end, newest + 1))

    def add_partitions(self, topic: str, total: int) -> None:
        partitions = self.topics[topic].partitions
        partitions += [FakePartition() for _ in range(total - len(partitions))]

    def delete_topic(self, topic: str) -> None:
        del self.topics[topic]

    # --- Broker ------------------------------------------------------------------------------

    def partitions(self, topic: str) -> list[int]:
        return list(range(len(self._topic(topic).partitions)))

    def topic_id(self, topic: str) -> str | None:
        return self._topic(topic).topic_id

    def watermarks(self, partition: TP) -> tuple[int, int]:
        self._ask()
        log = self._log(partition)
        return log.low, log.end

    def offset_for_time(self, partition: TP, timestamp_ms: int) -> int:
        self._ask()
        log = self._log(partition)
        late = (record.offset for record in log.records if record.timestamp_ms >= timestamp_ms)
        return next(late, log.end)

    def committed(self, partitions: Iterable[TP]) -> Offsets:
        self._ask()
        return {tp: self._committed[tp] for tp in partitions if tp in self._committed}

    def survey(self, topics: Sequence[str]) -> Callable[[float], Survey | None]:
        due_s = self.clock() + self.survey_s
        was = {topic: self._seen(topic) for topic in topics} if self.surveys_tell_what_was else None

        def answer(timeout_s: float) -> Survey | None:
            self._ask()
            if self.clock() < due_s:
                return None
            return was or {topic: self._seen(topic) for topic in topics}

        return answer

    def create_topic(
        self, topic: str, partitions: int, settings: Mapping[str, str] | None = None
    ) -> None:
        self._ask()
        if self.topics_refused:
            raise BrokerAway("TOPIC_AUTHORIZATION_FAILED")
        if topic not in self.topics:
            fresh = [FakePartition() for _ in range(partitions)]
            self.topics[topic] = FakeTopic(f"id-{next(self._ids)}", fresh)

    def reader(self, offsets: Offsets, epochs: Epochs | None = None) -> FakeReader:
        self.readers += 1
        self.deaf.clear()
        return FakeReader(self, offsets, epochs)

    def producer(self) -> FakeProducer:
        return FakeProducer(self)

    def close(self) -> None:
        self.away = True

    def _ask(self) -> None:
        if self.away:
            raise BrokerAway("the fake is away")

    def _topic(self, topic: str) -> FakeTopic:
        self._ask()
        if topic not in self.topics:
            raise TopicMissing(topic)
        return self.topics[topic]

    def _log(self, place: TP) -> FakePartition:
        if place[0] not in self.topics or place[1] >= len(self.topics[place[0]].partitions):
            raise TopicMissing(str(place))
        return self.topics[place[0]].partitions[place[1]]

    def _seen(self, topic: str) -> TopicSurvey | None:
        if topic not in self.topics:
            return None
        found = self.topics[topic]
        logs = enumerate(found.partitions)
        return TopicSurvey(found.topic_id, {i: (log.low, log.end) for i, log in logs})


class FakeReader:
    """Hands out what lies ready, one partition after the other."""

    def __init__(self, broker: FakeBroker, offsets: Offsets, epochs: Epochs | None = None) -> None:
        self.commit_failures = 0
        self.removed: list[TP] = []
        self._broker = broker
        self._next: Offsets = {}
        self._ended: dict[TP, int] = {}
        self._highs: dict[TP, int] = {}
        self._lost: set[TP] = set()
        self._epochs: Epochs = {}
        self.add(offsets, epochs)

    def add(self, offsets: Offsets, epochs: Epochs | None = None) -> None:
        for place, offset in offsets.items():
            assert place not in self._next, f"{place} is read already"
            self._next[place] = offset
            self._epochs[place] = (epochs or {}).get(place, -1)

    def remove(self, partitions: Collection[TP]) -> None:
        for place in partitions:
            del self._next[place], self._epochs[place]
            self._ended.pop(place, None)
            self._lost.discard(place)
            self.removed.append(place)

    def fetch(self, max_records: int, timeout_s: float, *, fill: bool = False) -> list[Fetched]:
        found: list[Fetched] = list(self._broker.troubles)
        self._broker.troubles.clear()
        room = max_records
        for place in self._broker.reading_order(list(self._next)):
            if room > 0 and not self._broker.away:
                item = self._ready(place, room)
                found += item
                room -= sum(len(i.records) if isinstance(i, Run) else 1 for i in item)
        if (fill and room > 0) or not found:
            self._broker.clock.advance(timeout_s)
        return found

    def high(self, partition: TP) -> int | None:
        return self._highs.get(partition)

    def commit(self, offsets: Offsets) -> None:
        if self._broker.away or self._broker.commits_refused:
            self.commit_failures += 1
        else:
            self._broker._committed.update(offsets)

    def close(self) -> None:
        self._next.clear()

    def _ready(self, place: TP, room: int) -> list[Fetched]:
        try:
            log = self._broker._log(place)
        except TopicMissing:
            return []
        offset = self._next[place]
        if place in self._lost or place in self._broker.deaf:
            return []
        cut_off_at = log.parted(self._epochs[place])
        if cut_off_at is not None and cut_off_at < offset:
            self._lost.add(place)
            return [OutOfRange(*place, offset, cut_off_at)]
        if not log.low <= offset <= log.high:
            self._lost.add(place)
            return [OutOfRange(*place, offset)]
        self._highs[place] = log.high
        records = log.readable(offset, room)
        if records:
            self._ended.pop(place, None)
            epoch = log.epoch_of(records[0].offset)
            records = [r for r in records if log.epoch_of(r.offset) == epoch]
            self._next[place] = records[-1].offset + 1
            self._epochs[place] = epoch
            return [Run(*place, records, [record.timestamp_ms for record in records], epoch)]
        if self._ended.get(place) == log.end:
            return []
        self._ended[place] = log.end
        self._next[place] = max(offset, log.end)
        return [EndOfPartition(*place, log.end)]


class FakeProducer:
    """Acknowledges at flush, unless writes are refused."""

    def __init__(self, broker: FakeBroker) -> None:
        self.stuck = False
        self._broker = broker
        self._queue: list[Outgoing] = []
        self._turn = count()

    def send(self, message: Outgoing) -> None:
        self._queue.append(message)

    def flush(self, timeout_s: float) -> list[Failure]:
        if self.stuck or self._broker.away:
            self._broker.clock.advance(timeout_s)
            return []
        queue, self._queue = self._queue, []
        return [failed for message in queue if (failed := self._write(message)) is not None]

    def waiting(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        self._queue.clear()

    def _write(self, message: Outgoing) -> Failure | None:
        topic = self._broker.topics.get(message.topic)
        if self._broker.writes_refused is not None:
            return Failure(message, "REFUSED", self._broker.writes_refused)
        if topic is None:
            return Failure(message, "UNKNOWN_TOPIC_OR_PART", "no such topic")
        if len(message.value or b"") > topic.largest:
            return Failure(message, TOO_LARGE, "too large")
        turn = next(self._turn) % len(topic.partitions)
        partition = turn if message.partition is None else message.partition
        self._broker.append(
            (message.topic, partition),
            message.value,
            timestamp_ms=message.timestamp_ms,
            key=message.key,
            headers=message.headers,
        )
        return None
