"""Turns of history in any order, with restarts and lost snapshots in between: what must always hold."""

from __future__ import annotations

import json
import random
import shutil
import threading
from pathlib import Path

import pytest

from service.errors import LayoutChanged, SnapshotInvalid
from service.learn.commands import Refused
from service.model.prequential import OUTCOMES
from service.stream.records import DataLoss, Record
from service.weights.digest import digest
from service.weights.snapshots import Keep
from tests.e2e.service import until
from tests.learn.cuts import EVENT, recipe, records
from tests.learn.desk import PLACE, Desk
from tests.learn.test_turns import CUT, bits, cut_journal, more

ORDERS = (
    *["learn"] * 5, "freeze", "unfreeze", "rollback", "skip_now", "skip_to", "restart",
    "guard_freezes", "guard_rolls_back", "snapshot", "pause", "settings",
)  # fmt: skip


class Machine:
    """One learner that is ordered about at random; `check` after each order."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.recipes = [recipe(), recipe(learning_rate=0.2)]
        self.folder = folder
        self.desk = Desk(folder, self.recipes[0], loss="act", window_events=50)
        self.bits: dict[tuple[str, int], dict[str, str]] = {}
        self.served: dict[str, int] = {}

    def step(self) -> None:
        """Give one order; one that is refused changes nothing."""
        order, version = self.rng.choice(ORDERS), self.desk.learner.standing.version
        low, high = sorted((self.rng.randint(0, version), self.rng.randint(0, version)))
        try:
            match order:
                case "learn":
                    self.desk.learn(self._next(self.rng.randint(1, 30)))
                case "rollback":
                    self.desk.order("rollback", to=high)
                case "skip_now":
                    self.desk.order("rollback", to=high, skip_to="now")
                case "skip_to":
                    self.desk.order("rollback", to=low, skip_to=high)
                case "pause":
                    self.desk.order("pause")
                    self.desk.order("resume")
                case "guard_freezes" | "guard_rolls_back":
                    self._guard(order)
                case "restart" | "settings":
                    self._restart(another=order == "settings")
                case "freeze" | "unfreeze" | "snapshot":
                    self.desk.order(order)
        except Refused:
            assert version == self.desk.learner.standing.version
        self.check()

    def check(self) -> None:
        """Every event once; a version has one set of bits; what is served never goes back."""
        standing = self.desk.learner.standing
        assert int(self.desk.learner.state.outcomes.sum()) == standing.cursors[PLACE]
        key, now = (standing.lineage, standing.version), bits(self.desk)
        assert now == self.bits.setdefault(key, now)
        meta = self.desk.live_meta() if self.desk.acts.status()["published_version"] else None
        if meta is not None:
            assert meta["version"] >= self.served.get(meta["lineage"], -1)
            self.served[meta["lineage"]] = meta["version"]

    def _guard(self, order: str) -> None:
        course = self.desk.acts.course
        if order == "guard_freezes" and self.desk.learner.standing.frozen is None:
            course.freeze(course.good, "guard", "at random")
            self.desk.acts.serve_turn()
        elif order == "guard_rolls_back" and course.good is not None:
            course.roll_back_by_guard(course.good, "at random")
            self.desk.acts.serve_turn()

    def _next(self, n: int) -> list[Record]:
        first = self.desk.learner.standing.cursors[PLACE]
        again = self.desk.topic[first : first + n]
        return again + [self._record(first + i) for i in range(len(again), n)]

    def _record(self, offset: int) -> Record:
        event = {"id": offset, "x": offset * 7 % 13 / 13, "c": f"c{offset % 9}", "y": offset % 2}
        value = b"bad" if offset % 17 == 3 else json.dumps(event).encode()
        return Record("t", 0, offset, 1000 + offset, None, value, None)

    def _restart(self, *, another: bool) -> None:
        if another:
            self.recipes.reverse()
        for entry in self.desk.snapshots.list():
            lost = self.rng.random() < 0.25 and entry.manifest is not None
            if lost and entry.manifest is not None and entry.manifest.version > 0:
                shutil.rmtree(self.folder / "snapshots" / entry.id)
        self.desk.close()
        settings = self.desk.settings.model_dump()
        self.desk = Desk(self.folder, self.recipes[0], self.desk.topic, **settings)
        self.desk.acts.tick()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_ordered_events_count_once_and_versions_keep_their_bits(tmp_path, seed):
    """Forty orders; in the end every version that ever stood is made again, bit for bit."""
    machine = Machine(tmp_path, seed)
    for _ in range(40):
        machine.step()

    assert machine.bits == {
        key: digest(machine.desk._reach(key[1], lambda *_: None).state.parts())
        for key in machine.bits
    }
    machine.desk.close()


@pytest.fixture
def desk(tmp_path):
    """A learner after five cuts."""
    made = Desk(tmp_path, recipe())
    more(made, 5)
    yield made
    made.close()


def test_numbers_that_the_journal_lost_do_not_bring_back_old_snapshots(desk):
    """The journal lost three entries whose snapshot is there. In the new lineage their numbers name
    other states, also after a kill: nothing is learned twice."""
    desk.acts.close()
    cut_journal(desk, entries=3)
    second = Desk(desk.folder, desk.recipe, desk.topic)
    for _ in range(3):
        first = second.learner.standing.cursors[PLACE]
        second.learn(second.topic[first : first + 5])
    lineage, now = second.learner.standing.lineage, bits(second)
    second.close()

    third = Desk(desk.folder, desk.recipe, desk.topic)

    assert (lineage, now) == (third.learner.standing.lineage, bits(third))
    assert third.learner.events_learned == third.learner.standing.cursors[PLACE]
    third.close()


@pytest.mark.parametrize("restart", [False, True])
def test_a_frozen_version_stays_within_reach_whatever_is_kept(desk, restart):
    """One snapshot is kept by policy, and others are written: the frozen one stays."""
    desk.snapshots._keep = Keep(1, 0, 0)
    frozen = desk.order("freeze")["frozen_version"]
    now = digest(desk._reach(frozen, lambda *_: None).state.parts())
    if restart:
        desk = desk.restart()
        desk.snapshots._keep = Keep(1, 0, 0)
    for _ in range(3):
        desk.order("pause")
        desk.order("snapshot")
        desk.order("resume")

    assert now == digest(desk._reach(frozen, lambda *_: None).state.parts())
    if restart:
        desk.close()


def test_a_snapshot_under_way_takes_nothing_from_a_rollback(desk):
    """It is of a version that is given up; what the rollback came from stays until it is saved."""
    desk.snapshots._keep = Keep(1, 0, 0)
    desk.order("snapshot")
    more(desk, 3)
    going, write = threading.Event(), desk.snapshots.write

    def slow(*given: object) -> object:
        going.wait(10)
        return write(*given)

    desk.snapshots.write = slow
    while not desk.saver.advance(desk.learner):
        pass
    threading.Timer(0.2, going.set).start()
    desk.order("rollback", to=5)
    now = bits(desk)

    again = desk.restart()

    assert now == bits(again)
    again.close()


def test_a_turn_that_could_not_be_saved_is_saved_later(desk, monkeypatch):
    """The disk is full at the freeze: nothing is removed until it could be written."""
    write, full = desk.snapshots.write, [True, True]

    def failing(*given: object) -> object:
        if full:
            full.pop()
            raise OSError(28, "no space left")
        return write(*given)

    monkeypatch.setattr(desk.snapshots, "write", failing)
    monkeypatch.setattr("service.learn.course._AGAIN_S", 0.0)
    desk.order("freeze")
    assert desk.saver.hold
    until(lambda: desk.acts.tick() or not desk.saver.hold, "it is saved while the loop goes on")

    assert 6 in {e.manifest.version for e in desk.snapshots.list() if e.manifest is not None}


def test_a_skip_takes_the_identity_of_the_topic_along(tmp_path, monkeypatch):
    """The topic was made anew after the version that is gone back to: it is not met again."""
    desk = Desk(tmp_path, recipe(), skip_lost=True)
    more(desk, 3)
    desk.order("snapshot")
    more(desk, 2)
    monkeypatch.setattr(desk.acts._t.losses._broker, "topic_id", lambda _: "another")
    desk.acts.lose(DataLoss("t", 0, "recreated", 100, 0, 0))
    desk.topic.clear()
    more(desk, 2)

    desk.order("rollback", to=3, skip_to="now")

    assert {"t": "another"} == desk.learner.standing.topic_ids
    assert 2 * CUT == desk.learner.standing.cursors[PLACE]
    desk.close()


def test_what_is_given_up_with_lost_records_keeps_its_decisions(desk):
    """Paused, rolled back; then the records are gone and are skipped: it is still paused."""
    desk.order("pause")
    desk.order("rollback", to=3)
    for entry in desk.snapshots.list():
        if entry.manifest is not None and entry.manifest.version > 0:
            shutil.rmtree(desk.folder / "snapshots" / entry.id)
    desk.topic.clear()
    desk.close()

    again = Desk(desk.folder, desk.recipe, desk.topic, skip_lost=True)

    assert again.learner.standing.paused
    assert again.learner.standing.frozen is None
    again.close()


def test_a_version_is_not_made_again_in_another_environment(desk):
    """Another library may give other bits under the old number: refused, not served."""
    with pytest.raises(SnapshotInvalid, match="another environment"):
        desk._reach(3, lambda *_: None, environment={"library": "another"})


def test_a_freeze_of_the_guard_does_not_end_with_a_new_layout(tmp_path):
    """What the guard suspects would be served: the start is refused, with the ways out."""
    desk = Desk(tmp_path, recipe())
    more(desk, 3)
    desk.acts.course.freeze(None, "guard", "a test")
    desk.acts.serve_turn()
    desk.close()
    wider = EVENT | {"features": EVENT["features"] | {"z": {"type": "number"}}}

    with pytest.raises(LayoutChanged, match="frozen by the guard"):
        Desk(tmp_path, recipe(event=wider), desk.topic)


def test_a_frozen_version_that_is_lost_halts_with_the_ways_out(desk):
    """Nobody can serve it, and the guard can try nothing against it: an operator decides."""
    desk.order("freeze")
    desk.close()
    again = Desk(desk.folder, desk.recipe, desk.topic, frozen_lost=True)

    assert "halted" == again.acts.state
    with pytest.raises(Refused, match="unfreeze or roll back first"):
        again.order("resume")
    again.order("unfreeze")
    assert again.acts.may_learn
    again.close()


def test_outcomes_are_named_once():
    """Places in the counts are found by name."""
    assert len(set(OUTCOMES)) == len(OUTCOMES)
    assert records(1)
