"""The support vector machine, held against plain torch; and the probabilities it gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from service.events.schema import Target
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.state import State
from tests.model import wide
from tests.model.reference import Reference, row_of
from tests.model.streams import RULES, recipe

EVENT = wide.event(**wide.BINARY, **wide.GRADES)
N = 200


class Margins(Reference):
    """The reference with hinges, and with the map from margins to probabilities."""

    def loss(self, target: Target, out: Tensor, y: float) -> Tensor | None:
        """Return the hinge."""
        if target.kind == "binary":
            return (1.0 - (2.0 * y - 1.0) * out[0]).relu()
        others = [c for c in range(len(out)) if c != int(y)]
        rival = max(others, key=lambda c: float(out[c].detach()))
        return (1.0 + out[rival] - out[int(y)]).relu()

    def score(self, target: Target, out: Tensor) -> list[float]:
        """Return the calibrated probabilities."""
        _, _, _, b, a = self.frames[target.name]
        if target.kind == "binary":
            return [float((a * out[0] + b).sigmoid())]
        return list((a * out).softmax(0).tolist())

    def step(self, gradients, row, y) -> None:
        """Take one step, then move the maps by the margins before it."""
        before = self.outputs(self.weights, row)
        super().step(gradients, row, y)
        for t, target in enumerate(self.recipe.schema.targets):
            if not math.isnan(y[t]):
                self._follow(target, before[target.name], float(y[t]))

    def _follow(self, target: Target, out: Tensor, y: float) -> None:
        frame = self.frames[target.name]
        p = torch.tensor(self.score(target, out), dtype=torch.float64)
        frame[0] += 1
        rate, step = max(1 / frame[0], 1e-3), max(1 / (frame[0] + 20), 1e-3)
        if target.kind == "binary":
            f = out.clamp(-20, 20)
            bend = float(p * (1 - p))
            frame[1] += rate * (bend - frame[1])
            frame[3] -= max(min(step * (float(p) - y) / (frame[1] + 1e-3), 0.1), -0.1)
            spread, slope = bend * float(f) ** 2, (float(p) - y) * float(f)
        else:
            f = (out - out[int(y)]).clamp(-20, 20)
            slope = float(p @ f)
            spread = float(p @ f**2) - slope**2
        frame[2] += rate * (spread - frame[2])
        frame[4] *= math.exp(-max(min(step * slope / frame[4] / (frame[2] + 1e-3), 0.1), -0.1))


def svm(learning: dict | None = None, event: dict | None = None) -> Recipe:
    """Return a recipe of a support vector machine."""
    return recipe("svm", learning, event or EVENT)


@pytest.mark.parametrize(
    "learning", RULES, ids=lambda r: f"{r['optimizer']}{r.get('momentum', '')}"
)
def test_learning_rows_gives_the_weights_and_the_maps_of_plain_torch(learning):
    """Fields of every kind, two targets, some missing, each optimizer."""
    of = svm(learning)
    given, weight = wide.drawn(of.schema, N), np.full(N, 1.0)
    weight[::7] = 0.0
    state, reference = State.fresh(Layout(of)), Margins(of)

    learned = Model(state.layout).learn(state, given, weight)
    expected = reference.learn(given, weight)

    np.testing.assert_allclose(learned.scores, expected, rtol=2e-3, atol=2e-4)
    for name, value in reference.weights.items():
        found = state.parts()["weights"][name].numpy()
        np.testing.assert_allclose(found, value.numpy(), rtol=5e-3, atol=5e-4, err_msg=name)
    for t, target in enumerate(of.schema.targets):
        np.testing.assert_allclose(
            state.frames[t], reference.frames[target.name], rtol=1e-3, atol=1e-4
        )


def test_the_gradient_of_each_row_is_that_of_autograd():
    """For every weight, at weights that have learned."""
    of = svm()
    given = wide.drawn(of.schema, 60)
    state, reference = State.fresh(Layout(of)), Margins(of)
    model = Model(state.layout)
    model.learn(state, given, np.ones(60))
    parts = state.parts()["weights"]
    reference.weights = {name: parts[name].double().clone() for name in reference.weights}

    for r in np.flatnonzero(~np.isnan(given.y).all(axis=1))[:15]:
        found = model.gradient(state, given.take(np.array([r])), np.array([1.5]))
        expected = reference.gradients(row_of(given, r), given.y[r], 1.5)
        for name, parameter in state.layout.parameters.items():
            first = state.layout.kind.places[name]
            values = found.values[first : first + parameter.size].reshape(parameter.shape)
            wanted = expected.get(name, torch.zeros(parameter.shape)).numpy()
            np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-5, err_msg=name)


def test_both_ways_through_the_seam_give_the_same_weights():
    """learn, and gradient then apply with one row a step."""
    of = svm()
    given = wide.drawn(of.schema, 60)
    fused, stepped = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(fused.layout)

    model.learn(fused, given, np.ones(60))
    for r in range(60):
        one = given.take(np.array([r]))
        model.apply(stepped, model.gradient(stepped, one, np.ones(1)))

    np.testing.assert_allclose(stepped.theta, fused.theta, rtol=1e-4, atol=1e-5)


def test_a_wide_margin_moves_no_weight_and_a_narrow_one_does():
    """What the hinge is: nothing to learn from a row that is safely right."""
    of = svm({"optimizer": "sgd", "learning_rate": 0.5}, wide.event(**wide.BINARY))
    one = wide.drawn(of.schema, 40).take(np.array([3]))
    one.y[:] = 1.0
    state = State.fresh(Layout(of))
    model = Model(state.layout)
    model.learn(state, one, np.ones(1))
    moved = state.theta.copy()

    model.learn(state, one, np.ones(1))

    assert moved.any()
    assert np.array_equal(moved, state.theta)


@pytest.mark.parametrize("targets", [wide.BINARY, wide.GRADES], ids=["two", "three"])
def test_probabilities_are_calibrated_while_the_weights_move(targets):
    """Labels drawn from known probabilities: the log loss comes near that of the truth."""
    rng = np.random.default_rng(2)
    event = {"features": {"a": {"type": "number", "scale": "none"}}, "targets": targets}
    of, n = svm({"learning_rate": 0.02}, event), 20_000
    given = wide.drawn(recipe("linear", None, wide.event(**targets)).schema, n)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    x[:, 1] = 0.0
    logits = 1.5 * x[:, :1] * np.arange(max(of.schema.outputs, 2))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (rng.random((n, 1)) > truth.cumsum(axis=1)).sum(axis=1)
    given.x, given.ids, given.y = x, np.empty((n, 0), dtype=np.int64), label[:, None].astype(float)
    given.spans, given.entries = np.zeros((n, 1), dtype=np.int64), given.entries[:0]
    given.values = given.values[:0]
    state = State.fresh(Layout(of))

    found = Model(state.layout).learn(state, given, np.ones(n))

    best = -np.log(truth[np.arange(n), label])
    late = slice(n // 2, n)
    assert found.losses[late, 0].mean() < best[late].mean() + 0.02
    assert 0.0 < state.frames[0, 4]
    if of.schema.outputs == 1:
        assert 0.95 < found.scores[late, 0].sum() / label[late].sum() < 1.05
