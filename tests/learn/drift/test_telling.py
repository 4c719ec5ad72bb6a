"""Alarms are told: a line each, and a post each that never holds up learning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from service.learn.drift import telling
from service.learn.drift.telling import Teller
from service.learn.drift.watch import Alarm
from service.metrics import Metrics
from service.settings import DriftSettings
from tests.learn.cuts import learner, records, take
from tests.learn.drift.hook import SECRET, Hook
from tests.processes import PATIENCE_S, until

ALARM = Alarm("adwin", "y", 1, 1.5)
INPUT = Alarm("psi", "x", 1, 0.31234567)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.open.set()
    found.shutdown()
    found.server_close()


def step(*alarms: Alarm, answers: tuple[str, ...] = ()):
    """Return what a cut did, with these alarms."""
    found = take(learner(), records(3))
    found.alarms, found.answers = list(alarms), list(answers)
    return found


def teller(metrics: Metrics, url: str | None, *react: str) -> Teller:
    return Teller("shop", DriftSettings.model_validate({"react": react, "webhook": url}), metrics)


def posts(metrics: Metrics, result: str) -> float:
    return metrics.counter("headwater_drift_webhook_posts_total").get(result)


def test_each_alarm_is_one_line_and_one_post(hook):
    """With what fired, where, how far, and the version that a cut became."""
    metrics = Metrics("learner")
    one = teller(metrics, hook.url, "log", "webhook")
    with structlog.testing.capture_logs() as lines:
        one.tell(step(ALARM, INPUT, answers=("reset_head y",)), "feed")
    until(lambda: posts(metrics, "success") == 2)
    one.close()

    said = [line for line in lines if line["event"] == "drift"]
    assert [("adwin", "y"), ("psi", "x")] == [
        (line["by"], line.get("target") or line.get("field")) for line in said
    ]
    assert ["reset_head y"] == [x["answer"] for x in lines if x["event"] == "drift_answered"]
    path, first = hook.posts.get(timeout=PATIENCE_S)
    assert f"/{SECRET}" == path
    assert first == {
        "schema": "headwater.drift/1", "name": "shop", "by": "adwin", "target": "y",
        "figure": 1.5, "times": 1, "version": 1, "lineage": "feed", "answers": ["reset_head y"],
    }  # fmt: skip
    assert "x" == hook.posts.get(timeout=PATIENCE_S)[1]["field"]


def test_nothing_is_posted_unless_it_is_asked_for(hook):
    """An address alone is no order; nor is the reaction without an address."""
    metrics = Metrics("learner")
    for one in (teller(metrics, hook.url, "log"), teller(metrics, None, "webhook")):
        one.tell(step(ALARM), "feed")
        one.close()

    assert hook.posts.empty()
    assert 0 == posts(metrics, "success") + posts(metrics, "failure")


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_refused_post_is_counted_and_the_address_is_not_logged(hook, status):
    """Redirects are not followed: the body would be lost on the way."""
    metrics, hook.status = Metrics("learner"), status
    one = teller(metrics, hook.url, "webhook")
    with structlog.testing.capture_logs() as lines:
        one.tell(step(ALARM), "feed")
        until(lambda: posts(metrics, "failure") == 1)
        one.close()

    assert SECRET not in str(lines)
    assert f"status {status}" in str(lines)
    assert 1 == hook.posts.qsize()


def test_nobody_listening_is_counted(hook):
    """The port is closed."""
    metrics = Metrics("learner")
    hook.shutdown()
    hook.server_close()
    one = teller(metrics, hook.url, "webhook")
    one.tell(step(ALARM), "feed")

    until(lambda: posts(metrics, "failure") == 1)
    one.close()


def test_a_webhook_that_hangs_holds_up_nothing(hook, monkeypatch):
    """Alarms beyond the queue are dropped and counted; telling takes no time: it comes back while
    the post is still under way."""
    metrics = Metrics("learner")
    monkeypatch.setattr(telling, "_TIMEOUT_S", PATIENCE_S)
    hook.open.clear()
    one, cut = teller(metrics, hook.url, "webhook"), step(ALARM)
    one.tell(cut, "feed")
    assert hook.asked.wait(PATIENCE_S)
    for _ in range(130):
        one.tell(cut, "feed")

    assert 0 == posts(metrics, "success") + posts(metrics, "failure")
    assert 30 == posts(metrics, "dropped")
    hook.open.set()
    until(lambda: posts(metrics, "success") == 101)
    one.close()
