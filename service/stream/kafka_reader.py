"""Read partitions from explicit offsets with confluent-kafka, in as few steps per record as it takes.

Belongs to one thread: confluent's batch calls must not run beside seek, assign or each other.
Every element's error is looked at; cursors never come from the client's position.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from service.stream.broker import EndOfPartition, Fetched, OutOfRange, Run, Trouble
from service.stream.records import TP, Epochs, Offsets, Record

_OURS: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    # What lies ready in the client: enough to never wait, little enough that a partition added
    # or taken up again is heard soon. Without the backoff of 1 ms a short queue reads 21 k/s.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 1,
    "fetch.error.backoff.ms": 500,  # see Cutter.put
    "fetch.max.bytes": 16 << 20,
    "fetch.wait.max.ms": 100,  # the end of a partition is heard of with an empty answer
}
_ROUND_BYTES = 4 << 20
"""What one fetch over all partitions may bring: runs must be short beside the buffer."""

_GONE = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._LOG_TRUNCATION,
)

_CUT_OFF = re.compile(r"truncation detected at offset (\d+).*?end offset is (-?\d+)")

_error = Message.error
_topic = Message.topic
_partition = Message.partition
_offset = Message.offset
_timestamp = Message.timestamp
_key = Message.key
_value = Message.value
_headers = Message.headers
_second = itemgetter(1)

_CLOSE_S = 3.0


class KafkaReader:
    """A consumer without a group's life: assign, fetch, commit for others to see."""

    def __init__(
        self,
        shared: Mapping[str, Any],
        group: str,
        client: Mapping[str, str],
        offsets: Offsets,
        epochs: Epochs | None = None,
    ) -> None:
        each = _ROUND_BYTES // max(1, len(offsets))
        self.commit_failures = 0
        self._troubles: list[Fetched] = []
        self._partitions: dict[TP, TopicPartition] = {}
        self._topics: set[str] = set()
        self._consumer = Consumer(
            {
                **_OURS,
                **shared,
                "group.id": group,
                "max.partition.fetch.bytes": min(1 << 20, max(64 << 10, each)),
                "error_cb": self._heard,
                "on_commit": self._committed,
                **client,
            }
        )
        self._consumer.assign([])
        self.add(offsets, epochs)

    def add(self, offsets: Offsets, epochs: Epochs | None = None) -> None:
        """Begin to read these partitions at these offsets; see Reader.add."""
        self._partitions |= {tp: TopicPartition(*tp) for tp in offsets}
        self._topics = {topic for topic, _ in self._partitions}
        begin = [_place(tp, offset, (epochs or {}).get(tp)) for tp, offset in offsets.items()]
        if begin:
            self._consumer.incremental_assign(begin)

    def remove(self, partitions: Collection[TP]) -> None:
        """Stop reading these partitions. Unlike pause() and resume(), adding says the offset."""
        if partitions:
            self._consumer.incremental_unassign([TopicPartition(*tp) for tp in partitions])

    def fetch(self, max_records: int, timeout_s: float, *, fill: bool = False) -> list[Fetched]:
        """Return what is there; see Reader. consume() itself waits for all or for the time."""
        consume = self._consumer.consume
        if fill:
            messages = consume(max_records, timeout_s)
        else:
            messages = consume(max_records, 0)
            if not messages and timeout_s > 0:
                messages = consume(1, timeout_s)
                if messages and max_records > 1:
                    messages += consume(max_records - 1, 0)
        found: list[Fetched] = []
        one_topic = len(self._topics) == 1
        if any(map(_error, messages)):
            good = [message for message in messages if message.error() is None]
            found += _runs(good, one_topic=one_topic)
            found += [_signal(m) for m in messages if m.error() is not None]
        elif messages:
            found += _runs(messages, one_topic=one_topic)
        if self._troubles:
            found += self._troubles
            self._troubles = []
        return found

    def high(self, partition: TP) -> int | None:
        """Return the end of the partition as last heard. Markers of transactions count.

        librdkafka says 0 until it has heard, so an empty partition is known by EOF only.
        """
        known = self._consumer.get_watermark_offsets(self._partitions[partition], cached=True)
        return known[1] if known is not None and known[1] > 0 else None

    def commit(self, offsets: Offsets) -> None:
        """Commit without waiting; the answer is seen in a later fetch."""
        if not offsets:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(*tp, offset) for tp, offset in offsets.items()],
                asynchronous=True,
            )
        except KafkaException:
            self.commit_failures += 1

    def close(self) -> None:
        """Let go of the broker. librdkafka waits for the answer to a commit, for ever if the
        broker is away; after three seconds the rest of the closing is left to itself."""
        closing = threading.Thread(target=self._consumer.close, name="kafka-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _heard(self, error: KafkaError) -> None:
        self._troubles.append(Trouble(error.name(), error.str()))

    def _committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        if error is not None or any(tp.error for tp in partitions):
            self.commit_failures += 1


def _place(tp: TP, offset: int, epoch: int | None) -> TopicPartition:
    if epoch is None:
        return TopicPartition(*tp, offset)
    return TopicPartition(*tp, offset, leader_epoch=epoch)


def _signal(message: Message) -> Fetched:
    error = message.error()
    assert error is not None, "a signal is an error"
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is not None and partition is not None:
        if error.code() == KafkaError._PARTITION_EOF and offset is not None:
            return EndOfPartition(topic, partition, offset)
        if error.code() in _GONE:
            # of a log that was cut off the client tells the offsets in words only
            said = _CUT_OFF.search(error.str())
            if said is not None:
                return OutOfRange(topic, partition, int(said[1]), max(0, int(said[2])))
            return OutOfRange(topic, partition, offset)
    return Trouble(error.name(), error.str(), topic)


def _runs(messages: list[Message], *, one_topic: bool) -> Iterator[Run]:
    """Group messages by partition; within one they keep their order."""
    if not messages:
        return
    places = np.array(list(map(_partition, messages)), dtype=np.int64)
    if not one_topic:
        names = list(map(_topic, messages))
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}
        places += np.array([number[name] for name in names], dtype=np.int64) << 32
    edges = np.flatnonzero(np.diff(places)) + 1
    if len(edges) >= 8 and len(edges) >= 2 * len(np.unique(places)):
        order = np.argsort(places, kind="stable")
        messages = [messages[i] for i in order.tolist()]
        edges = np.flatnonzero(np.diff(places[order])) + 1
    start = 0
    for end in [*edges.tolist(), len(messages)]:
        run = messages[start:end]
        if run[0].leader_epoch() == run[-1].leader_epoch():
            yield _run(run)
        else:
            yield from (_run(list(same)) for _, same in groupby(run, Message.leader_epoch))
        start = end


def _run(messages: list[Message]) -> Run:
    topic, partition = messages[0].topic(), messages[0].partition()
    assert topic is not None, "a message has a topic"
    assert partition is not None, "a message has a partition"
    times_ms = list(map(_second, map(_timestamp, messages)))
    columns: list[Iterable[Any]] = [
        repeat(topic),
        repeat(partition),
        map(_offset, messages),
        times_ms,
        map(_key, messages),
        map(_value, messages),
    ]
    headers = list(map(_headers, messages))
    if any(headers):
        columns.append(None if found is None else tuple(found) for found in headers)
    epoch = messages[0].leader_epoch()
    records = list(map(Record, *columns))
    return Run(topic, partition, records, times_ms, -1 if epoch is None else epoch)
