"""The way to Kafka is bad: slow, resetting, swallowing, half open."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import events
from tests.faults.accounts import answering, publishing, settled
from tests.faults.clusters import Cluster, chaos
from tests.faults.proxy import Proxy
from tests.processes import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.kafka]


@pytest.fixture
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Proxy]]:
    """A Kafka that tells clients of the one listener to go through the proxy."""
    direct, proxied, control = free_port(), free_port(), free_port()
    with Proxy() as proxy:
        proxy.target = proxied
        at = "://127.0.0.1:"
        cluster = Cluster(
            tmp_path_factory.mktemp("kafka-far"), 1,
            {
                "listeners": f"CLIENT{at}{direct},FAR{at}{proxied},CONTROLLER{at}{control}",
                "advertised.listeners": f"CLIENT{at}{direct},FAR{at}{proxy.port}",
                "listener.security.protocol.map":
                    "CLIENT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "controller.quorum.voters": f"1@127.0.0.1:{control}",
            },
            port=direct,
        )  # fmt: skip
        yield cluster, proxy
        cluster.kill()


def more(service: Service, n: int) -> None:
    """Wait until n more events are learned."""
    model = service.model()
    assert model is not None
    began, wanted = time.monotonic(), model["events_learned"] + n
    service.learned(wanted, 120.0)
    print(f"{n} learned in {time.monotonic() - began:.1f} s")  # noqa: T201


@chaos
@pytest.mark.timeout(600)
def test_f16_a_bad_network_costs_time_and_no_event(make_service, behind_a_proxy):
    """Two seconds late; one chunk of a hundred resets; a minute of silence; half open. Predictions
    go on, a minute after it is mended everything is learned, each event once."""
    cluster, proxy = behind_a_proxy
    topic = Topic(cluster.bootstrap, 2)
    service = make_service(topic, kafka={"bootstrap_servers": f"127.0.0.1:{proxy.port}"})
    service.start()
    topic.publish(events(100))
    first = service.learned(100)

    def learn_all(what: str) -> None:
        began = time.monotonic()
        model = settled(service, topic, learned=sum(topic.ends().values()))
        print(f"{what}: {model['events_learned']} after {time.monotonic() - began:.1f} s")  # noqa: T201
        assert first["lineage"] == model["lineage"]

    with answering(service):
        with publishing(topic):
            proxy.delay_s = 2.0
            more(service, 3000)
            proxy.heal()
        learn_all("2 s late")
        with publishing(topic):
            proxy.reset_share = 0.01
            more(service, 3000)
            until(lambda: proxy.resets > 3, "some connections are reset")
            proxy.heal()
        learn_all(f"{proxy.resets} resets")
        with publishing(topic):
            proxy.swallow()
            time.sleep(60.0)  # the fault is its length
            proxy.heal()
        learn_all("a minute of silence")
        with publishing(topic):
            proxy.half_open()
            time.sleep(5.0)
        learn_all("half open")
