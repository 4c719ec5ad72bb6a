"""Three brokers and what a cluster's owner can do to them, under one set of names.

A test written against Lab runs on the fake, on the embedded broker and on a real Kafka.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    NewPartitions,
)

from service.errors import TopicMissing
from service.stream.broker import (
    Broker,
    EndOfPartition,
    Fetched,
    Outgoing,
    OutOfRange,
    Producer,
    Reader,
    Run,
)
from service.stream.kafka import KafkaBroker
from service.stream.records import TP, Offsets, Record
from tests.fakes.broker import FakeBroker, FakeClock
from tests.processes import PATIENCE_S

SOON_S = PATIENCE_S
"""Longest that a real broker may take for what a test waits for."""


class Lab(Protocol):
    """A broker with its owner's keys."""

    kind: str
    has_topic_ids: bool

    @property
    def broker(self) -> Broker: ...
    @property
    def producer(self) -> Producer: ...
    def clock(self) -> float: ...
    def topic(self, partitions: int = 1) -> str: ...
    def delete_records(self, before: Offsets) -> None: ...
    def add_partitions(self, topic: str, total: int) -> None: ...
    def recreate(self, topic: str, partitions: int = 1) -> None: ...
    def transaction(self, place: TP, values: Sequence[bytes], *, commit: bool) -> None: ...
    @contextmanager
    def open_transaction(self, place: TP, values: Sequence[bytes]) -> Iterator[None]: ...


class FakeLab:
    """In memory."""

    kind = "fake"
    has_topic_ids = True

    def __init__(self) -> None:
        self._clock = FakeClock()
        self.fake = FakeBroker(self._clock)
        self._producer = self.fake.producer()

    @property
    def producer(self) -> Producer:
        return self._producer

    @property
    def broker(self) -> FakeBroker:
        return self.fake

    def clock(self) -> float:
        return self._clock()

    def topic(self, partitions: int = 1) -> str:
        name = fresh_name()
        self.broker.create_topic(name, partitions)
        return name

    def delete_records(self, before: Offsets) -> None:
        self.broker.delete_records(before)

    def add_partitions(self, topic: str, total: int) -> None:
        self.broker.add_partitions(topic, total)

    def recreate(self, topic: str, partitions: int = 1) -> None:
        self.broker.delete_topic(topic)
        self.broker.create_topic(topic, partitions)

    def transaction(self, place: TP, values: Sequence[bytes], *, commit: bool) -> None:
        self.broker.open_transaction(place)
        for value in values:
            self.broker.append(place, value)
        self.broker.end_transaction(place, commit=commit)

    @contextmanager
    def open_transaction(self, place: TP, values: Sequence[bytes]) -> Iterator[None]:
        self.broker.open_transaction(place)
        for value in values:
            self.broker.append(place, value)
        yield
        self.broker.end_transaction(place, commit=True)


class KafkaLab:
    """Through confluent-kafka: the embedded broker or a real one."""

    def __init__(self, kind: str, bootstrap: str, broker: KafkaBroker | None = None) -> None:
        self.kind = kind
        self.has_topic_ids = kind == "kafka"
        self.kafka = broker or KafkaBroker(bootstrap, name=fresh_name(), timeout_s=SOON_S)
        self.clock = time.monotonic
        self.bootstrap = bootstrap
        self._producer = self.kafka.producer()  # the first message of each costs half a second
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    @property
    def broker(self) -> KafkaBroker:
        return self.kafka

    @property
    def producer(self) -> Producer:
        return self._producer

    def close(self) -> None:
        self._producer.close()
        self.kafka.close()

    def topic(self, partitions: int = 1) -> str:
        name = fresh_name()
        self.broker.create_topic(name, partitions, {"retention.ms": "-1"})
        return name

    def delete_records(self, before: Offsets) -> None:
        self.broker.delete_records(before)

    def add_partitions(self, topic: str, total: int) -> None:
        for done in self._admin.create_partitions([NewPartitions(topic, total)]).values():
            done.result(SOON_S)
        self._wait(topic, lambda: len(self.broker.partitions(topic)) == total)

    def recreate(self, topic: str, partitions: int = 1) -> None:
        old = self.broker.topic_id(topic)
        for done in self._admin.delete_topics([topic]).values():
            done.result(SOON_S)
        self._wait(topic, lambda: self._is_gone(topic))
        self.broker.create_topic(topic, partitions)
        self._wait(topic, lambda: not self._is_gone(topic))
        assert not self.has_topic_ids or self.broker.topic_id(topic) != old

    def transaction(self, place: TP, values: Sequence[bytes], *, commit: bool) -> None:
        producer = self._begin(place, values)
        (producer.commit_transaction if commit else producer.abort_transaction)(SOON_S)

    @contextmanager
    def open_transaction(self, place: TP, values: Sequence[bytes]) -> Iterator[None]:
        producer = self._begin(place, values)
        yield
        producer.commit_transaction(SOON_S)

    def _begin(self, place: TP, values: Sequence[bytes]) -> ConfluentProducer:
        producer = ConfluentProducer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": fresh_name(), "log_level": 2}
        )
        producer.init_transactions(SOON_S)
        producer.begin_transaction()
        for value in values:
            producer.produce(place[0], value, partition=place[1])
        producer.flush(SOON_S)
        return producer

    def _is_gone(self, topic: str) -> bool:
        try:
            self.broker.partitions(topic)
        except TopicMissing:
            return True
        return False

    def _wait(self, what: str, true: Callable[[], bool]) -> None:
        deadline = self.clock() + SOON_S
        while not true():
            assert self.clock() < deadline, f"nothing happened to {what}"


def fresh_name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def write(
    lab: Lab, place: TP, values: Sequence[bytes | None], times_ms: Sequence[int] | None = None
) -> None:
    """Append records to a partition; returns when they are acknowledged."""
    stamps = times_ms or [1_700_000_000_000 + i for i in range(len(values))]
    for value, stamp in zip(values, stamps, strict=True):
        lab.producer.send(Outgoing(place[0], value, timestamp_ms=stamp, partition=place[1]))
    failures = lab.producer.flush(SOON_S)
    assert failures == []


def fetch_until(lab: Lab, reader: Reader, enough: Callable[[list[Fetched]], bool]) -> list[Fetched]:
    """Fetch until it is enough, or fail."""
    found: list[Fetched] = []
    deadline = lab.clock() + SOON_S
    while not enough(found):
        assert lab.clock() < deadline, f"not enough: {found}"
        found += reader.fetch(100, 0.1)
    return found


def read_to_end(
    lab: Lab, reader: Reader, ends: int = 1
) -> tuple[list[Record], list[EndOfPartition]]:
    """Return everything up to the end of so many partitions."""

    def enough(found: list[Fetched]) -> bool:
        return len({(e.topic, e.partition) for e in found if isinstance(e, EndOfPartition)}) >= ends

    found = fetch_until(lab, reader, enough)
    records = [record for run in found if isinstance(run, Run) for record in run.records]
    return records, [end for end in found if isinstance(end, EndOfPartition)]


def read_refusal(lab: Lab, reader: Reader) -> OutOfRange:
    """Return the refusal of an offset."""

    def refusals(found: list[Fetched]) -> list[OutOfRange]:
        return [item for item in found if isinstance(item, OutOfRange)]

    return refusals(fetch_until(lab, reader, lambda found: bool(refusals(found))))[0]
