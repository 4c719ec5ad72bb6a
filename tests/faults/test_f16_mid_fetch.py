"""The way to Kafka is bad in the middle of things: replies cut in half, a silence of minutes."""

from __future__ import annotations

import threading
import time

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import events
from tests.faults.accounts import answering, publishing, settled
from tests.faults.clusters import chaos
from tests.faults.test_f16_network import behind_a_proxy, more

__all__ = ["behind_a_proxy"]

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, chaos]
SILENCE_S = 90.0
"""Longer than any patience of the client: 60 s for a reply, 10 s for a question of ours."""


@pytest.mark.timeout(300)
def test_f16_replies_cut_in_half_cost_time_and_no_event(make_service, behind_a_proxy):
    """A backlog is fetched in large replies; one chunk of ten ends half way, with a reset. Each
    event is learned once, and two restarts on the way change nothing."""
    cluster, proxy = behind_a_proxy
    topic = Topic(cluster.bootstrap, 4)
    for seed in range(30):
        topic.publish(events(1000, seed))
    proxy.cut_share = 0.1
    service = make_service(
        topic,
        kafka={"bootstrap_servers": f"127.0.0.1:{proxy.port}"},
        snapshots={"every_seconds": 1},
    )
    process = service.start()
    lineage = service.learned(1)["lineage"]
    with answering(service):
        more(service, 3000)
        proxy.heal()
        model = settled(service, topic, learned=30_000)
    print(f"{proxy.resets} replies or requests cut in half")  # noqa: T201
    assert proxy.resets > 5
    assert 0 == service.stop(process)

    proxy.cut_share = 0.1
    process = service.start()
    topic.publish(events(1000, 31))
    service.learned(30_500)
    proxy.heal()
    assert lineage == model["lineage"] == settled(service, topic, learned=31_000)["lineage"]


@pytest.mark.timeout(400)
def test_f16_a_silence_longer_than_every_patience_ends_by_itself(make_service, behind_a_proxy):
    """The learner says that Kafka does not answer, takes a snapshot and a pause meanwhile, and goes
    on within a minute after it is mended: by the same connections or by others."""
    cluster, proxy = behind_a_proxy
    topic = Topic(cluster.bootstrap, 2)
    service = make_service(topic, kafka={"bootstrap_servers": f"127.0.0.1:{proxy.port}"})
    service.start()
    topic.publish(events(100))
    first = service.learned(100)
    with answering(service), publishing(topic):
        proxy.swallow()
        mended = threading.Timer(SILENCE_S, proxy.heal)
        mended.start()
        until(lambda: service.status()["reason"] == "Kafka does not answer", "it is noticed")
        assert service.status()["lag_records"] is None
        assert service.model()["stale"]
        assert "v" == service.json("snapshots", "create")["id"][0]
        assert "paused" == service.json("pause")["state"]
        assert service.json("resume")["state"] != "paused"
        mended.join()
        began = time.monotonic()
        more(service, 1000)
        print(f"learning {time.monotonic() - began:.1f} s after it was mended")  # noqa: T201
        assert time.monotonic() - began < 60.0
    model = settled(service, topic, learned=sum(topic.ends().values()))
    assert first["lineage"] == model["lineage"]
