"""Kafka through confluent-kafka: a real cluster, or the embedded broker. The Broker of service runs.

Reads are assigned with explicit offsets; no group is ever joined, nothing is committed but what
`commit` says, and no offset is ever reset: what cannot be read is a signal. `client` holds settings
of librdkafka that go on top of ours (security, sizes); settings.py refuses those that would break
this. Clients must not be forked: make the broker in the process that uses it.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # two are not in its __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
)

from service.errors import BadSettings, BrokerAway, HeadwaterError, Problem, TopicMissing
from service.stream.broker import Survey
from service.stream.kafka_log import client_log
from service.stream.kafka_producer import KafkaProducer
from service.stream.kafka_reader import KafkaReader
from service.stream.kafka_silence import explained
from service.stream.kafka_survey import Asked, KafkaSurvey, identity
from service.stream.records import TP, Epochs, Offsets

_MISSING = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)

_MOVING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_CONTROLLER,
)
_SILENT = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
_AGAIN_S = 0.05
_PASSING = re.compile(r"^\S+/bootstrap: | \(after [^)]*\)$")
"""What librdkafka adds to an error and differs from one time to the next."""

Built = TypeVar("Built")
Spec = Any
"""What to look for in list_offsets; its class has no types of its own."""


class _Moving(BrokerAway):
    """Leaders or coordinators are being found, as after a start. Caller: repeat soon."""


class KafkaBroker:
    """One cluster, and how to talk to it."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        name: str,
        client: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """`name` becomes group and client id, with `headwater-` in front. Connects lazily."""
        self.group = f"headwater-{name}"
        self._timeout_s = timeout_s
        self._servers = bootstrap_servers
        self._last_error = ""
        self._shared: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "client.id": self.group,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2000,  # a broker that is back is found within seconds
            "logger": client_log(),
        }
        self._client = dict(client or {})
        settings: dict[str, Any] = {**self._shared, "error_cb": self._heard, **self._client}
        self._admin = _built(lambda: AdminClient(settings))

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic, in order."""
        return sorted(partition.id for partition in self._describe(topic).partitions)

    def topic_id(self, topic: str) -> str | None:
        """Return the identity of a topic; None on brokers that give it none."""
        return identity(self._describe(topic))

    def watermarks(self, partition: TP) -> tuple[int, int]:
        """Return the first readable offset, and the one after the last committed one."""
        return self._patiently(lambda: self._ends([partition]))[partition]

    def offset_for_time(self, partition: TP, timestamp_ms: int) -> int:
        """Return the first offset of that time or later; the end where there is none."""
        spec = OffsetSpec.for_timestamp(timestamp_ms)
        ask = self._list_offsets
        found = self._patiently(lambda: self._answer(ask([partition], spec)[partition]))
        offset: int = found.offset
        return offset if offset >= 0 else self.watermarks(partition)[1]

    def committed(self, partitions: Iterable[TP]) -> Offsets:
        """Return what was committed for our group.

        Not by AdminClient.list_consumer_group_offsets: in 2.16.1 it ends the process with a
        segmentation fault while the group's coordinator is loading.
        """
        asking = Consumer({**self._shared, **self._client, "group.id": self.group})
        wanted = [TopicPartition(*tp) for tp in partitions]

        def ask() -> list[TopicPartition]:
            try:
                return asking.committed(wanted, self._timeout_s)
            except KafkaException as error:
                raise self._said(error) from None

        try:
            found = self._patiently(ask)
        finally:
            asking.close()
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def survey(self, topics: Sequence[str]) -> Callable[[float], Survey | None]:
        """Begin to look at topics; see Broker."""
        return KafkaSurvey(self._ask_about(topics), self._list_ends, self._answer)

    def create_topic(
        self, topic: str, partitions: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic with the cluster's own replication; return when it can be used."""
        new = NewTopic(topic, partitions, config=dict(settings or {}))
        asked = self._admin.create_topics([new], request_timeout=self._timeout_s)
        if not _exists_already(asked[topic], self._timeout_s + 1):
            self._answer(asked[topic])
        self._patiently(lambda: self._ends([(topic, p) for p in self._shown(topic)]))

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and its records, for good; one that is not there is no error."""
        asked = self._admin.delete_topics([topic], request_timeout=self._timeout_s)
        with contextlib.suppress(TopicMissing):
            self._answer(asked[topic])

    def topic_settings(self, topic: str) -> dict[str, str]:
        """Return how a topic is set up, in Kafka's own names."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        asked = self._admin.describe_configs([resource], request_timeout=self._timeout_s)
        found = self._answer(asked[resource])
        return {name: entry.value for name, entry in found.items() if entry.value is not None}

    def rights(self, topic: str) -> set[str] | None:
        """Return what we may do with a topic (READ, WRITE, ...); None where the broker is not told
        who may do what."""
        asked = self._admin.describe_topics(
            TopicCollection([topic]),
            include_authorized_operations=True,
            request_timeout=self._timeout_s,
        )
        found = self._answer(asked[topic]).authorized_operations
        return None if found is None else {operation.name for operation in found}

    def delete_records(self, before: Offsets) -> None:
        """Have the broker forget the records before these offsets, for good."""
        asked = self._admin.delete_records(
            [TopicPartition(*tp, offset) for tp, offset in before.items()],
            request_timeout=self._timeout_s,
        )
        for future in asked.values():
            self._answer(future)

    def reader(self, offsets: Offsets, epochs: Epochs | None = None) -> KafkaReader:
        """Return a reader; its fetches are sized so that a round over all partitions fits."""
        return _built(lambda: KafkaReader(self._shared, self.group, self._client, offsets, epochs))

    def producer(self) -> KafkaProducer:
        """Return a producer."""
        return _built(lambda: KafkaProducer(self._shared, self._client))

    def close(self) -> None:
        """Let go of the cluster. Readers and producers are closed by their owners."""
        del self._admin

    def _said(self, error: KafkaException) -> HeadwaterError:
        cause: KafkaError = error.args[0]
        if cause.code() in _MISSING:
            return TopicMissing(cause.str())
        if cause.code() in _SILENT:
            return BrokerAway(self._silence())
        if cause.code() in _MOVING:
            return _Moving(f"Kafka says {cause.name()}: {cause.str()}")
        return BrokerAway(f"Kafka says {cause.name()}: {cause.str()}")

    def _ask_about(self, topics: Sequence[str]) -> dict[str, futures.Future[Any]]:
        return self._admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=self._timeout_s
        )

    def _shown(self, topic: str) -> list[int]:
        """Partitions of a topic that was created and may not be shown yet."""
        try:
            return self.partitions(topic)
        except TopicMissing:
            raise _Moving(f"topic {topic} was created, but Kafka does not show it") from None

    def _describe(self, topic: str) -> Any:
        return self._answer(self._ask_about([topic])[topic])

    def _ends(self, partitions: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        low, high = self._list_ends(partitions)
        return {
            tp: (self._answer(low[tp]).offset, self._answer(high[tp]).offset) for tp in partitions
        }

    def _list_ends(self, partitions: Sequence[TP]) -> tuple[Asked, Asked]:
        low, high = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._list_offsets(partitions, low), self._list_offsets(partitions, high)

    def _list_offsets(self, partitions: Sequence[TP], spec: Spec) -> Asked:
        asked = self._admin.list_offsets(
            {TopicPartition(*tp): spec for tp in partitions},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self._timeout_s,
        )
        return {(tp.topic, tp.partition): future for tp, future in asked.items()}

    def _patiently(self, ask: Callable[[], Built]) -> Built:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return ask()
            except _Moving:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_S)

    def _answer(self, future: futures.Future[Any]) -> Any:
        try:
            found = future.result(self._timeout_s + 1)
        except KafkaException as error:
            raise self._said(error) from None
        except futures.TimeoutError:
            raise BrokerAway(self._silence()) from None
        self._last_error = ""
        return found

    def _heard(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._last_error:
            self._last_error = _PASSING.sub(
                "", error.str()
            )  # that all are down says less than why one is

    def _silence(self) -> str:
        self._admin.poll(0)
        return explained(self._servers, self._last_error)


def _exists_already(created: futures.Future[Any], timeout_s: float) -> bool:
    futures.wait([created], timeout_s)
    error = created.exception(0) if created.done() else None
    return isinstance(error, KafkaException) and (
        error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    )


def _built(make: Callable[[], Built]) -> Built:
    """Build a client. librdkafka checks its settings here: a wrong one is the user's to mend."""
    try:
        return make()
    except KafkaException as error:
        hint = "See the settings of librdkafka (CONFIGURATION.md there)."
        raise BadSettings([Problem("kafka.client", None, error.args[0].str(), hint)]) from None
