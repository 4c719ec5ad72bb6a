"""Challengers in real processes: scored side by side, promoted, killed, made again from nothing."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events

pytestmark = pytest.mark.e2e

CHALLENGERS = {"deep": {"kind": "mlp", "hidden": 8}, "quick": {"learning": {"learning_rate": 0.5}}}


def test_a_promoted_challenger_answers_survives_a_kill_and_can_be_made_again(
    make_service, embedded_bootstrap
):
    """The reply and /v1/model say who answers; a kill -9 changes neither that nor a bit; a replay from
    nothing follows the journal; what is not there is refused with what is."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, challengers=CHALLENGERS)
    process = service.start()
    topic.publish(events(300))
    service.learned(300)
    main = service.predict(CLICK)[1]
    refused = service.command("promote", "nobody", "--config", str(service.config))
    promoted = service.json("promote", "deep")
    until(lambda: answered_by(service) == "deep", "the challenger answers")
    deep = service.predict(CLICK)[1]

    assert (1, True) == (refused.returncode, "there are: main, deep, quick" in refused.stderr)
    assert ("deep", "main") == (promoted["promoted"], promoted["was"])
    assert ("main", "deep") == (main["model"]["answered_by"], deep["model"]["answered_by"])
    assert main["predictions"] != deep["predictions"]
    pid = service.learner_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.learner_pid() != pid, "another learner")
    topic.publish(events(200, 1))
    service.learned(500)
    model = until(lambda: settled(service), "a version that stays")
    assert "deep" == model["answered_by"]
    until(  # looked at twice a second
        lambda: [500] * 3 == [one["events_learned"] for one in told(service).values()],
        "the status tells of all that each has learned",
    )
    assert ["main", "deep", "quick"] == list(told(service))
    shown = 'headwater_answering{model="deep",process="learner"}'
    until(lambda: service.metrics().get(shown) == 1.0, "who answers in /metrics")
    assert 0 == service.stop(process)
    made = service.json(
        "rebuild", "--version", str(model["version"]), "--from", "0",
        "--out", str(service.folder / "made"),
    )  # fmt: skip
    assert (model["digest"], True) == (made["digest"], made["verified"])


def answered_by(service: Service) -> str | None:
    """Return who answers; None where nobody does."""
    status, reply = service.predict(CLICK)
    return reply["model"]["answered_by"] if status == 200 else None


def told(service: Service) -> dict:
    """Return what the status says of each model."""
    found: dict = service.status()["challengers"]
    return found


def settled(service: Service) -> dict | None:
    """Return the model where all 500 events are in what is served."""
    model = service.model(digest=True)
    return model if model and model["events_learned"] == 500 else None
