"""Brokers of a real cluster that die, stop and freeze under a running service."""

from __future__ import annotations

import functools
import re
import time
from pathlib import Path

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.accounts import answering, publishing, settled
from tests.faults.clusters import Cluster, chaos, described, leader

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, chaos, pytest.mark.timeout(900)]


def whole(topic: Topic) -> bool:
    """Whether every replica is in sync again."""
    found = [described(topic, p) for p in range(topic.partitions)]
    return all(p is not None and len(p.isrs) == 3 for p in found)


def led_by_another(topic: Topic, node: int) -> bool:
    """Whether another broker leads partition 0 now."""
    return leader(topic) not in (None, node)


def memory_kb(service: Service) -> int:
    """Resident memory of the learner, in KiB."""
    status = Path(f"/proc/{service.learner_pid()}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def more(service: Service, n: int) -> None:
    """Wait until n more events are learned."""
    model = service.model()
    assert model is not None
    service.learned(model["events_learned"] + n)


def test_f14_f15_each_broker_of_three_may_die_in_turn(make_service, three_brokers: Cluster):
    """Leaders and the coordinator move each time, in the middle of cuts; learning goes on with two,
    no prediction fails, nothing restarts, every event is learned once."""
    topic = Topic(three_brokers.bootstrap, 4, copies=3)
    service = make_service(topic, snapshots={"every_seconds": 2})
    service.start()
    topic.publish(events(100))
    first = service.learned(100)
    pid = service.learner_pid()
    with answering(service), publishing(topic):
        for _ in range(3):
            node = leader(topic)
            assert node is not None
            three_brokers.kill(node)
            until(functools.partial(led_by_another, topic, node), "another leader")
            more(service, 3000)
            three_brokers.start(node)
            until(lambda: whole(topic), "all replicas in sync")
            more(service, 1000)
    last = settled(service, topic, learned=sum(topic.ends().values()))
    assert (pid, first["lineage"]) == (service.learner_pid(), last["lineage"])


@pytest.mark.parametrize("seconds", [10, 60])
def test_f14_all_brokers_may_be_gone_for_a_minute(
    make_service, three_brokers: Cluster, seconds: int
):
    """Predictions go on and say stale; the learner waits, does not exit, takes no more memory; when
    the brokers are back it goes on, every event once."""
    topic = Topic(three_brokers.bootstrap, 4, copies=3)
    service = make_service(topic)
    service.start()
    topic.publish(events(100))
    first = service.learned(100)
    pid = service.learner_pid()
    with answering(service), publishing(topic):
        more(service, 2000)
        before_kb = memory_kb(service)
        three_brokers.kill()
        gone_s = time.monotonic()
        until(lambda: service.predict(CLICK)[1]["model"]["stale"], "stale")
        until(lambda: service.status()["reason"] == "Kafka does not answer", "the reason")
        time.sleep(max(0.0, seconds - (time.monotonic() - gone_s)))  # the fault is its length
        assert memory_kb(service) - before_kb < 50_000
        three_brokers.start()
        back_s = time.monotonic()
        more(service, 2000)
        print(f"learning again {time.monotonic() - back_s:.1f} s after the brokers")  # noqa: T201
    last = settled(service, topic, learned=sum(topic.ends().values()))
    assert (pid, first["lineage"]) == (service.learner_pid(), last["lineage"])


def test_f14_a_broker_may_freeze(make_service, three_brokers: Cluster):
    """SIGSTOP: it holds its connections and answers nothing, until others take its partitions."""
    topic = Topic(three_brokers.bootstrap, 4, copies=3)
    service = make_service(topic)
    service.start()
    topic.publish(events(100))
    service.learned(100)
    node = leader(topic)
    assert node is not None
    with answering(service), publishing(topic):
        three_brokers.pause(node)
        until(lambda: led_by_another(topic, node), "another leader")
        more(service, 3000)
        three_brokers.resume(node)
        more(service, 1000)
    settled(service, topic, learned=sum(topic.ends().values()))
