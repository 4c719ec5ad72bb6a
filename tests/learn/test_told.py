"""Nobody is told what a crash would take back: at every point where one could happen."""

from __future__ import annotations

from typing import Any

import pytest

from service import crash
from service.errors import BrokerAway
from service.weights.live_reader import LiveReader
from tests.learn.cuts import recipe, record, records
from tests.learn.desk import Desk


@pytest.fixture
def desk(tmp_path):
    """A learner after two cuts."""
    made = Desk(tmp_path, recipe())
    made.learn(records(10, 0))
    made.learn(records(10, 10))
    yield made
    made.close()


class Watcher:
    """Asks at every crash point what the learner says of itself, by all ways."""

    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch) -> None:
        self.points: set[str] = set()
        self.lies: list[tuple[str, str, Any]] = []
        self._desk = desk
        self._true: dict[int, tuple[int, int]] = {}
        self._reader = LiveReader(desk.folder / "run")
        patch.setattr(crash, "point", self)

    def __call__(self, name: str, *_: object) -> None:
        self.points.add(name)
        desk, journaled = self._desk, self._desk.journal.last_version
        status = desk.acts.status()
        beat = self._reader.heartbeat() or {}
        told = {
            "status": status["version"], "published": status["published_version"] or 0,
            "heartbeat": beat.get("version", 0),
            "metrics": desk.metrics.gauge("headwater_version").get() or 0,
        }  # fmt: skip
        self.lies += [(name, how, v) for how, v in told.items() if v > journaled]
        version, of = status["version"], (status["events_learned"], status["trained_through"])
        if self._true.setdefault(version, of) != of:
            self.lies.append((name, "another state of the same version", of))
        if sum(status["outcomes"].values()) != status["trained_through"]["t"]["0"]:
            self.lies.append((name, "counts and offsets apart", status))

    def close(self) -> None:
        self._reader.close()


def test_status_heartbeat_and_metrics_speak_of_what_is_journaled(desk, monkeypatch):
    """While it learns, waits for dead letters, freezes, rolls back and pauses."""
    watcher = Watcher(desk, monkeypatch)

    def slow(dead, standing, beat) -> None:
        beat("halted", "no dead-letter topic")
        crash.point("waiting for dead letters")

    monkeypatch.setattr(desk.letters, "bury", slow)
    for first in (20, 30):
        desk.acts.tick()
        desk.learn([*records(9, first), record(first + 9, b"not json")])
    desk.order("freeze")
    desk.learn(records(10, 40))
    desk.order("unfreeze")
    desk.order("rollback", to=3, skip_to="now")
    desk.order("pause")
    desk.order("snapshot")
    watcher.close()

    assert [] == watcher.lies
    assert {
        "mid_forward", "after_step_before_cursor", "after_cursor", "journal_before_append",
        "journal_after_append", "journaled_before_publish", "waiting for dead letters",
        "freeze_before_shadow", "rollback_before_skip", "rollback_before_pointer_flip",
    } <= watcher.points  # fmt: skip


def test_a_cut_that_is_given_up_was_never_told(desk, monkeypatch):
    """Its dead letters could not be stored and the process ends."""

    def away(dead, standing, beat) -> None:
        raise BrokerAway("stopped")

    monkeypatch.setattr(desk.letters, "bury", away)
    with pytest.raises(BrokerAway):
        desk.learn([*records(9, 20), record(29, b"not json")])

    assert 3 == desk.learner.standing.version
    status = desk.acts.status()
    assert (2, 20, 20) == (
        status["version"], status["events_learned"], status["trained_through"]["t"]["0"],
    )  # fmt: skip
