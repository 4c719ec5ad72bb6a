"""Records that are gone, topics that are others: while the learner runs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.accounts import settled
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.kafka]
SKIPPED = 'headwater_skipped_offsets_total{process="learner",reason="retention"}'


def stop(service: Service) -> int:
    """Have the learner stand still, with no fetch under way: the broker answers one after 100 ms
    (fetch.wait.max.ms), and nobody can see when it has."""
    pid = service.learner_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)
    return pid


@chaos
def test_f18_retention_that_overtakes_a_running_learner_halts_it_or_is_counted(
    make_service, kafka_bootstrap
):
    """DeleteRecords past the cursor. The default: halted with the exact range, nothing learned past
    the hole. With on_data_loss: skip the offsets that are gone are counted, the rest is learned."""
    topic = Topic(kafka_bootstrap)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(50))
    service.learned(50)
    pid = stop(service)
    topic.publish(events(100, 1))
    topic.delete_before(0, 80)
    os.kill(pid, signal.SIGCONT)

    halted = service.state_is("halted")
    assert "offsets 50 to 79 are gone" in halted["reason"]
    assert 50 == service.predict(CLICK)[1]["model"]["events_learned"]
    assert {"0": 50} == service.model()["trained_through"][topic.name]
    assert 0 == service.stop(process)

    service.change(kafka={"on_data_loss": "skip"})
    service.start()
    service.learned(120)
    pid = stop(service)
    topic.publish(events(100, 2))
    topic.delete_before(0, 190)
    os.kill(pid, signal.SIGCONT)

    settled(service, topic, learned=180)
    until(lambda: service.metrics().get(SKIPPED) == 70.0, "30 and 40 offsets counted")


def test_f20_a_topic_made_anew_under_a_running_learner_is_not_learned(
    make_service, kafka_bootstrap
):
    """Same name, offsets that fit, another topic: the client reads on without a word, and the
    learner halts before it has learned one of its events."""
    topic = Topic(kafka_bootstrap)
    service = make_service(topic)
    service.start()
    topic.publish(events(50))
    service.learned(50)
    topic.admin.delete_topics([topic.name])[topic.name].result(PATIENCE_S)

    def anew() -> Topic | None:
        try:
            return Topic(kafka_bootstrap, name=topic.name)
        except Exception:  # noqa: BLE001 - the old one is still being deleted
            return None

    until(anew, "the topic made anew").publish(events(200, 1))

    assert "made anew" in service.state_is("halted")["reason"]
    model = service.model()
    assert (50, {"0": 50}) == (model["events_learned"], model["trained_through"][topic.name])
    assert 200 == service.predict(CLICK)[0]
