"""Labels turn round: who hears of it, what is done, and that a crash changes nothing of it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import events
from tests.learn.drift.hook import SECRET, Hook
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.e2e


def scored(service: Service) -> set[str]:
    """Which of the frozen copy, and of the live model on the same events, have a recent log loss."""
    name = 'headwater_score{{metric="log_loss",model="{}",process="learner",target="y",window="fading"}}'
    found = service.metrics()
    return {model for model in ("frozen", "live_paired") if name.format(model) in found}


def test_an_alarm_is_posted_answered_shown_and_replayed(make_service, embedded_bootstrap):
    """The webhook has it, the metrics count it, and after kill -9 the version has the same bits."""
    topic, hook = Topic(embedded_bootstrap), Hook()
    drift = {"react": ["log", "webhook", "raise_rates", "reset_head"], "webhook": hook.url}
    service = make_service(
        topic, drift=drift, snapshots={"every_seconds": 3600}, learning={"frozen_after": 100}
    )
    service.start()
    topic.publish(events(3000))
    topic.publish([e | {"y": 1 - e["y"]} for e in events(1000, 1)])
    service.learned(4000)
    path, said = hook.posts.get(timeout=PATIENCE_S)
    assert f"/{SECRET}" == path
    assert ("headwater.drift/1", "tested", "y") == (said["schema"], said["name"], said["target"])
    counted = 'headwater_drift_reactions_total{process="learner",reaction="reset_head"}'
    until(lambda: service.metrics().get(counted, 0) >= 1, "a reset in the metrics")
    until(lambda: scored(service) == {"frozen", "live_paired"}, "the frozen twin in the metrics")
    frozen = service.status()["frozen_twin"]
    before = service.model(digest=True)
    first = service.learner_pid()
    os.kill(first, signal.SIGKILL)
    until(lambda: service.learner_pid() not in {None, first}, "another learner")
    service.state_is("idle")
    after = service.model(digest=True)
    twin = service.status()["frozen_twin"]
    topic.publish(events(500, 2))
    until(lambda: scored(service) == {"frozen", "live_paired"}, "both scored beside each other")
    hook.shutdown()
    hook.server_close()

    assert frozen["events"] >= 100
    assert frozen == twin
    assert [before[k] for k in ("version", "lineage", "digest")] == [
        after[k] for k in ("version", "lineage", "digest")
    ]
    assert SECRET not in service.log()
    assert SECRET not in service.command("config", "show", "--config", str(service.config)).stdout
