"""The compiled passes, held against plain torch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from service.events.decode import Columns
from service.model.featurizer import Featurizer
from service.model.layout import Layout
from service.model.learning import Model
from service.model.state import State
from tests.learn import cuts
from tests.model.reference import Reference, row_of
from tests.model.streams import CASES, EVENT, RULES, plain, recipe, rows

KINDS = list(CASES)
N = 150


def named(state: State, part: str = "weights") -> dict[str, np.ndarray]:
    """Return copies of a part's tensors."""
    return {name: tensor.numpy().copy() for name, tensor in state.parts()[part].items()}


@pytest.mark.parametrize(
    "learning", RULES, ids=lambda r: f"{r['optimizer']}{r.get('momentum', '')}"
)
@pytest.mark.parametrize("kind", KINDS)
def test_learning_rows_gives_the_weights_of_plain_torch(kind, learning):
    """Three targets at once, some missing, each optimizer: the pass equals autograd row by row."""
    of = recipe(learning=learning, **CASES[kind])
    given, weight = rows(of, N), np.random.default_rng(1).uniform(0.5, 2.0, N)
    weight[::7] = 0.0
    state, reference = State.fresh(Layout(of)), Reference(of)

    learned = Model(state.layout).learn(state, given, weight)
    expected = reference.learn(given, weight)

    np.testing.assert_allclose(learned.scores, expected, rtol=2e-3, atol=2e-4)
    found = named(state)
    for name, value in reference.weights.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=5e-3, atol=5e-4, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_each_row_is_that_of_autograd(kind):
    """The analytic gradient equals torch's for every weight of the model."""
    of = recipe(**CASES[kind])
    given = rows(of, 40)
    state, reference = State.fresh(Layout(of)), Reference(of)
    model = Model(state.layout)
    model.learn(state, given, np.ones(40))
    for name, tensor in state.parts()["weights"].items():
        if name in reference.weights:
            reference.weights[name] = tensor.double().clone()
    for t, target in enumerate(of.schema.targets):
        reference.frames[target.name] = state.frames[t].tolist()
    reference.counts[""] = int(state.counts[-1])

    for r in range(12):
        one = given.take(np.array([r]))
        found = model.gradient(state, one, np.array([1.5]))
        expected = reference.gradients(row_of(one, 0), one.y[0], 1.5)
        for name, parameter in state.layout.parameters.items():
            first, shape = state.layout.kind.places[name], parameter.shape
            values = torch.from_numpy(found.values[first : first + parameter.size])
            values = values.reshape(shape).double()
            wanted = expected.get(name, torch.zeros(shape, dtype=torch.float64))
            torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "learning", RULES, ids=lambda r: f"{r['optimizer']}{r.get('momentum', '')}"
)
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_through_the_seam_give_the_same_weights(kind, learning):
    """learn, and gradient then apply with one row a step, end at the same weights."""
    event = copy.deepcopy(CASES[kind].get("event", EVENT))
    event["targets"]["price"]["scale"] = "none"  # frames of targets move in learn alone
    of = recipe(learning=learning | {"cap": None}, **CASES[kind] | {"event": event})
    given = rows(of, 60)
    given.y[:, -1] /= 50.0
    fused, stepped = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(fused.layout)

    model.learn(fused, given, np.ones(60))
    for r in range(60):
        one = given.take(np.array([r]))
        model.apply(stepped, model.gradient(stepped, one, np.ones(1)))

    expected = named(fused)
    for name, value in named(stepped).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_how_rows_are_cut_changes_no_bit(kind):
    """One pass over all rows, and one pass per row, give the same bits."""
    of = recipe(**CASES[kind])
    given = rows(of, N)
    whole, pieces = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(whole.layout)

    model.learn(whole, given, np.ones(N))
    for r in range(N):
        one = given.take(np.array([r]))
        model.learn(pieces, one, np.ones(1))

    assert np.array_equal(whole.image, pieces.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_weight_zero_is_scored_and_changes_nothing(kind):
    """Held-out rows leave no trace in the state."""
    of = recipe(**CASES[kind])
    state = State.fresh(Layout(of))
    before = state.image.copy()

    learned = Model(state.layout).learn(state, rows(of, 20), np.zeros(20))

    assert np.isfinite(learned.scores).all()
    assert np.array_equal(before, state.image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [np.inf, np.nan, 3e38])
def test_f35_a_row_that_is_not_finite_is_reported_and_not_applied(kind, poison):
    """Its neighbours are learned as if it had not been there."""
    of = recipe(**CASES[kind])
    good = rows(of, 30)
    bad = good.take(np.arange(30))
    at = 11
    bad.x[at, 0] = poison
    state, clean = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(state.layout)

    learned = model.learn(state, bad, np.ones(30))
    others = np.delete(np.arange(30), at)
    model.learn(clean, good.take(others), np.ones(29))

    assert learned.applied.tolist() == [2 if r == at else 1 for r in range(30)]
    assert np.array_equal(clean.image, state.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clipped_row_moves_the_weights_by_no_more_than_the_clip(kind):
    """`clip` bounds the length of a row's gradient."""
    of = recipe(learning={"optimizer": "sgd", "clip": 0.25}, **CASES[kind])

    state = State.fresh(Layout(of))
    learned = Model(state.layout).learn(state, rows(of, 50), np.ones(50))

    assert learned.norms.max() <= 0.25 + 1e-6


@pytest.mark.parametrize(
    ("learning", "make"),
    [
        ({"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9},
         lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        ({"optimizer": "adagrad", "learning_rate": 0.1}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
        ({"optimizer": "adam", "learning_rate": 0.02}, lambda p: torch.optim.Adam(p, lr=0.02)),
    ],
    ids=["momentum", "adagrad", "adam"],
)  # fmt: skip
def test_the_rules_are_those_of_torch_optim(learning, make):
    """A linear regression on raw numbers equals nn.Linear under the optimizer of that name."""
    event = {
        "features": {n: {"type": "number", "scale": "none"} for n in ("a", "b")},
        "targets": {"y": {"type": "number"}},
    }
    of = recipe("linear", learning, event)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)).astype(np.float32), rng.normal(size=200)
    padded = np.zeros((200, 4), dtype=np.float32)
    padded[:, [0, 2]] = x
    state = State.fresh(Layout(of))
    Model(state.layout).learn(
        state, plain(padded, np.empty((200, 0), dtype=np.int64), y[:, None]), np.ones(200)
    )
    linear = torch.nn.Linear(2, 1).double()
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = make(linear.parameters())
    for r in range(200):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(
            linear(torch.from_numpy(x[r]).double()), torch.tensor([y[r]])
        )
        loss.backward()
        optimizer.step()

    found = named(state)
    weights = [found["head/y/number/a"][0, 0], found["head/y/number/b"][0, 0]]
    np.testing.assert_allclose(weights, linear.weight.detach().numpy()[0], atol=2e-6)
    np.testing.assert_allclose(found["head/y/bias"], linear.bias.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_a_rare_class_is_not_capped(kind, optimizer):
    """One positive in two thousand: the same bits with the cap and without."""
    rng = np.random.default_rng(0)
    n = 20_000
    y = (rng.random((n, 1)) < 0.0005).astype(float)
    columns = Columns(
        rng.normal(size=(n, 1)) + 1.5 * y, rng.integers(1, 9, (n, 1)).astype(np.uint64), (), y,
        np.full(n, -1), np.zeros(n, dtype=np.uint64),
    )  # fmt: skip
    weights = []
    for cap in (32.0, None):
        of = cuts.learner(cuts.recipe(kind, optimizer=optimizer, cap=cap))
        rows = Featurizer(of.recipe.schema).rows(columns, of.state.scales, np.ones(n, np.uint8))
        Model(of.layout).learn(of.state, rows, np.ones(n))
        weights.append(of.state.theta.tobytes())

    assert y.sum() >= 5
    assert weights[0] == weights[1]
