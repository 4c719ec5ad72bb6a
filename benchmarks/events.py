"""Synthetic events of the size of a payment, the settings that learn them, and their publishing.

Ten fields: five numbers, five categories of 10 to 100,000 values, and a binary target that depends
on them; about 200 bytes of JSON. The same seed gives the same events, and no two are alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from benchmarks.results import Failed
from service.stream.broker import Outgoing
from service.stream.kafka import KafkaBroker

PARTITIONS = 4
NUMBERS = ("amount", "balance", "age_days", "distance_km", "rate")
CATEGORIES = {"country": 10, "channel": 100, "device": 1_000, "merchant": 10_000, "card": 100_000}
TARGET = "is_fraud"
_CHUNK = 4096
_FLUSH_S = 120.0


def settings_for(topic: str, bootstrap: str, kind: str = "linear") -> dict[str, Any]:
    """Return settings with the service's own defaults, but for this kind of model and this topic."""
    features: dict[str, Any] = {name: {"type": "number"} for name in NUMBERS}
    features |= {name: {"type": "category"} for name in CATEGORIES}
    return {
        "name": topic,
        "kafka": {"bootstrap_servers": bootstrap, "topics": [topic]},
        "event": {"features": features, "targets": {TARGET: {"type": "binary"}}},
        "model": {"kind": kind},
    }


def made(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Make so many events."""
    rng = np.random.default_rng(seed)
    liking = {name: rng.normal(0.0, 1.0, size) for name, size in CATEGORIES.items()}
    for start in range(0, count, _CHUNK):
        n = min(_CHUNK, count - start)
        numbers = rng.normal(0.0, 1.0, (n, len(NUMBERS)))
        # values near zero are frequent, as names are in the world
        codes = {k: (size * rng.random(n) ** 3).astype(int) for k, size in CATEGORIES.items()}
        logit = numbers @ np.array([0.8, -0.5, 0.3, 0.0, 0.0]) - 1.0
        logit += sum(0.5 * liking[name][codes[name]] for name in CATEGORIES)
        labels = (rng.random(n) < 1.0 / (1.0 + np.exp(-logit))).astype(int)
        shown = np.round(numbers * 100.0 + 250.0, 4).tolist()
        columns = [codes[name].tolist() for name in CATEGORIES]
        for row, label, *values in zip(shown, labels.tolist(), *columns, strict=True):
            event: dict[str, Any] = dict(zip(NUMBERS, row, strict=True))
            event |= {k: f"{k[:2]}-{v}" for k, v in zip(CATEGORIES, values, strict=True)}
            event[TARGET] = label
            yield event


def questions(count: int, size: int) -> list[bytes]:
    """Return so many bodies for /v1/predict, each with `size` events without their label."""
    asked = [{k: v for k, v in e.items() if k != TARGET} for e in made(count * size, seed=1)]
    groups = [asked[at : at + size] for at in range(0, len(asked), size)]
    return [msgspec.json.encode({"events": group}) for group in groups]


def partitions_of(count: int, seed: int = 0) -> list[int]:
    """Return the partition of each event, as a producer with random keys would choose it."""
    chosen: list[int] = np.random.default_rng(seed).integers(0, PARTITIONS, count).tolist()
    return chosen


def publish(broker: KafkaBroker, topic: str, count: int) -> int:
    """Publish so many events, a millisecond apart and the last of them now; return their bytes."""
    producer = broker.producer()
    first_ms = time.time_ns() // 1_000_000 - count
    nbytes = 0
    try:
        for at, (event, partition) in enumerate(
            zip(made(count), partitions_of(count), strict=True)
        ):
            value = msgspec.json.encode(event)
            nbytes += len(value)
            producer.send(
                Outgoing(topic, value=value, timestamp_ms=first_ms + at, partition=partition)
            )
        failures = producer.flush(_FLUSH_S)
        if failures or producer.waiting():
            raise Failed(f"{len(failures)} of {count} events were not taken by Kafka")
    finally:
        producer.close()
    return nbytes
