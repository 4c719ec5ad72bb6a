"""A topic read whole, by a consumer that shares nothing with the service."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

Place = tuple[int, int]
_PATIENCE_S = 120.0


def read_topic(bootstrap: str, topic: str, *, headers: bool = False) -> dict[Place, Any]:
    """Return {(partition, offset): value}, or its headers as {name: text}."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "verifier", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "allow.auto.create.topics": False,
    })  # fmt: skip
    found: dict[Place, Any] = {}
    try:
        partitions = consumer.list_topics(topic, 30.0).topics[topic].partitions
        starts = {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), 30.0) for p in partitions
        }
        consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in starts.items()])
        ended: set[int] = set()
        deadline = time.monotonic() + _PATIENCE_S
        while len(ended) < len(partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{topic}: only {sorted(ended)} of its partitions came to an end"
                )
            for message in consumer.consume(5000, 1.0):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                elif error is not None:
                    raise OSError(f"{topic}: {error}")
                else:
                    place = (message.partition() or 0, message.offset() or 0)
                    found[place] = _headers(message) if headers else message.value()
    finally:
        consumer.close()
    return found


def _headers(message: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers() or [] if value is not None}
