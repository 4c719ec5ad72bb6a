"""Offsets without a record: transactions and compaction, while learning and at a replay."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import events
from tests.faults.accounts import outcomes, settled
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, chaos]
SOON_COMPACTED = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "delete.retention.ms": "0",
    "max.compaction.lag.ms": "100",
}


def transaction(topic: Topic, sent: Sequence[dict[str, Any]]) -> Producer:
    """Begin a transaction and write events into it."""
    producer = Producer({
        "bootstrap.servers": topic.bootstrap, "transactional.id": uuid.uuid4().hex, "log_level": 2,
    })  # fmt: skip
    producer.init_transactions(60.0)
    producer.begin_transaction()
    for event in sent:
        producer.produce(topic.name, json.dumps(event), partition=0)
    producer.flush(30.0)
    return producer


def clean_by(topic: Topic, policy: str) -> None:
    """Set the topic's cleanup.policy: compact or delete."""
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=[entry])
    for done in topic.admin.incremental_alter_configs([resource]).values():
        done.result(PATIENCE_S)


def compact_no_more(topic: Topic) -> None:
    """Have the log as it is now stay as it is; wait until a cleaning under way has ended."""
    clean_by(topic, "delete")
    seen: list[list[int]] = []

    def still() -> bool:
        seen.append([m.offset() for m in topic.read_all()])
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    until(still, "a log that stays as it is")


def kill_learner(service: Any) -> None:
    """kill -9, and wait until another one learns."""
    pid = service.learner_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.learner_pid() not in (None, pid), "another learner")
    service.state_is("learning", "idle")


def test_f24_only_committed_transactions_are_learned_and_an_open_one_is_waited_for(
    make_service, kafka_bootstrap
):
    """Aborted events are never learned, an open transaction holds what comes after it, and lag
    counts all of that or none; ranges that end in markers and aborted records replay to the same bits."""
    topic = Topic(kafka_bootstrap)
    service = make_service(topic, snapshots={"every_seconds": 3600})
    service.start()
    transaction(topic, events(20)).commit_transaction(30.0)
    transaction(topic, events(10, 1)).abort_transaction(30.0)
    service.learned(20)
    waiting = transaction(topic, events(5, 2))
    topic.publish(events(5, 3))
    # the client tells the end before or after it hears of what is held back: nothing, or all of it
    until(lambda: service.state_is("idle")["lag_records"] in (0, 10), "what is held back")
    until(lambda: outcomes(service) == {"learned": 20}, "outcomes")
    before = service.model(digest=True)
    assert 20 == before["events_learned"]

    kill_learner(service)
    after = service.model(digest=True)
    assert (before["digest"], before["lineage"]) == (after["digest"], after["lineage"])
    assert before["version"] == after["version"]

    waiting.commit_transaction(30.0)
    transaction(topic, events(10, 4)).abort_transaction(30.0)
    service.learned(30)
    until(lambda: service.state_is("idle")["lag_records"] == 0, "no lag, markers or not")
    before = service.model(digest=True)
    kill_learner(service)
    after = service.model(digest=True)
    assert (30, before["digest"]) == (after["events_learned"], after["digest"])
    assert before["lineage"] == after["lineage"]
    until(lambda: outcomes(service) == {"learned": 30}, "outcomes")


def test_f25_tombstones_are_filtered_and_a_range_that_compaction_emptied_is_replayed(
    make_service, kafka_bootstrap
):
    """A tombstone ends as filtered. When compaction has removed records of a journaled range, its
    end too, the replay knows all the same that the range is complete; it gives another history, so
    a new lineage, and counts what is still there: once."""
    topic = Topic(kafka_bootstrap, settings=SOON_COMPACTED)
    service = make_service(topic, snapshots={"every_seconds": 3600})
    service.start()
    producer = Producer({"bootstrap.servers": topic.bootstrap})

    def write(key: str, event: dict[str, Any] | None) -> None:
        value = None if event is None else json.dumps(event)
        producer.produce(topic.name, value, key=key, partition=0)
        assert 0 == producer.flush(30.0)

    for i, event in enumerate(events(30)):
        write(f"k{i % 5}", event)
    write("k0", None)
    before = settled(service, topic, learned=30, filtered__tombstone=1)

    clean_by(topic, "compact")
    rolled = [0]

    def compacted() -> bool:
        write("roll", events(1)[0])
        rolled[0] += 1
        left = [m.offset() for m in topic.read_all() if m.offset() < 31]
        return left == [26, 27, 28, 29]  # not even the tombstone at the end of the range

    until(compacted, "compaction")
    service.learned(30 + rolled[0])
    compact_no_more(topic)
    kill_learner(service)

    left = len(topic.read_all())
    after = settled(service, topic, learned=left)
    assert before["lineage"] != after["lineage"]
    topic.publish(events(10, 9))
    service.learned(left + 10)
