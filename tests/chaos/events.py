"""What the producer sends, and what must become of it; known here without asking the service.

One category field, `id`, whose every value has a bucket of its own; one target, y = 1. With plain
SGD and a tiny rate each event learned moves the weight of its id by two rates, so the weights count.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from service.events.hashing import TextHasher

BUCKETS = 1 << 19
RATE = 1e-9
PARTITIONS = 4
SETTINGS: dict[str, Any] = {
    "event": {
        "features": {"id": {"type": "category", "buckets": BUCKETS}},
        "targets": {"y": {"type": "number", "scale": "none"}},
    },
    "model": {"kind": "linear"},
    "learning": {
        "optimizer": "sgd", "learning_rate": RATE, "momentum": 0.0, "linger_ms": 20,
        "batch_rows": 512,
    },
}  # fmt: skip
TENSOR = "head/y/category/id"
"""The weights that count, [BUCKETS, 1]."""

_TICK_S = 0.05


def bucket_of(hasher: TextHasher, id: str) -> int:
    """The row of an id's weight, as the featurizer spreads codes."""
    return 1 + hasher(id) % (BUCKETS - 1)


def hasher() -> TextHasher:
    """The hashes of the field `id` under the default seed."""
    return TextHasher("id", 0)


def values(start: int = 0) -> Iterator[bytes | None]:
    """Good events with ids that no other has; of fifty, two bad, one unlabelled, one tombstone."""
    hashes, taken = hasher(), bytearray(BUCKETS)
    number = start
    turn = 0
    while True:
        turn += 1
        match turn % 50:
            case 7:
                yield b"not json %d" % turn
                continue
            case 17:
                yield json.dumps({"id": f"u{turn}"}).encode()
                continue
            case 27:
                yield None
                continue
            case 37:
                yield json.dumps({"id": f"b{turn}", "y": "many"}).encode()
                continue
        number += 1
        bucket = bucket_of(hashes, f"e{number}")
        while taken[bucket]:
            number += 1
            bucket = bucket_of(hashes, f"e{number}")
        taken[bucket] = 1
        yield json.dumps({"id": f"e{number}", "y": 1}).encode()


def outcome_of(value: bytes | None) -> tuple[str, str | None]:
    """What must become of a record, and the id that it teaches, if any."""
    if value is None:
        return "filtered/tombstone", None
    try:
        event = json.loads(value)
    except ValueError:
        return "dead_lettered", None
    if "y" not in event:
        return "filtered/unlabelled", None
    if event["y"] != 1:
        return "dead_lettered", None
    return "learned", event["id"]


def produce(bootstrap: str, topic: str, rate: float, told: Path) -> None:
    """Send events round robin until SIGTERM; then write how many were acknowledged to `told`."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    producer = Producer({
        "bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True,
        "message.timeout.ms": 120_000,
    })  # fmt: skip
    acknowledged = failed = sent = 0

    def done(error: object, _: object) -> None:
        nonlocal acknowledged, failed
        acknowledged, failed = acknowledged + (error is None), failed + (error is not None)

    stream = values()
    began = time.monotonic()
    while not stop.wait(_TICK_S):
        due = int((time.monotonic() - began) * rate)
        for value in (next(stream) for _ in range(max(0, due - sent))):
            while True:
                try:
                    producer.produce(topic, value, partition=sent % PARTITIONS, on_delivery=done)
                except BufferError:
                    producer.poll(0.1)
                    continue
                break
            sent += 1
        producer.poll(0)
    left = producer.flush(120.0)
    told.write_text(json.dumps({"acknowledged": acknowledged, "failed": failed + left}))
