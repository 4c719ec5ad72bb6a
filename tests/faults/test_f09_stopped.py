"""A process that stands still: a virtual machine that is moved, a debugger, a frozen cgroup."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.accounts import answering, publishing, settled
from tests.faults.clusters import chaos

pytestmark = [pytest.mark.e2e, pytest.mark.kafka]


@chaos
@pytest.mark.parametrize("seconds", [2, 60])
def test_f9_a_learner_that_stands_still_goes_on_where_it_stood(
    make_service, kafka_bootstrap, seconds
):
    """SIGSTOP, SIGCONT: answers go on and say stale, then every event is learned once, in the same
    lineage. Nobody has taken its partitions over: they are assigned, not shared out."""
    topic = Topic(kafka_bootstrap, 2)
    service = make_service(topic)
    service.start()
    topic.publish(events(100))
    before = service.learned(100)
    pid = service.learner_pid()
    with answering(service), publishing(topic):
        os.kill(pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        until(lambda: service.predict(CLICK)[1]["model"]["stale"], "stale")
        time.sleep(max(0.0, seconds - (time.monotonic() - stopped_s)))  # the fault is its length
        os.kill(pid, signal.SIGCONT)
        service.learned(200)
    after = settled(service, topic, learned=sum(topic.ends().values()))
    assert before["lineage"] == after["lineage"]
