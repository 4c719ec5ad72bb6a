"""One cut, its outcomes, and what it leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from service.learn.learner import Learner
from service.learn.standing import flat, nested, standing_of
from service.model.prequential import OUTCOMES
from service.model.state import State
from tests.learn.cuts import learner, recipe, record, records, take


def outcomes(of: Learner) -> dict[str, int]:
    """Return the counts that are not zero."""
    counts = of.state.outcomes.tolist()
    return {"/".join(filter(None, k)): n for k, n in zip(OUTCOMES, counts, strict=True) if n}


def test_every_event_of_a_cut_ends_in_exactly_one_outcome():
    """Good, tombstone, unlabelled, each kind of bad one, and one that is not finite."""
    of = learner(recipe(event={
        "features": {"x": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "number", "scale": "none"}},
    }))  # fmt: skip
    given = [
        record(0, {"x": 1, "y": 2}),
        record(1, None),
        record(2, {"x": 1}),
        record(3, b"{"),
        record(4, {"x": "one", "y": 1}),
        record(5, {"x": 1e29, "y": 1e29}),
        record(6, b'[{"x": 1, "y": 1}, {"x": 1, "y": []}]'),
    ]
    step = take(of, given)

    assert {
        "learned": 2, "filtered/tombstone": 1, "filtered/unlabelled": 1, "quarantined/not_finite": 1,
        "dead_lettered/bad_json": 1, "dead_lettered/wrong_type": 2,
    } == outcomes(of) == step.counts  # fmt: skip
    assert [3, 4, 6, 5] == [d.record.offset for d in step.dead]
    assert {("t", 0): 7} == of.standing.cursors
    assert 1 == of.standing.version
    assert {"t": 7} == of.standing.records


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_same_cuts_give_the_same_bits(kind):
    """Two learners, the same history: same image, same losses, same checksums."""
    one, other = learner(recipe(kind)), learner(recipe(kind))
    steps = [[take(of, records(50, first)) for first in (0, 50, 100)] for of in (one, other)]

    assert np.array_equal(one.state.image, other.state.image)
    assert [s.loss for s in steps[0]] == [s.loss for s in steps[1]]
    assert [s.keys for s in steps[0]] == [s.keys for s in steps[1]]


def test_another_record_gives_another_checksum():
    """Offsets and partitions are in it, and so is the order."""
    base = take(learner(), records(5)).keys

    assert base != take(learner(), records(5, 1)).keys
    assert base != take(learner(), records(5, 0, 1)).keys
    assert base != take(learner(), records(4)).keys


def test_held_out_events_are_scored_and_never_learned():
    """A share of the events, chosen by their id: the same ones wherever they stand."""
    of = learner(recipe(holdout=0.3))
    first = take(of, records(400)).counts
    again = take(learner(recipe(holdout=0.3)), records(400)[::-1]).counts

    assert 80 < first["held_out/hash"] < 160
    assert first == again
    assert 400 == of.report()["y"]["scored"]


def test_an_event_is_scored_by_weights_that_have_not_seen_it():
    """The first event of all is scored 0.5, whatever its label says."""
    assert 0.5 == take(learner(), records(30)).scores[0, 0]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_learner_resumed_from_its_parts_goes_on_as_if_it_had_not_stopped(kind):
    """Stopping after 2 cuts and resuming gives the very same state as not stopping."""
    straight, first = learner(recipe(kind)), learner(recipe(kind))
    for start in (0, 40):
        take(straight, records(40, start))
        take(first, records(40, start))
    state, _ = State.of(first.layout, first.state.parts())
    second = Learner(first.recipe, state, standing_of(first.meta()))
    take(straight, records(40, 80))
    take(second, records(40, 80))

    assert np.array_equal(straight.state.image, second.state.image)
    assert straight.standing == second.standing


def test_offsets_survive_json():
    """nested and flat are inverse."""
    offsets = {("a", 0): 5, ("a", 10): 7, ("b", 2): 0}

    assert offsets == flat(nested(offsets))
