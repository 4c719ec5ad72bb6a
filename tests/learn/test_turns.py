"""Freeze, unfreeze, roll back: what they do to history, and that a restart or a replay repeats it."""

from __future__ import annotations

import json
import shutil
import time

import pytest
import torch

from service.learn.commands import Refused
from service.serve.learner_door import STATUS_KEYS
from service.stream.records import Record
from service.weights.digest import digest
from tests.learn.cuts import recipe, records
from tests.learn.desk import PLACE, Desk

CUT = 20


@pytest.fixture
def desk(tmp_path):
    """A learner after ten cuts."""
    made = Desk(tmp_path, recipe())
    more(made, 10)
    yield made
    made.close()


def more(desk: Desk, cuts: int) -> None:
    """Learn so many cuts more."""
    for _ in range(cuts):
        first = desk.learner.standing.cursors[PLACE]
        desk.learn(records(CUT, first))


def bits(desk: Desk) -> dict[str, str]:
    """Return the digest of what is learned."""
    return digest(desk.learner.state.parts())


def digest_at(desk: Desk, version: int) -> dict[str, str]:
    """Return the digest of a version, made again from the journal."""
    return digest(desk._reach(version, lambda *_: None).state.parts())


def test_a_rollback_makes_a_new_version_with_the_old_bits(desk):
    """Ten to four makes eleven, with four's digest; the events between are learned again."""
    four = digest_at(desk, 4)

    reply = desk.order("rollback", to=4)

    assert (11, 4, 0) == (reply["version"], reply["rolled_back_to"], reply["skipped"])
    assert four == bits(desk)
    assert 4 * CUT == desk.learner.standing.cursors[PLACE]
    assert 11 == desk.live_meta()["version"]


@pytest.mark.parametrize("turn", [{"command": "rollback", "to": 4}, {"command": "freeze"}])
def test_an_answer_names_the_version_of_the_turn_whatever_was_learned_since(desk, turn):
    """It goes out when the turn is on disk, and learning goes on meanwhile. Who keeps the audit log
    is told the same version."""
    later = desk.orders.obey({**turn, "by": "test"})
    turned, events = desk.learner.standing.version, desk.learner.events_learned
    more(desk, 3)
    deadline = time.monotonic() + 60.0
    while (reply := later.ready()) is None:
        assert time.monotonic() < deadline
        desk.acts.tick()

    assert turned + 3 == desk.learner.standing.version
    assert (turned, events) == (reply["version"], reply["events_learned"])
    assert reply["snapshot"]["version"] is not None
    assert [(turned, desk.learner.standing.lineage)] == desk.made


@pytest.mark.parametrize("order", [{"command": "rollback", "to": 4}, {"command": "freeze"}])
def test_what_is_served_after_a_turn_has_every_bit_of_its_state(tmp_path, order):
    """The memory of replay too: it is large, and so it is told apart what of it changed."""
    made = Desk(tmp_path, recipe(replay={"memory": 200}, step_rows=8))
    more(made, 10)
    made.order(**order)
    served = made.acts.course.served
    assert served is not None
    assert served.state.image.tobytes() == made.live_image()

    if order["command"] == "freeze":
        more(made, 2)
        made.order("unfreeze")
    more(made, 1)

    assert made.learner.state.image.tobytes() == made.live_image()
    made.close()


def test_a_rollback_with_skip_leaves_out_what_was_given_up(desk):
    """Cursors stay, and every event between is counted as skipped."""
    four = digest_at(desk, 4)

    reply = desk.order("rollback", to=4, skip_to="now")

    assert (12, 6 * CUT) == (reply["version"], reply["skipped"])
    assert four["weights"] == bits(desk)["weights"]
    assert 10 * CUT == desk.learner.standing.cursors[PLACE]
    assert {"learned": 4 * CUT, "skipped/rollback": 6 * CUT} == reply["outcomes"]
    assert 10 * CUT == reply["records"]["t"]


def test_a_rollback_may_skip_to_a_version(desk):
    """Only what lies between the two versions is left out; what came after is learned again."""
    reply = desk.order("rollback", to=4, skip_to=7)

    assert 3 * CUT == reply["skipped"]
    assert 7 * CUT == desk.learner.standing.cursors[PLACE]


def test_dead_letters_in_a_skipped_range_stay_dead_letters(tmp_path):
    """They did end there; only what was learned is taken back."""
    desk = Desk(tmp_path, recipe())
    more(desk, 2)
    first = desk.topic[-1].offset + 1
    bad = [Record("t", 0, first, 1, None, b"not json", None)]
    desk.learn(bad + records(CUT, first + 1))

    reply = desk.order("rollback", to=2, skip_to="now")

    assert {
        "learned": 2 * CUT, "skipped/rollback": CUT, "dead_lettered/bad_json": 1,
    } == reply["outcomes"]  # fmt: skip
    desk.close()


def test_history_after_turns_is_repeated_bit_for_bit(desk):
    """Whatever was frozen, rolled back and skipped: each version can be made again from nothing."""
    seen = {}
    for command in ("freeze", "unfreeze", "freeze"):
        desk.order(command)
        more(desk, 2)
        seen[desk.learner.standing.version] = bits(desk)
    desk.order("rollback", to=desk.learner.standing.version - 3, skip_to="now")
    more(desk, 3)
    seen[desk.learner.standing.version] = bits(desk)
    desk.order("rollback", to=6)
    seen[desk.learner.standing.version] = bits(desk)
    more(desk, 1)
    seen[desk.learner.standing.version] = bits(desk)

    assert {version: digest_at(desk, version) for version in seen} == seen


def test_offsets_that_nobody_read_are_told_and_counted_once_the_rollback_is_done(desk, monkeypatch):
    """To the end of the topic: what was never read has no events, but offsets."""
    desk.broker.create_topic("t", 1)
    for _ in range(10 * CUT + 7):
        desk.broker.append(PLACE, b"")

    def counted() -> float:
        return desk.metrics.counter("headwater_skipped_offsets_total").get("rollback")

    def refuse(*_):
        raise Refused("no")

    with monkeypatch.context() as refusing:
        refusing.setattr(desk.acts.course, "roll_back", refuse)
        with pytest.raises(Refused):
            desk.order("rollback", to=4, skip_to="latest")
    before = counted()
    now = desk.order("rollback", to=9, skip_to="now")
    latest = desk.order("rollback", to=4, skip_to="latest")

    assert (0.0, 0, 7, 7.0) == (
        before, now["skipped_offsets"], latest["skipped_offsets"], counted(),
    )  # fmt: skip
    assert 10 * CUT + 7 == desk.learner.standing.cursors[PLACE]


def test_a_frozen_version_is_served_while_the_shadow_learns(desk):
    """The reply's version names those very weights; learning goes on under later numbers."""
    before = bits(desk)

    reply = desk.order("freeze")
    image = desk.live_image()
    more(desk, 5)

    frozen = reply["frozen_version"]
    assert ("frozen", 11) == (reply["state"], frozen)
    assert frozen == desk.live_meta()["version"]
    assert image == desk.live_image()
    assert before == digest_at(desk, frozen)
    assert 17 == desk.learner.standing.version
    assert bits(desk) != before


def test_a_status_has_no_key_that_one_of_a_learner_that_is_down_lacks(desk):
    """Who reads it by key needs no two programs; frozen or not."""
    plain = desk.acts.status().keys()
    frozen = desk.order("freeze")

    assert plain == frozen.keys()
    assert plain <= STATUS_KEYS


def test_a_restart_goes_on_frozen(desk):
    """The same version with the same bits answers, and the shadow stands where it stood."""
    desk.order("freeze")
    more(desk, 5)
    image, shadow = desk.live_image(), bits(desk)

    again = desk.restart()
    again.acts.tick()

    assert 11 == again.live_meta()["version"]
    assert image == again.live_image()
    assert shadow == bits(again)
    assert "frozen" == again.acts.state
    again.order("unfreeze")
    assert again.learner.standing.version == again.live_meta()["version"]
    again.close()


def test_a_freeze_cut_off_in_the_middle_is_a_freeze_of_what_is_served(desk):
    """The process died after `freeze` and before `shadow`: learning goes on from what is served."""
    desk.order("freeze")
    _drop_last_entry(desk)

    again = desk.restart()
    again.acts.tick()

    assert ("frozen", 11, 11) == (
        again.acts.state, again.live_meta()["version"], again.learner.standing.version,
    )  # fmt: skip
    more(again, 1)
    assert 11 == again.live_meta()["version"]
    again.close()


def test_a_rollback_cut_off_in_the_middle_is_finished(desk):
    """The process died after `rollback` and before its `skip`: the skip is done at the start."""
    desk.order("rollback", to=4, skip_to="now")
    whole = bits(desk)
    _drop_last_entry(desk)

    again = desk.restart()

    assert ["rollback", "skip"] == again.kinds()[-2:]
    assert whole == bits(again)
    assert 10 * CUT == again.learner.standing.cursors[PLACE]
    again.close()


def test_orders_that_make_no_sense_are_refused_and_change_nothing(desk):
    """Each with a reason."""
    version = desk.learner.standing.version
    for command, rest, why in (
        ("unfreeze", {}, "nothing is frozen"),
        ("rollback", {"to": 99}, "not in the journal"),
        ("rollback", {"to": "4"}, "not the number"),
        ("rollback", {"to": True}, "not the number"),
        ("rollback", {"to": 4, "skip_to": 2}, "lies before"),
        ("rollback", {"to": 4, "skip_to": "yesterday"}, "not the number"),
        ("dance", {}, "there is no command"),
    ):
        with pytest.raises(Refused, match=why):
            desk.order(command, **rest)
    desk.order("freeze")
    with pytest.raises(Refused, match="unfreeze first"):
        desk.order("freeze")
    assert version + 2 == desk.learner.standing.version


def test_a_rollback_keeps_what_the_operator_decided(desk):
    """Paused before, paused after: weights go back, decisions do not."""
    desk.order("pause")
    desk.order("rollback", to=4)

    assert ("paused", True) == (desk.acts.state, desk.learner.standing.paused)
    desk.order("resume")
    assert desk.acts.may_learn


def test_too_many_rollbacks_halt_learning_with_the_last_good_weights_served(tmp_path):
    """The fourth within the limit is the last; what is served is good, and it is said why."""
    desk = Desk(tmp_path, recipe(), loss="act", most_rollbacks=3)
    more(desk, 5)
    good = bits(desk)["weights"]
    said = []
    for _ in range(4):
        target = desk.learner.copy()
        more(desk, 1)
        said.append(desk.acts.course.roll_back_by_guard(target, "a test"))
    assert [None, None, None] == said[:3]
    assert said[3] is not None
    desk.acts.halt(said[3])

    assert "halted" == desk.acts.state
    assert "4 times" in desk.acts.status()["reason"]
    assert good == bits(desk)["weights"]
    again = desk.restart()
    assert "halted" == again.acts.state
    assert 4 == len(again.learner.standing.rollbacks)
    again.close()


def test_weights_that_are_not_finite_are_never_served(desk):
    """Learning halts with the version named; the last finite version goes on answering."""
    served = desk.live_meta()["version"]
    desk.learner.state.theta[3] = float("inf")
    desk.learner.state.touched[0] = 1
    more(desk, 1)

    assert served == desk.live_meta()["version"]
    assert "halted" == desk.acts.state
    assert "not finite" in desk.acts.status()["reason"]
    desk.order("rollback", to=5)
    desk.order("resume")
    more(desk, 1)
    assert desk.learner.standing.version == desk.live_meta()["version"]


def test_weights_too_large_for_any_score_are_never_served(tmp_path):
    """Each is finite, but a sum of them is not: no client is told that its event is at fault."""
    made = Desk(tmp_path, recipe("mlp"))
    more(made, 2)
    served = made.live_meta()["version"]
    state = made.learner.state
    state.parts()["weights"]["hidden/bias"][:] = 3e38
    state.parts()["weights"]["head/y/weight"][:] = torch.tensor([3e38, -3e38] * 4).reshape(1, 8)
    state.touch_all()
    assert state.is_finite()
    more(made, 1)

    assert served == made.live_meta()["version"]
    assert "halted" == made.acts.state
    assert "the scores of version" in str(made.acts.why_halted)
    made.close()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_one_absurd_label_moves_the_weights_no_further_than_the_cap(tmp_path, kind, optimizer):
    """1e12 among values near 10: with the cap the model predicts nearly as before; without, not."""
    event = {
        "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 16}},
        "targets": {"v": {"type": "number"}},
    }

    def after(cap: float | None, label: float) -> float:
        of = recipe(kind, event, optimizer=optimizer, learning_rate=0.01, cap=cap)
        desk = Desk(tmp_path / f"{cap}-{label}", of)
        for first in range(0, 4000, CUT):
            desk.learn([_valued(first + i, 10.0 + i % 3) for i in range(CUT)])
        desk.learn([_valued(4000, label)])
        for first in range(4001, 4201, CUT):
            desk.learn([_valued(first + i, 10.0 + i % 3) for i in range(CUT)])
        probe = [_valued(0, 10.0)]
        desk.close()
        return float(desk.learner.score(desk.learner.decode(probe).columns)[0, 0])

    plain, capped, uncapped = after(32.0, 10.0), after(32.0, 1e12), after(None, 1e12)

    assert abs(capped - plain) < 2.0
    assert abs(capped - plain) < abs(uncapped - plain) or optimizer != "sgd"


def _valued(offset: int, value: float) -> Record:
    event = {"x": (offset * 7 % 13) / 13.0, "c": f"c{offset % 5}", "v": value}
    return Record("t", 0, offset, 1_000 + offset, None, json.dumps(event).encode(), None)


def cut_journal(desk: Desk, entries: int) -> None:
    """Close the journal and cut off its last entries, as if they had never been written."""
    desk.close()
    known = sorted((desk.folder / "journal").glob("*.hwj"))
    while not known[-1].stat().st_size:  # a segment just begun
        known.pop().unlink()
    whole, at = known[-1].read_bytes(), 0
    starts = []
    while at < len(whole):
        starts.append(at)
        at += 8 + int.from_bytes(whole[at : at + 4], "little")
    known[-1].write_bytes(whole[: starts[-entries]])


def _drop_last_entry(desk: Desk) -> None:
    """Cut journal and snapshots as a crash before the last entry would have left them."""
    last_version = desk.learner.standing.version
    for entry in desk.snapshots.list():
        if entry.manifest is not None and entry.manifest.version >= last_version:
            shutil.rmtree(desk.folder / "snapshots" / entry.id)
    cut_journal(desk, 1)
