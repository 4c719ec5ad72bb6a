"""Labels, inputs and experts that go wild, and a mixture that goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.learn.leaderboard import leaderboard
from service.model.experts import restarts
from service.model.experts.cross import Cross
from service.model.experts.ensemble import Ensemble
from service.model.experts.inputs_pass import SAMPLE, SPANS
from service.model.experts.inputs_pass import numbers as write_numbers
from service.model.experts.seam import Held
from service.model.experts.words import Words
from service.model.recipe import Recipe
from tests.learn import cuts
from tests.model.experts.rows import FEATURES, Seen, held, labels, predictions, rows


def of_number(kind: str, target: dict[str, Any] | None = None) -> Recipe:
    """Return a recipe with one field and a number to learn."""
    target = {"type": "number", **(target or {})}
    features = {"x": {"type": "number"}}
    return cuts.recipe(kind, {"id": "id", "features": features, "targets": {"y": target}})


def told(kind: str, y, target: dict[str, Any] | None = None, size: int = 100):
    """Return a learner and its scores [N] after these labels."""
    one, scores = cuts.learner(of_number(kind, target)), []
    for at in range(0, len(y), size):
        given = [
            cuts.record(at + i, {"x": label + 1.0, "y": label})
            for i, label in enumerate(np.asarray(y[at : at + size], float).tolist())
        ]
        scores.append(cuts.take(one, given).scores[:, 0])
    return one, np.concatenate(scores)


def drawn(n: int, seed: int = 0):
    """Return n labels about 0."""
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(
    "first", [[0.3, 0.1 + 0.2, 0.3], [0.0] * 5 + [1e-9], [1e-30, 2e-30], [0.0, 1e-160]]
)
@pytest.mark.parametrize("kind", ["nets", "prior"])
def test_first_labels_that_hardly_differ_spoil_nothing(kind, first):
    one, scores = told(kind, [*first, *(1000.0 + 300.0 * drawn(300))])

    assert np.isfinite(scores).all()
    assert one.unfit() is None
    assert np.abs(scores[-100:] - 1000.0).max() < 1000.0


def test_where_the_unit_changes_by_far_all_experts_start_anew_and_are_counted():
    one, _ = told("prior", [0.3, 0.1 + 0.2, 0.3, *(1000.0 + drawn(60))])

    assert {m["restarts"] for m in leaderboard(one)} == {1}


def test_experts_go_on_where_the_unit_changes_little():
    one, _ = told("prior", [*drawn(100), *(100.0 * drawn(100))])

    assert {m["restarts"] for m in leaderboard(one)} == {0}


def ensemble(kind: str):
    """Return all that learns one target with two experts, what it sees and its tensors."""
    seen = Seen(kind)
    one = Ensemble(seen.shared, seen.schema.targets[0], ("prior", "cross"), 7)
    return one, seen, [held(holder.tensors) for holder in one.holders]


def learn(one, memory, rows, into):
    """Take rows through all stages of an ensemble."""
    turn = one.begin(memory, rows, 0)
    for work in one.works(turn):
        work.work()
    one.settle(turn)
    one.end(turn, into)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "number"])
def test_an_expert_that_predicts_no_number_starts_anew_and_the_others_speak(kind):
    one, seen, memory = ensemble(kind)
    given = rows(seen, 300)
    y, into = labels(seen, given), np.empty((300, seen.task.outputs))
    learn(one, memory, seen.inputs(given.part(0, 200), y[:200]), into[:200])
    memory[1].at["means"][0] = np.nan
    memory[2].at["dense"][:] = np.inf if kind == "number" else 0.0
    scored = np.empty((20, seen.task.outputs))
    part = seen.inputs(rows(seen, 20, seed=5), np.full(20, np.nan), np.zeros(20))
    one.score(memory, part, 0, scored)
    learn(one, memory, seen.inputs(given.part(200, 300), y[200:]), into[200:])

    assert np.isfinite(scored).all()
    assert np.isfinite(into).all()
    assert memory[one.own].at["restarts"].tolist() == [1, int(kind == "number")]
    assert all(np.isfinite(array).all() for each in memory for array in each.at.values())
    learn(one, memory, seen.inputs(given.part(0, 200), y[:200]), into[:200])
    assert memory[one.own].at["restarts"].tolist() == [1, int(kind == "number")]


def test_a_member_without_a_prediction_says_what_the_others_say():
    p = np.array([[[0.2], [np.nan], [0.6]], [[0.2], [0.4], [0.6]], [[np.nan]] * 3], np.float32)
    none = restarts.Restarts((), 0.5)

    none.mend(p, np.array([0.75, 0.0, 0.25]))

    np.testing.assert_allclose(p[..., 0], [[0.2, 0.3, 0.6], [0.2, 0.4, 0.6], [0.5] * 3], rtol=1e-6)
    assert restarts.sound(p)


def test_a_number_out_of_all_reach_is_brought_into_it():
    p = np.array([[[1e30], [-1e30], [3.0]]], np.float32)
    assert not restarts.sound(p)

    restarts.Restarts((), 0.0).mend(p, np.ones(3))

    assert p[..., 0].tolist() == [[1e4, -1e4, 3.0]]


def test_one_wild_label_is_forgotten():
    y = drawn(1200)
    usual = np.abs(told("nets", y)[1] - y)[700:].mean()
    wild = y.copy()
    wild[600] = 1e14
    one, scores = told("nets", wild)

    assert one.unfit() is None
    assert np.abs(scores - y)[700:].mean() < 2.0 * usual + 0.1


def inputs_of(x):
    """Return the inputs of numbers [N, 1], in order: deviation, missing, context; and the sorted
    sample."""
    n = len(x)
    stats, at = np.zeros((1, 3 + len(SPANS))), np.array([0, 1, 2, 2 + len(SPANS)])
    recent, ordered = np.zeros((2, 1, SAMPLE))
    into, ranks = np.empty((n, 16), np.float32), np.empty((n, 1), np.float32)
    sizes = np.zeros((1, 2), np.int64)
    write_numbers(x, np.ones(n, np.uint8), stats, recent, ordered, sizes, into, ranks, at)
    return into, ordered


def test_one_wild_number_does_not_hide_the_others():
    x = drawn(2500)[:, None]
    x[400] = 1e30

    into, ordered = inputs_of(x)

    z, rest = into[1500:, 0], x[1500:, 0]
    assert 0.6 < np.cov(z, rest)[0, 1] / rest.var() < 1.1
    assert abs(into[1500:, 2 + 2].mean()) < 0.3  # less its average over 64 rows
    assert ordered.max() == 1e30  # ranks know it as it is


def test_numbers_that_all_change_are_followed_at_once():
    x = drawn(2500)[:, None]
    x[2000:] *= 1e6

    into, _ = inputs_of(x)

    assert 0.2 < np.abs(into[2010:, 0]).mean() < 3.0


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_target_that_is_not_scaled_is_learned_in_any_unit(scale, offset):
    y = scale * (drawn(300) + offset)
    _, scores = told("prior", y, {"scale": "none"})

    assert np.abs(scores - y)[20:].mean() < 1.5 * scale


def test_where_most_labels_are_the_same_the_median_is_told():
    draw = np.random.default_rng(0)
    y = np.where(draw.random(3000) < 0.9, 0.0, np.exp(1.0 + draw.normal(size=3000)))
    one, scores = told("prior", y)

    assert (scores[50:] >= 0.0).all()
    assert np.abs(scores - y)[500:].mean() < 1.1 * y[500:].mean()
    assert "prior/median" in {m["expert"] for m in leaderboard(one)}


def test_an_answer_may_lie_beyond_labels_that_rise():
    _, scores = told("squares", 0.05 * np.arange(600.0))

    assert (scores[100:] > 0.05 * np.arange(99, 599)).mean() > 0.3


@pytest.mark.parametrize("made", [Cross, Words])
def test_plain_inputs_and_answers_have_bounds(made):
    seen = Seen("number", {**FEATURES, "place": {"type": "vector", "size": 2}})
    expert = made(seen.fields, seen.task)
    given = rows(seen, 200)
    memory, found = held(expert.tensors), predictions(expert, seen, 200)
    expert.learn(memory, seen.inputs(given, labels(seen, given)), found)
    part = seen.inputs(rows(seen, 20, seed=5), np.full(20, np.nan), np.zeros(20))
    part.x[:, [*seen.fields.plain]] = 1e30
    said = predictions(expert, seen, 20)
    expert.score(Held(memory.at, memory.flags), part, said)

    assert np.abs(said).max() < 1e3
