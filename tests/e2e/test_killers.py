"""Events that kill the learner's process: found, set aside, and never touched again."""

from __future__ import annotations

import os

import pytest

from service.learn.suspect import Suspect, Suspects
from service.weights.journal import Journal
from tests.e2e.parties import Client
from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos

pytestmark = pytest.mark.e2e
CHAOS = bool(os.environ.get("HEADWATER_TEST_CHAOS"))  # noqa: TID251 - the suite's own name


LETHAL = {
    "model": {"kind": "tests.modules.bad:Killer"},
    "event": {
        "features": {"x": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "binary"}},
    },
}
"""A module that dies of an x of 666, and of one of 667 where it is not on trial."""


def killer(x: float) -> dict:
    """Return an event that is like the others but for its number."""
    return {"x": x, "c": "a", "y": 1}


def letters(topic: Topic) -> dict[tuple[str, int, int], tuple[str, bytes]]:
    """Return reason and value of each dead letter, by (topic, partition, offset)."""
    found = {}
    for letter in topic.read_all():
        said = {k.removeprefix("headwater-"): v.decode() for k, v in letter.headers()}
        place = (said["topic"], int(said["partition"]), int(said["offset"]))
        found[place] = (said["reason"], letter.value())
    return found


def halted_reason(service: Service) -> str | None:
    """Return why the learner is halted, None while it is not."""
    learner = (service.get("/v1/model")[1] or {}).get("learner") or {}
    return learner["reason"] if learner.get("state") == "halted" else None


def rebuilt_from_nothing(service: Service, version: int) -> dict:
    """Rebuild a version from version 0; return what the command prints."""
    return service.json(
        "rebuild", "--version", str(version), "--from", "0",
        "--out", str(service.folder / "rebuilt"),
    )  # fmt: skip


@chaos  # in one process: tests/learn/test_inquest.py
def test_events_that_kill_the_process_are_set_aside_on_the_third_death(
    make_service, embedded_bootstrap
):
    """Two side by side and a third close to them: all others are learned once, the API answers all
    the time, and a replay from nothing gives the same."""
    topic, dead = Topic(embedded_bootstrap, 2), Topic(embedded_bootstrap)
    service = make_service(
        topic, kafka={"dead_letter_topic": dead.name}, learning={"linger_ms": 1000}, **LETHAL
    )  # long enough for the three to be in one cut
    process = service.start()
    topic.publish(events(100))
    before = service.learned(100)
    client = Client(service)
    client.start()
    deadly = {topic.sent + at: killer(666.0) for at in (20, 21, 40)}
    stream = events(60, 1)
    for at in deadly:
        stream.insert(at - 100, deadly[at])
    topic.publish(stream)
    service.learned(160)
    until(lambda: sum(service.status()["outcomes"].values()) >= 163, "the end of the topic")
    client.stopped.set()
    client.join()

    outcomes = service.status()["outcomes"]
    assert {"learned": 160, "quarantined/kills_process": 3} == outcomes
    places = {(topic.name, at % 2, at // 2) for at in deadly}
    assert places == letters(dead).keys()
    assert {"kills_process"} == {reason for reason, _ in letters(dead).values()}
    assert [] == client.failed
    assert [] == client.conflicts
    assert {before["lineage"]} == {lineage for lineage, _ in client.versions}
    assert sorted(v for _, v in client.versions) == [v for _, v in client.versions]
    model = service.model(digest=True)
    assert 0 == service.stop(process)
    entries = Journal.reader(service.folder / "state" / "tested" / "journal").read(0)
    found = sum(entry["kind"] == "quarantine" for entry in entries)
    deaths = service.log().count("died_with_records_in_hand")
    # more than once only where a machine that stood still brought them in several cuts
    assert deaths == 3 if found == 1 else deaths >= 3 * found > 0
    rebuilt = rebuilt_from_nothing(service, model["version"])
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])


@chaos
def test_deaths_that_no_event_explains_halt_learning_and_name_the_range(
    make_service, embedded_bootstrap
):
    """An event that kills the learner and no trial of it: after the sixth death learning halts.

    Five of the six deaths are counted beforehand, for time's sake (make chaos has all six)."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, **LETHAL)
    topic.publish([*events(5), killer(667.0), *events(5, 1)])
    if not CHAOS:
        (state := service.folder / "state" / "tested").mkdir(parents=True)
        suspects = Suspects(state)
        suspects.take_up(Suspect("live", [(topic.name, 0, 0, 11)], 5))
        suspects.close()
    service.start()
    halted = until(lambda: halted_reason(service), "a halt")

    assert f"{topic.name}, partition 0, offsets 0 to 10" in halted
    assert "died 6 times" in halted
    assert (200, 0) == (service.predict(CLICK)[0], service.status()["events_learned"])
    assert "halted" == service.json("status")["state"]
