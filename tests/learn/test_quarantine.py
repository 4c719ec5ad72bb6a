"""Records set aside because they killed the process: never decoded, counted once, by replays too."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from service.learn.history import Replayed, kept, redo, restore_kept
from service.learn.standing import standing_of
from service.model.prequential import OUTCOMES
from tests.learn.cuts import learner, record, records, take

PLACES = [["t", 0, 3], ["t", 0, 7]]
ENTRY = {"version": 1, "kind": "quarantine", "places": PLACES, "reason": "kills_process"}


def outcomes(of) -> dict[str, int]:
    """Return what was counted."""
    counts = of.state.outcomes.tolist()
    return {"/".join(filter(None, k)): n for k, n in zip(OUTCOMES, counts, strict=True) if n}


def nothing(_: object) -> list:
    """Read no record."""
    return []


def test_a_record_set_aside_is_a_dead_letter_and_its_neighbours_are_learned():
    """Its value is not looked at: one that could not even be decoded is set aside as well."""
    of = redo(learner(), ENTRY, nothing, Replayed())
    given_ = records(10)
    given_[7] = record(7, b"\x00 not JSON")

    step = take(of, given_)

    assert {"learned": 8, "quarantined/kills_process": 2} == outcomes(of) == step.counts
    assert [(3, "kills_process"), (7, "kills_process")] == [
        (d.record.offset, d.reason) for d in step.dead
    ]
    assert given_[3].value == step.dead[0].record.value


@given(aside=st.sets(st.integers(0, 11)), bad=st.sets(st.integers(0, 11)))
def test_the_others_give_the_weights_that_they_give_alone(aside, bad):
    """Bit for bit, with tombstones, bad events and records set aside in any mixture."""
    given_ = [record(r.offset, None) if r.offset in bad else r for r in records(12)]
    of, alone = learner(), learner()
    of.standing.quarantined = {("t", 0, at) for at in aside}

    step = take(of, given_)
    take(alone, [r for r in given_ if r.offset not in aside])

    assert (of.state.theta == alone.state.theta).all()
    assert len(aside) == step.counts.get("quarantined/kills_process", 0)
    assert len(bad - aside) == step.counts.get("filtered/tombstone", 0)
    assert 12 == sum(step.counts.values())


def test_a_snapshot_remembers_what_was_set_aside():
    """Its meta is plain JSON."""
    of = redo(learner(), ENTRY, nothing, Replayed())

    again = standing_of(json.loads(json.dumps(of.meta())))

    assert {("t", 0, 3), ("t", 0, 7)} == again.quarantined
    assert of.standing == again


def test_places_behind_the_cursors_cost_nothing_and_stay_known():
    """A rollback may lead before them again."""
    of = redo(learner(), ENTRY, nothing, Replayed())
    take(of, records(10))

    assert {"learned": 10} == take(of, records(10, 10)).counts
    assert 2 == len(of.standing.quarantined)


def test_what_was_set_aside_stays_aside_when_the_weights_go_back():
    """A rollback or a freeze to a version before it does not bring the killer back."""
    of, back = redo(learner(), ENTRY, nothing, Replayed()), learner()

    restore_kept(back.standing, json.loads(json.dumps(kept(of.standing))))

    assert {("t", 0, 3), ("t", 0, 7)} == back.standing.quarantined


def test_a_copy_of_a_learner_goes_its_own_way():
    """What one sets aside, the other still learns."""
    of = learner()
    other = of.copy()

    redo(other, ENTRY, nothing, Replayed())

    assert (set(), 2) == (of.standing.quarantined, len(other.standing.quarantined))


def test_a_topic_made_anew_has_other_records_at_these_offsets():
    """What was set aside there is forgotten."""
    of = redo(learner(), ENTRY, nothing, Replayed())
    entry = {"version": 2, "kind": "skip", "topic": "t", "partition": 0, "start": 5, "to": 0,
             "reason": "recreated", "topic_ids": {"t": "new"}}  # fmt: skip

    of = redo(of, entry, nothing, Replayed())

    assert set() == of.standing.quarantined
