"""F32: memory stays bounded under a backlog larger than all of it. F43: scrapes disturb nobody."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import events
from tests.faults.clusters import chaos

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PAD = "p" * 8_000
BACKLOG = 32_000  # of 8 kB: 256 MB


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@chaos
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_f32_a_backlog_larger_than_the_buffers_stays_in_kafka(make_service, embedded_bootstrap):
    """F32: 256 MB come at once; the learner takes less memory than that: what the client's queue,
    2,000 records of the cutter, and four cuts that wait to be learned hold."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, kafka={"buffer_records": 2_000})
    process = service.start()
    topic.publish(events(500))
    service.learned(500)
    pid = service.learner_pid()
    before = peak_mib(pid)

    topic.publish(event | {"pad": PAD} for seed in range(BACKLOG // 1000)
                  for event in events(1000, seed))  # fmt: skip
    service.learned(500 + BACKLOG)

    assert pid == service.learner_pid()
    assert peak_mib(pid) - before < 200.0
    assert 0 == service.stop(process)


def slow_steps(service: Service, bound: str = "0.1") -> tuple[float, float]:
    """How many steps of learning there were, and how many were longer than the bound."""
    found = service.metrics()
    name = "headwater_step_duration_seconds"
    total = found[f'{name}_count{{process="learner"}}']
    return total, total - found[f'{name}_bucket{{le="{bound}",process="learner"}}']


@chaos
def test_f43_scrapes_do_not_disturb_learning_while_snapshots_are_written(
    make_service, embedded_bootstrap
):
    """F43: fifty scrapes a second, a snapshot a second: each scrape is answered, and at most one
    step in a hundred takes longer than a tenth of a second (one takes about one millisecond)."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, snapshots={"every_seconds": 1})
    process = service.start()
    topic.publish(events(200))
    service.learned(200)
    stopped, answers = threading.Event(), []

    def scrape() -> None:
        while not stopped.wait(0.02):
            with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as reply:
                answers.append((reply.status, len(reply.read())))

    scraper = threading.Thread(target=scrape)
    scraper.start()
    name = 'headwater_snapshots_total{process="learner",result="success"}'
    ends = time.monotonic() + 60.0
    while service.metrics().get(name, 0.0) < 4 and time.monotonic() < ends:
        topic.publish(events(200, topic.sent))
    service.learned(topic.sent)
    stopped.set()
    scraper.join()

    assert len(answers) > 50
    assert {200} == {status for status, _ in answers}
    until(lambda: slow_steps(service)[0] > 20, "steps in the metrics")
    steps, slow = slow_steps(service)
    assert slow <= max(1.0, steps / 100)
    assert 0 == service.stop(process)
