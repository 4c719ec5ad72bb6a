"""Freeze, kill, unfreeze, roll back: through real processes, as an operator does it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events

pytestmark = pytest.mark.e2e


def test_what_an_operator_turns_is_served_survives_a_kill_and_can_be_made_again(
    make_service, embedded_bootstrap
):
    """Frozen: the same version answers while learning goes on, over a kill -9. Rolled back: the old
    weights answer under a new version, and what was given up is counted. Then all of it from 0."""
    topic = Topic(embedded_bootstrap, 2)
    service = make_service(topic, snapshots={"every_seconds": 1})
    process = service.start()
    topic.publish(events(300))
    service.learned(300)
    before = service.model(digest=True)

    frozen = service.json("freeze")["frozen_version"]
    until(lambda: (m := service.model()) and m["version"] == frozen, "the frozen version answers")
    assert before["digest"] == service.model(digest=True)["digest"]
    topic.publish(events(300, 1))
    until(lambda: service.status()["events_learned"] == 600, "the shadow learns")
    pid = service.learner_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.learner_pid() != pid, "another learner")
    service.state_is("frozen")
    status, reply = service.predict(CLICK)
    assert (200, frozen, True) == (status, reply["model"]["version"], reply["model"]["stale"])
    assert before["digest"] == service.model(digest=True)["digest"]
    # the status may have spoken of a cut that was not journaled when the process died
    until(lambda: service.status()["events_learned"] == 600, "it is learned again")

    service.json("unfreeze")
    after = service.learned(600)
    assert after["version"] > frozen
    back = service.json("rollback", "--to", str(frozen), "--skip-to", "now")
    assert (frozen, 300) == (back["rolled_back_to"], back["skipped"])
    until(
        lambda: (m := service.model()) and m["version"] == back["version"], "the old weights answer"
    )
    topic.publish(events(100, 2))
    final = until(
        lambda: (m := service.model(digest=True)) and m["events_learned"] == 400 and m, "go on"
    )
    assert {"learned": 400, "skipped/rollback": 300} == service.status()["outcomes"]
    assert before["lineage"] == final["lineage"]
    assert topic.ends() == final["trained_through"][topic.name]
    assert 0 == service.stop(process)

    for version, digest in ((frozen, before["digest"]), (final["version"], final["digest"])):
        made = service.json(
            "rebuild", "--version", str(version), "--from", "0",
            "--out", str(service.folder / f"made-{version}"),
        )  # fmt: skip
        assert (digest, True) == (made["digest"], made["verified"])


def test_a_stream_with_labels_turned_round_is_kept_from_clients(make_service, embedded_bootstrap):
    """The guard acts in a real process: freezes, and rolls back when the labels are right again."""
    topic = Topic(embedded_bootstrap, 1)
    service = make_service(
        topic,
        guard={"loss": "act", "adopt_seconds": 3600},
        learning={"linger_ms": 10, "batch_rows": 64},
    )
    process = service.start()
    good = [{**e, "y": int(e["x"] > 0)} for e in events(6000, 3)]
    topic.publish(good)
    service.learned(6000)
    told = service.predict({"x": 1.5, "c": "c1"})[1]["predictions"][0]["y"]
    assert told > 0.9

    topic.publish([{**e, "y": int(e["x"] <= 0)} for e in events(3000, 4)])
    frozen = service.state_is("frozen")
    assert "by the guard" in frozen["reason"]
    # what the client has not heard of yet is no lag: events are counted
    until(
        lambda: sum(service.status()["outcomes"].values()) == 9000,
        "the shadow has learned the lies",
    )
    assert service.predict({"x": 1.5, "c": "c1"})[1]["predictions"][0]["y"] > 0.8

    topic.publish([{**e, "y": int(e["x"] > 0)} for e in events(3000, 5)])
    service.state_is("idle", "learning")
    outcomes = until(
        lambda: sum((o := service.status()["outcomes"]).values()) >= 12_000 and o, "the end"
    )
    assert 12_000 == sum(outcomes.values())
    assert outcomes["skipped/rollback"] >= 2500
    assert service.predict({"x": 1.5, "c": "c1"})[1]["predictions"][0]["y"] > 0.8
    name = 'headwater_rollbacks_total{by="guard",process="learner"}'
    until(lambda: service.metrics().get(name) == 1.0, "one rollback counted")
    assert 0 == service.stop(process)
