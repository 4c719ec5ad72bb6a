"""F7, F8 and F34: a learner that is told to stop at a bad moment, and one that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import make_service
from tests.e2e.parties import Publisher, another
from tests.e2e.service import CHECKOUT, Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

__all__ = ["make_service"]  # a fixture of the end-to-end tests

pytestmark = pytest.mark.e2e
Make = Callable[..., Service]
PYTHON = (sys.executable, "-m", "service")
FAST_S = 5.0


def outcomes(service: Service) -> dict[str, int]:
    """Events by outcome, whatever the reason."""
    counted: dict[str, int] = {}
    for name, n in service.status()["outcomes"].items():
        outcome = name.partition("/")[0]
        counted[outcome] = counted.get(outcome, 0) + n
    return counted


def all_learned(service: Service, topic: Topic) -> Any:
    """Whether every record of the topic is behind the cursor."""
    model = service.model()
    return model and model["trained_through"][topic.name] == topic.ends()


def heard(service: Service) -> bool:
    """Whether the supervisor has heard a signal since the last start."""
    whole = service.log().rpartition("\n")[0]
    lines = whole.rpartition('"event": "starting"')[2].splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return any(line["event"] == "stopping" for line in found)


def writing_a_snapshot(folder: Path) -> bool:
    """Whether a snapshot is half on disk."""
    return any((folder / "state" / "tested" / "snapshots").rglob(".tmp-*"))


def stopped_in_the_middle_of_a_snapshot(service: Service, process: subprocess.Popen[bytes]) -> int:
    """Have a snapshot taken, SIGTERM while it is written; return the exit code."""
    asking = subprocess.Popen(
        [*PYTHON, "snapshots", "create", "--config", str(service.config)], cwd=CHECKOUT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: writing_a_snapshot(service.folder), "a snapshot half on disk")
    code = service.stop(process)
    asking.wait(PATIENCE_S)
    return code


@chaos
def test_f7_f8_told_to_stop_at_a_bad_moment(make_service: Make, embedded_bootstrap: str) -> None:
    """F7: SIGTERM while learning is exit 0, and nothing is learned again at the next start. F8: so
    is SIGTERM while a snapshot is written; a second signal ends everything within five seconds.
    Whatever the moment, every event counts once."""
    topic = Topic(embedded_bootstrap, 2)
    features = {"x": {"type": "number"}, "c": {"type": "category", "buckets": 2**22}}
    service = make_service(topic, event={"features": features}, snapshots={"every_seconds": 3600})
    publisher = Publisher(topic)
    process = service.start()
    publisher.start()
    before = service.learned(1000)

    assert 0 == service.stop(process)  # F7, under traffic
    newest = service.json("snapshots", "list")["snapshots"][0]
    assert newest["version"] >= before["version"]

    process = service.start()
    service.learned(newest["events_learned"] + 500)
    assert 0 == stopped_in_the_middle_of_a_snapshot(service, process)  # F8

    process = service.start()
    service.learned(newest["events_learned"] + 1500)
    process.send_signal(signal.SIGTERM)
    until(lambda: heard(service), "it stops")
    asked_s = time.monotonic()
    process.send_signal(signal.SIGTERM)  # F8: the second one
    assert process.wait(PATIENCE_S) in {0, 130}
    assert time.monotonic() - asked_s < FAST_S

    process = service.start()
    publisher.stopped.set()
    publisher.join()
    until(lambda: all_learned(service, topic), "the end of the topic")
    counted = outcomes(service)
    name = 'headwater_replay_divergence_total{process="learner"}'
    lost_bits = until(lambda: [v for n, v in service.metrics().items() if n == name], name)
    assert 0 == service.stop(process)

    assert publisher.counts == counted
    assert [0.0] == lost_bits
    assert 2 == service.log().count('"entries_replayed": 0'), "after the two clean stops"


@chaos
def test_f34_a_learner_that_hangs_is_started_again(
    make_service: Make, embedded_bootstrap: str
) -> None:
    """F34: the API answers all the while and says that the learner is down; the supervisor kills
    it and counts that; learning goes on where it was."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, runtime={"hang_seconds": 8})
    service.start()
    topic.publish(events(100))
    service.learned(100)
    hanging = until(service.learner_pid, "a heartbeat")
    os.kill(hanging, signal.SIGSTOP)
    topic.publish(events(100, 1))
    statuses: list[int] = []

    def started_again() -> bool:
        statuses.append(service.predict(CLICK)[0])
        return another(service, hanging)

    until(started_again, "another learner")
    model = service.learned(200)

    assert {200} == set(statuses)
    assert 200 == model["events_learned"]
    name = 'headwater_restarts_total{child="learner",process="supervisor",reason="hung"}'
    until(lambda: service.metrics().get(name, 0.0) >= 1.0, "the hang counted")
    assert '"event": "child_hung"' in service.log()
