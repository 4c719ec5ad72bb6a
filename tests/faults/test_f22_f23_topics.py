"""Topics that are not there yet, and partitions that were not."""

from __future__ import annotations

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.accounts import settled
from tests.faults.clusters import chaos

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, chaos]


def test_f22_f23_a_missing_topic_is_waited_for_and_new_partitions_are_learned_from_0(
    make_service, kafka_bootstrap
):
    """Not ready, no crash loop, and it says what it waits for; later partitions are found within
    the discovery interval, from their first record, and replayed after a kill -9."""
    elsewhere = Topic(kafka_bootstrap)
    late = f"{elsewhere.name}-late"
    service = make_service(elsewhere, kafka={"topics": [late], "discovery_seconds": 2})
    service.start()

    until(lambda: service.get("/healthz")[0] == 200, "the API")
    learner = service.state_is("restoring")
    pid = until(service.learner_pid, "a heartbeat")
    until(lambda: "does not exist yet" in (service.state_is("restoring")["reason"] or ""), "why")
    assert (503, 503) == (service.predict(CLICK)[0], service.get("/readyz")[0]), learner

    topic = Topic(kafka_bootstrap, name=late)
    topic.publish(events(50))
    service.learned(50)
    assert pid == service.learner_pid()
    assert 200 == service.get("/readyz")[0]

    topic.grow(3)
    topic.publish(events(90, 1))
    settled(service, topic, learned=140)
