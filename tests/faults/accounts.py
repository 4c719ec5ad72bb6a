"""The oracle: what a running service says of every event it was sent."""

from __future__ import annotations

import json
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events

_EVENTS = 'headwater_events_total{outcome="'


def outcomes(service: Service) -> dict[str, int]:
    """Return events by outcome and reason, as the metrics have them; empty while nobody answers."""
    found: dict[str, int] = {}
    try:
        samples = service.metrics()
    except (urllib.error.URLError, OSError):
        return {}
    for name, value in samples.items():
        if name.startswith(_EVENTS) and value:
            outcome, _, rest = name.removeprefix(_EVENTS).partition('"')
            reason = rest.rpartition('reason="')[2].rstrip('"}')
            found["/".join(filter(None, (outcome, reason)))] = int(value)
    return found


def settled(service: Service, *topics: Topic, **expected: int) -> dict[str, Any]:
    """Wait until the ends of the topics are learned; AssertionError unless each event then had
    exactly one outcome, as expected (`learned=70, filtered__tombstone=1`). Returns /v1/model."""
    wanted = {name.replace("__", "/"): n for name, n in expected.items()}
    ends = {topic.name: topic.ends() for topic in topics}

    def there() -> dict[str, Any] | None:
        model = service.model()
        return model if model and model["trained_through"] == ends else None

    model = until(there, f"everything before {ends}; now {service.model()}")
    until(
        lambda: sum(outcomes(service).values()) >= sum(wanted.values()),
        f"{wanted}; now {outcomes(service)}",
    )
    assert wanted == outcomes(service)
    assert wanted.get("learned", 0) == model["events_learned"]
    return model


@contextmanager
def answering(service: Service) -> Iterator[list[object]]:
    """Ask for predictions all the time; gives the list of those that failed, which must be empty."""
    failed: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.02):
            status, body = service.predict(CLICK)
            if status != 200:
                failed.append((status, body))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield failed
    finally:
        done.set()
        asking.join()
    assert [] == failed


@contextmanager
def publishing(topic: Topic) -> Iterator[None]:
    """Publish events, about a thousand a second, whatever happens to the brokers; at the end each
    is acknowledged and on the topic once, so its ends say how many there are."""
    done = threading.Event()
    producer = Producer({
        "bootstrap.servers": topic.bootstrap, "enable.idempotence": True, "linger.ms": 5,
        "message.timeout.ms": 300_000, "reconnect.backoff.max.ms": 1000, "log_level": 2,
    })  # fmt: skip

    def publish() -> None:
        turn = 0
        while not done.wait(0.1):
            turn += 1
            for i, event in enumerate(events(100, turn)):
                producer.produce(topic.name, json.dumps(event), partition=i % topic.partitions)
            producer.poll(0)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        left = producer.flush(120.0)
    assert 0 == left
