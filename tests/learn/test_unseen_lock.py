"""A disk that does not say whose the state directory is: nothing is written, the API goes on."""

from __future__ import annotations

import errno

import pytest

from service.errors import Locked
from service.weights.lock import Unseen
from tests.learn.cuts import recipe, records
from tests.learn.desk import Desk


class Answers:
    """What the disk says of the lock, look by look; notes what the learner says meanwhile."""

    def __init__(self, desk: Desk, *errors: Exception) -> None:
        self.said: list[tuple[str, str | None, int]] = []
        self._desk, self._errors = desk, list(errors)
        desk.still_ours = self

    def __call__(self) -> None:
        status = self._desk.acts.status()
        self.said.append((status["state"], status["reason"], status["published_version"]))
        if self._errors:
            raise self._errors.pop(0)


def away() -> Unseen:
    return Unseen(errno.EIO, "the lock cannot be looked at: Input/output error", "LOCK")


@pytest.fixture
def desk(tmp_path):
    """A learner after one cut."""
    made = Desk(tmp_path, recipe())
    made.learn(records(10, 0))
    yield made
    made.still_ours = lambda: None
    made.close()


def test_a_cut_waits_halted_until_the_lock_can_be_seen(desk):
    """The version before is served meanwhile; then the cut is journaled once and learning goes on."""
    answers = Answers(desk, away())

    desk.learn(records(10, 10))

    before, halted = answers.said[:2]
    assert "halted" != before[0]
    assert ("halted", 1) == (halted[0], halted[2])
    assert "the lock cannot be looked at" in str(halted[1])
    assert [0, 1, 2] == [e["version"] for e in desk.entries()]
    assert 2 == desk.live_meta()["version"]
    assert "halted" != desk.acts.state


def test_an_idle_learner_says_so_too(desk):
    """And says nothing any more when the disk answers again."""
    Answers(desk, away())

    desk.acts.tick()
    assert "halted" == desk.acts.state
    desk.acts.tick()
    assert "halted" != desk.acts.state


def test_a_lock_that_is_lost_ends_the_learner_before_it_writes(desk):
    """Another learner may be at work there: nothing is journaled, and nothing published."""
    Answers(desk, Locked("LOCK was replaced"))

    with pytest.raises(Locked):
        desk.learn(records(10, 10))
    assert [0, 1] == [e["version"] for e in desk.entries()]
    assert 1 == desk.live_meta()["version"]
