"""Recursive least squares, held against the normal equations solved at once."""

from __future__ import annotations

import numpy as np
import pytest

from service.learn.drift import reset
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.settings import EventSettings, LearningSettings, ModelSettings
from tests.learn import cuts
from tests.model import wide
from tests.model.streams import plain

AS_IT_IS = {"price": {"type": "number", "scale": "none"}}
PLAIN = {
    "features": {n: {"type": "number", "scale": "none"} for n in ("a", "b")},
    "targets": AS_IT_IS,
}


def rls(event: dict | None = None, **model: object) -> Recipe:
    """Return a recipe of recursive least squares."""
    return Recipe(
        "test",
        EventSettings.model_validate(event or wide.event(**wide.NUMBER)),
        ModelSettings.model_validate({"kind": "rls", "width": 48, **model}),
        LearningSettings(cap=None),
    )


def two_numbers(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs [N, 4] (two values, each with its flag) and noisy sums of them [N, 1]."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, 4), dtype=np.float32)
    x[:, [0, 2]] = rng.normal(size=(n, 2))
    return x, 2.0 + x[:, [0]] * 3.0 - x[:, [2]] + 0.1 * rng.normal(size=(n, 1))


def learned(of: Recipe, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> State:
    """Return the state after rows without tables."""
    state = State.fresh(Layout(of))
    rows = plain(x, np.empty((len(x), 0), dtype=np.int64), y)
    Model(state.layout).learn(state, rows, np.ones(len(x)) if weight is None else weight)
    return state


def test_the_weights_are_those_of_the_ridge_regression():
    """After 120 rows of different importance, as numpy solves it at once."""
    n = 120
    x, y = two_numbers(n)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, n)
    weight[::7] = 0.0

    state = learned(rls(PLAIN, forgetting=1.0), x, y, weight)

    full = np.column_stack((np.ones(n), x)).astype(float)
    moments = (full.T * weight) @ full + np.eye(5)
    expected = np.linalg.solve(moments, (full.T * weight) @ y[:, 0])
    np.testing.assert_allclose(weights_of(state), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(covariance(state), np.linalg.inv(moments), rtol=1e-6, atol=1e-9)


def test_forgetting_follows_its_formula_row_by_row():
    """The textbook recursion in numpy, with variances that never exceed those of the start."""
    n, rho = 300, 0.97
    x, y = two_numbers(n)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, n)
    x[100:200, 0] = 0.0

    state = learned(rls(PLAIN, forgetting=rho), x, y, weight)

    w, p = np.zeros(5), np.eye(5)
    for row, label, h in zip(np.column_stack((np.ones(n), x)), y[:, 0], weight, strict=True):
        gain = p @ row / (rho / h + row @ p @ row)
        w = w + gain * (label - w @ row)
        p = (p - np.outer(gain, row @ p)) / rho
        scale = 1.0 / np.sqrt(np.maximum(np.diag(p), 1.0))
        p = p * np.outer(scale, scale)
    np.testing.assert_allclose(weights_of(state), w, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(covariance(state), p, rtol=1e-6, atol=1e-9)


def weights_of(state: State) -> np.ndarray:
    """Return bias, then the weights of a and b with their flags: [5]."""
    parts = state.parts()["weights"]
    numbers = [parts[f"head/price/number/{n}"].numpy()[:, 0] for n in "ab"]
    return np.concatenate([parts["head/price/bias"].numpy(), *numbers])


def covariance(state: State) -> np.ndarray:
    """Return the matrix of the target [W, W]."""
    found = next(name for name in state.extras if name.startswith("covariance/price/"))
    return np.asarray(state.extras[found], dtype=np.float64)


def test_it_needs_no_rate_and_few_rows():
    """Fifty rows give the truth to within the noise."""
    x, y = two_numbers(50)

    parts = learned(rls(PLAIN), x, y).parts()["weights"]

    assert abs(float(parts["head/price/number/a"][0, 0]) - 3.0) < 0.1
    assert abs(float(parts["head/price/number/b"][0, 0]) + 1.0) < 0.1


def test_it_follows_a_relation_that_turns_round():
    """With forgetting .99 it is right again after 500 rows; remembering all, it is not."""
    x, y = two_numbers(4000)
    y[2000:] = 4.0 - y[2000:]
    found = {}
    for forgetting in (0.99, 1.0):
        of = rls(PLAIN, forgetting=forgetting)
        state = learned(of, x[:2500], y[:2500])
        rows = plain(x[2500:], np.empty((1500, 0), dtype=np.int64), y[2500:])
        scores = Model(state.layout).score(state, rows)
        found[forgetting] = np.abs(scores - y[2500:]).mean()

    assert found[0.99] < 0.2
    assert found[1.0] > 1.0


def test_inputs_that_stand_still_do_not_wind_it_up():
    """100,000 events that are all the same: its matrix stays as small as at the start, and the
    next different event moves the weights by no more than a first one would."""
    of = rls(PLAIN, forgetting=0.99)
    x, y = np.zeros((100_000, 4), dtype=np.float32), np.ones((100_000, 1))
    x[:, 0] = 1.0

    state = learned(of, x, y)

    held = covariance(state)
    assert np.trace(held) <= 5.0 + 1e-6
    assert np.linalg.eigvalsh(held).min() > 0.0


def test_fields_of_every_kind_are_learned_and_the_table_counts():
    """The target depends on a category: without it the error would be its deviation."""
    of = rls(forgetting=1.0)
    given = wide.drawn(of.schema, 3000)
    state = State.fresh(Layout(of))

    found = Model(state.layout).learn(state, given, np.ones(3000))

    labelled = ~np.isnan(given.y[:, 0])
    error = np.abs(found.scores - given.y)[1500:][labelled[1500:]]
    assert 48 == len(covariance(state))
    assert error.mean() < 0.2 * np.nanstd(given.y)


def test_one_absurd_label_is_kept_small():
    """The cap lowers the importance of that row, and says so."""
    x, y = two_numbers(400)
    of = rls(PLAIN)
    of = Recipe(of.name, of.event, of.model, LearningSettings())
    y[300] = 1e9
    state = State.fresh(Layout(of))
    rows = plain(x, np.empty((400, 0), dtype=np.int64), y)

    found = Model(state.layout).learn(state, rows, np.ones(400))

    assert 3 == found.applied[300]
    assert np.abs(found.scores[301:, 0] - y[301:, 0]).max() < 60.0


def test_asking_for_a_gradient_is_refused():
    """There is none that says how it learns, and Kind.differentiable says so."""
    of = rls(PLAIN)
    x, y = two_numbers(4)
    state = State.fresh(Layout(of))
    rows = plain(x, np.empty((4, 0), dtype=np.int64), y)

    assert not state.layout.kind.differentiable
    with pytest.raises(TypeError, match="no gradient"):
        Model(state.layout).gradient(state, rows, np.ones(4))


def test_no_learning_rate_is_told():
    """
    Neither where it learns nor where it answers: the default of the settings means nothing to it.
    """
    of = rls(PLAIN)
    state = State.fresh(Layout(of))

    assert Model(state.layout).rate(state) is None
    assert Scorer(of).attach(state.image).learning_rate() is None


def test_inputs_that_always_add_up_stay_stable():
    """A table beside the bias is one input too many; 30,000 rows with forgetting .99 neither lose
    symmetry nor blow up."""
    of = rls(forgetting=0.99)
    given = wide.drawn(of.schema, 30_000)
    state = State.fresh(Layout(of))

    found = Model(state.layout).learn(state, given, np.ones(30_000))

    held, labelled = covariance(state), ~np.isnan(given.y[:, 0])
    assert {1} == set(found.applied.tolist())
    assert np.array_equal(held, held.T)
    assert np.linalg.eigvalsh(held).min() > 0.0
    late = labelled & (np.arange(30_000) > 25_000)
    assert np.abs(found.scores - given.y)[late].mean() < 0.3 * np.nanstd(given.y)


@pytest.mark.parametrize("name", ["y", "numbers"])
def test_a_head_that_starts_anew_forgets_its_certainty_and_no_event(name):
    """What is kept for replay is no target's own, whatever the target is called."""
    event = {"features": {"x": {"type": "number"}}, "targets": {name: {"type": "number"}}}
    of = cuts.recipe("rls", event, replay={"memory": 10}, step_rows=4)
    one = cuts.learner(of)
    cuts.take(one, [cuts.record(i, {"x": i % 7, name: i}) for i in range(40)])
    memory = next(n for n in one.state.extras if n.startswith("replay/") and n.endswith("numbers"))
    kept = one.state.extras[memory].copy()

    reset.head(one.state, of.schema.targets[0])

    held = next(n for n in one.state.extras if n.startswith("covariance/"))
    assert np.array_equal(one.state.extras[held], np.eye(len(one.state.extras[held])))
    assert np.array_equal(one.state.extras[memory], kept)
