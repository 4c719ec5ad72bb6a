"""Send messages with confluent-kafka and know which of them were acknowledged.

Idempotent, acknowledged by all in-sync replicas. Only failures call back (a callback for every
message costs more than sending it); what is neither failed nor waiting is acknowledged.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from service.errors import BrokerAway
from service.stream.broker import Failure, Outgoing

_OURS: dict[str, Any] = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "queue.buffering.max.messages": 200_000,
    "delivery.report.only.error": True,
    "message.max.bytes": 64 << 20,  # what is too large, the broker knows
}
_FULL_S = 60.0


class KafkaProducer:
    """Hands messages to librdkafka, in order per partition."""

    def __init__(self, shared: Mapping[str, Any], client: Mapping[str, str]) -> None:
        self._failures: list[Failure] = []
        self._producer = Producer({**_OURS, **shared, **client})

    def send(self, message: Outgoing) -> None:
        """Hand a message over. A full queue waits a minute for room, then raises BrokerAway."""
        given: dict[str, Any] = {"on_delivery": functools.partial(self._failed, message)}
        if message.partition is not None:
            given["partition"] = message.partition
        if message.timestamp_ms is not None:
            given["timestamp"] = message.timestamp_ms
        if message.headers:
            given["headers"] = list(message.headers)
        deadline = time.monotonic() + _FULL_S
        while True:
            try:
                self._producer.produce(message.topic, message.value, message.key, **given)
            except BufferError:
                if time.monotonic() > deadline:
                    raise BrokerAway("Kafka takes no messages; the queue is full") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                self._failures.append(_failure(message, error.args[0]))
                return
            else:
                return

    def flush(self, timeout_s: float) -> list[Failure]:
        """Wait for acknowledgements; return what failed since the last flush."""
        self._producer.flush(timeout_s)
        failures, self._failures = self._failures, []
        return failures

    def waiting(self) -> int:
        """Return how many messages are not acknowledged and have not failed."""
        return len(self._producer)

    def close(self) -> None:
        """Drop what is still waiting."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _failed(self, message: Outgoing, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(_failure(message, error))


def _failure(message: Outgoing, error: KafkaError) -> Failure:
    return Failure(message, error.name(), error.str())
