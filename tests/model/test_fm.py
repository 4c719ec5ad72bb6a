"""The factorization machine, held against plain torch."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from service.model.featurizer import Rows
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.state import State
from service.settings import EventSettings, LearningSettings, ModelSettings
from tests.model import wide
from tests.model.reference import Reference, Row, row_of
from tests.model.streams import RULES

EVENT = wide.event(**wide.BINARY, **wide.GRADES, **wide.NUMBER)
N = 80


class Pairs(Reference):
    """The reference with every pair of inputs written out."""

    def outputs(self, weights, row: Row, mask=None):
        """Return the outputs: linear ones, and the sum over pairs of v_i . v_j x_i x_j."""
        found = super().outputs(weights, row, mask)
        for target in self.recipe.schema.targets:
            head = f"head/{target.name}/factors"
            vectors: list[Tensor] = []
            for block, x in self._dense(row):
                vectors += list(x[:, None, None] * weights[f"{head}/{block}"])
            for name, entries, values in self._sparse(row):
                vectors += list(values[:, None, None] * weights[f"{head}/{name}"][entries])
            pairs = [(a * b).sum(dim=1) for a, b in itertools.combinations(vectors, 2)]
            found[target.name] = found[target.name] + torch.stack(pairs).sum(dim=0)
        return found

    def _reframe(self, target, y: float) -> None:
        """Weights scale by the ratio of frames, factors by its root; as the base does for weights."""
        head = f"head/{target.name}/factors/"
        held = {n: w.clone() for n, w in self.weights.items() if n.startswith(head)}
        slots = [{n: s[n].clone() for n in held} for s in self.slots]
        old = self.frames[target.name][4]
        super()._reframe(target, y)
        new = self.frames[target.name][4]
        ratio = old / new if old > 0 and new > 0 else 1.0
        powers = {"sgd": (0, 0), "momentum": (1.5, 0), "adagrad": (3, 0), "adam": (1.5, 3)}
        first, second = powers[self.recipe.optimizer]
        for name, value in held.items():
            self.weights[name] = value * math.sqrt(ratio)
            self.slots[0][name] = slots[0][name] * ratio**first
            self.slots[1][name] = slots[1][name] * ratio**second


def fm(learning: dict | None = None, event: dict | None = None) -> Recipe:
    """Return a recipe of a small factorization machine."""
    return Recipe(
        "test",
        EventSettings.model_validate(event or EVENT),
        ModelSettings.model_validate({"kind": "fm", "factors": 3}),
        LearningSettings.model_validate(learning or {}),
    )


@pytest.mark.parametrize(
    "learning", RULES, ids=lambda r: f"{r['optimizer']}{r.get('momentum', '')}"
)
def test_learning_rows_gives_the_weights_of_plain_torch(learning):
    """Fields of every kind, three targets, some missing, each optimizer."""
    of = fm(learning)
    given, weight = wide.drawn(of.schema, N), np.full(N, 1.0)
    weight[::7] = 0.0
    state, reference = State.fresh(Layout(of)), Pairs(of)

    learned = Model(state.layout).learn(state, given, weight)
    expected = reference.learn(given, weight)

    np.testing.assert_allclose(learned.scores, expected, rtol=2e-3, atol=2e-3)
    for name, value in reference.weights.items():
        found = state.parts()["weights"][name].numpy()
        np.testing.assert_allclose(found, value.numpy(), rtol=5e-3, atol=1e-3, err_msg=name)


def test_the_gradient_of_each_row_is_that_of_autograd():
    """For every weight and factor, at weights that have learned."""
    of = fm()
    given = wide.drawn(of.schema, 60)
    state, reference = State.fresh(Layout(of)), Pairs(of)
    model = Model(state.layout)
    model.learn(state, given, np.ones(60))
    parts = state.parts()["weights"]
    reference.weights = {name: parts[name].double().clone() for name in reference.weights}
    for t, target in enumerate(of.schema.targets):
        reference.frames[target.name] = state.frames[t].tolist()

    for r in np.flatnonzero(~np.isnan(given.y).all(axis=1))[:10]:
        found = model.gradient(state, given.take(np.array([r])), np.array([1.5]))
        expected = reference.gradients(row_of(given, r), given.y[r], 1.5)
        for name, parameter in state.layout.parameters.items():
            first = state.layout.kind.places[name]
            values = found.values[first : first + parameter.size].reshape(parameter.shape)
            wanted = expected.get(name, torch.zeros(parameter.shape)).numpy()
            np.testing.assert_allclose(values, wanted, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r['optimizer']}{r.get('momentum', '')}")
def test_both_ways_through_the_seam_give_the_same_weights(rule):
    """learn, and gradient then apply with one row a step; the number is taken as it is."""
    number = {"price": {"type": "number", "scale": "none"}}
    of = fm(rule, wide.event(**wide.GRADES, **number))
    given = wide.drawn(of.schema, 60)
    given.y[:, 1] = (given.y[:, 1] - 50.0) / 7.0
    fused, stepped = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(fused.layout)

    model.learn(fused, given, np.ones(60))
    for r in range(60):
        one = given.take(np.array([r]))
        model.apply(stepped, model.gradient(stepped, one, np.ones(1)))

    np.testing.assert_allclose(stepped.theta, fused.theta, rtol=1e-3, atol=1e-4)


def ratings(n: int) -> Rows:
    """Return users who like what is of their kind: the pair decides, neither alone does."""
    rng = np.random.default_rng(0)
    ids = np.column_stack((rng.integers(0, 32, n), rng.integers(0, 32, n)))
    y = 3.0 + np.where(ids[:, 0] % 2 == ids[:, 1] % 2, 1.0, -1.0)
    nothing = np.empty(0, dtype=np.int64)
    x, spans = np.empty((n, 0), dtype=np.float32), np.zeros((n, 1), dtype=np.int64)
    return Rows(x, ids, spans, nothing, nothing.astype(np.float32), y[:, None])


def test_it_learns_pairs_that_a_linear_model_cannot():
    """Also pairs that were never seen together: a tenth of them is kept back."""
    table = {"type": "category", "buckets": 32}
    event = {"features": {"user": table, "item": table}, "targets": {"r": {"type": "number"}}}
    given = ratings(12_000)
    unseen = (given.ids[:, 0] * 7 + given.ids[:, 1] * 3) % 10 == 0
    errors = {}
    for kind in ("fm", "linear"):
        of = Recipe(
            "test", EventSettings.model_validate(event),
            ModelSettings.model_validate({"kind": kind}), LearningSettings(),
        )  # fmt: skip
        state = State.fresh(Layout(of))
        scores = Model(state.layout).learn(state, given, (~unseen).astype(float)).scores
        late = unseen & (np.arange(12_000) > 8_000)
        errors[kind] = np.abs(scores[late, 0] - given.y[late, 0]).mean()

    assert errors["fm"] < 0.3
    assert errors["linear"] > 0.9


def test_a_field_that_is_added_changes_no_prediction():
    """Its weights and factors start at nothing, and its pairs move them from there."""
    old, event = fm(), copy.deepcopy(EVENT)
    event["features"]["zip"] = {"type": "category", "buckets": 8}
    new = fm(event=event)
    state = State.fresh(Layout(old))
    given = wide.drawn(old.schema, 80)
    Model(state.layout).learn(state, given, np.ones(80))
    at = [t.name for t in new.schema.tables].index("zip")

    wider, lost = State.of(Layout(new), state.parts())
    more = given.take(np.arange(80))
    more.ids = np.insert(given.ids, at, 3, axis=1)

    assert [] == lost
    np.testing.assert_allclose(
        Model(wider.layout).score(wider, more), Model(state.layout).score(state, given), rtol=1e-6
    )
    Model(wider.layout).learn(wider, more, np.ones(80))
    assert wider.parts()["weights"]["head/price/factors/category/zip"][3].abs().min() > 0
