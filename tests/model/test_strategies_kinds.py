"""Strategies in the kinds that are neither linear nor mlp: they do there what they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from service.model.featurizer import Rows
from service.model.kinds import module_code
from service.model.kinds.module_batch import batch_of, inputs_of, outputs_of
from service.model.layout import Layout
from service.model.learning import Model
from service.model.losses import BINARY, HINGE, HINGES
from service.model.scorer import Scorer
from service.model.state import State
from service.model.strategies import safe
from tests.contract import kinds
from tests.learn import cuts
from tests.model import test_svm, wide
from tests.model.reference import row_of
from tests.model.test_strategies_effect import Taught, after_both, labels, log_loss
from tests.modules.nets import Net

NET = "tests.modules.nets:Net"
module_code.trust(NET)
PLAIN: dict[str, Any] = {}


@pytest.mark.parametrize("kind", ["svm", "fm", "module"])
def test_predictions_come_from_the_average_in_the_learner_and_in_the_api(kind):
    """Rows are scored by it before they are learned; the API reads it from the image."""
    one = kinds.taught(kinds.recipe(kind, average={"decay": 0.05}))
    given = one.decode(kinds.records(20, 60)).columns
    served = Scorer(one.recipe).attach(one.state.image).score(given)
    own = one.score(given)
    step = cuts.take(one, kinds.records(20, 60))
    one.state.flats["average"][:] = one.state.theta
    moving = one.score(given)

    assert np.array_equal(served, own)
    np.testing.assert_allclose(served[0], step.scores[0], rtol=1e-5)
    assert not np.allclose(served, moving, rtol=1e-3)


@pytest.mark.parametrize("serve", [True, False])
def test_an_svm_maps_the_margins_of_the_weights_that_it_serves(serve):
    """Held against plain torch: the margin of the average, before the row is learned, gives the
    score and teaches the map; that of the moving weights where they are served."""
    of = test_svm.svm({"average": {"decay": 0.02, "serve": serve}}, test_svm.EVENT)
    given, state = wide.drawn(of.schema, 120), State.fresh(Layout(of))
    reference, model = test_svm.Margins(of), Model(state.layout)
    kind = state.layout.kind
    for r in range(len(given)):
        theta = torch.from_numpy(state.flats["average"] if serve else state.theta).double()
        weights = {
            one.name: theta[kind.places[one.name] :][: one.size].view(one.shape)
            for one in kind.parameters
        }
        outs = reference.outputs(weights, row_of(given, r))
        scores = model.learn(state, given.take(np.array([r])), np.ones(1)).scores[0]
        targets = of.schema.targets
        wanted = [v for t in targets for v in reference.score(t, outs[t.name])]
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
        for t, target in enumerate(targets):
            if not math.isnan(given.y[r, t]):
                reference._follow(target, outs[target.name], float(given.y[r, t]))

    for t, target in enumerate(of.schema.targets):
        np.testing.assert_allclose(state.frames[t], reference.frames[target.name], rtol=1e-5)


@pytest.mark.parametrize("kind", ["svm", "fm", NET])
def test_the_average_is_steadier_than_weights_that_move_at_a_high_rate(kind):
    """The loss before learning is lower."""
    rng = np.random.default_rng(2)
    n = 8000 if kind != NET else 4000
    x = rng.normal(size=(n, 20))
    y = labels(x[:, 0] - x[:, 1], rng)
    rate, share = {"svm": (0.2, 0.93), "fm": (0.05, 0.85), NET: (1.0, 0.95)}[kind]
    losses = []
    for learning in (PLAIN, {"average": {"decay": 0.005}}):
        one = Taught(20, kind, learning_rate=rate, step_rows=8, **learning)
        losses.append(log_loss(one.learn(x, y)[n // 4 :], y[n // 4 :]))
    assert losses[1] < share * losses[0]


def test_a_module_s_step_that_contradicts_the_memory_is_bent():
    """A-GEM: the old task's loss stays lower, the new one is still learned."""
    plain, bent = (
        after_both(kind=NET, learning_rate=0.5, step_rows=16, **learning)
        for learning in (PLAIN, {"agem": {"memory": 2000, "rows": 64}})
    )
    assert bent[0] < 0.75 * plain[0]
    assert bent[1] < 0.6


def test_a_module_s_bent_step_is_that_of_torch():
    """One block of sgd, and its projection onto what the gradient of the memory allows, in autograd."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 3))
    y = (x[:, 0] > 0).astype(float)
    one = Taught(3, NET, learning_rate=0.5, step_rows=16, agem={"memory": 64, "rows": 12})
    for _ in range(20):
        one.learn(x[:16], y[:16])
    net = Net(inputs_of(one.layout.schema), outputs_of(one.layout.schema))
    net.load_state_dict(weights_of(one.state))
    before_it = one.state.extras["agem/figures"].tolist()
    one.learn(x[16:], 1.0 - y[16:])
    memory = one.layout.plan.judges
    assert memory is not None
    one.state.extras["agem/draws"][0] = memory.drawn(one.state) - 12
    remembered = memory.draw(one.state, 12)

    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    mean_loss(net, one, x[16:], 1.0 - y[16:]).backward()
    optimizer.step()
    g = torch.autograd.grad(
        mean_loss(net, one, remembered.numbers, remembered.targets[:, 0]), list(net.parameters())
    )
    moved = [p.detach() - b for p, b in zip(net.parameters(), before, strict=True)]
    along = sum(float((d * s).sum()) for d, s in zip(moved, g, strict=True))
    squares = sum(float((s * s).sum()) for s in g)

    assert along > 0.0
    assert [n + 1 for n in before_it] == one.state.extras["agem/figures"].tolist()
    found = weights_of(one.state)
    for (name, p), slope in zip(net.named_parameters(), g, strict=True):
        wanted = p.detach() - along / squares * slope
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(found[name], p.detach(), rtol=1e-4, atol=1e-6)


def weights_of(state: State) -> dict[str, torch.Tensor]:
    """Return copies of the weights of a module, by its own names."""
    parts = state.parts()["weights"]
    return {
        name: parts[f"module/{name}"].clone()
        for one in state.layout.kind.parameters
        for name in [one.name.removeprefix("module/")]
    }


def mean_loss(
    net: nn.Module, one: Taught, x: NDArray[np.float64], y: NDArray[np.float64]
) -> torch.Tensor:
    """Return the mean log loss of a module on these inputs, as torch computes it."""
    out = net(batch_of(one.layout.schema, one.rows(x, y)))[:, 0]
    return nn.functional.binary_cross_entropy_with_logits(out, torch.from_numpy(y).float())


@pytest.mark.parametrize("kind", ["linear", "mlp", NET])
def test_frozen_weights_keep_every_bit_where_a_step_is_bent(kind):
    """The gradient of the memory moves only what the block may move."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 3))
    y = (x[:, 0] > 0).astype(float)
    frozen = "*hidden*" if kind != "linear" else "*number/x00"
    one = Taught(3, kind, step_rows=8, agem={"memory": 64, "rows": 8}, freeze=[frozen])
    before = one.state.theta.copy()
    one.learn(x, y)
    one.learn(x, 1.0 - y)
    still = one.layout.plan.still.astype(bool)

    assert one.state.extras["agem/figures"][1] > 0
    assert still.any()
    assert np.array_equal(before[still], one.state.theta[still])
    assert not np.array_equal(before, one.state.theta)


@pytest.mark.parametrize(
    "outputs", [[0.3], [-2.0], [4.0], [0.1, 0.4, -1.0], [-3.0, 0.2, 0.5, 0.1, 0.45]]
)
@pytest.mark.parametrize("c", [0.05, 0.6, 3.0, 1e9])
def test_a_safe_step_of_a_hinge_is_what_very_many_small_ones_do(outputs, c):
    """Outputs after one step of weight h, and after many of weight h/n each, by the subgradient."""
    out, label, n = np.array(outputs), 0 if len(outputs) > 1 else 1, 40_000
    kind = HINGE if len(out) == 1 else HINGES
    slope = np.zeros(len(out))
    safe.safe_slopes(kind, len(out), out, float(label), np.zeros(5), c / 2.0, 2.0, slope)
    found = out - 2.0 * slope

    small = min(c, 20.0) / n  # 20 is more than enough to end at the margin
    for _ in range(n):
        if len(out) == 1:
            out[0] += small if out[0] < 1.0 else 0.0
        else:
            rival = 1 + int(np.argmax(out[1:]))
            if out[0] - out[rival] < 1.0:
                out[0] += small
                out[rival] -= small
    np.testing.assert_allclose(found, out, atol=3 * small + 1e-9)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("svm", "binary"),
        *((k, t) for k in ("linear", "fm", "mlp", NET) for t in ("binary", "number")),
    ],
)
def test_an_event_of_a_huge_weight_moves_a_prediction_to_its_label_and_not_past_it(kind, target):
    """Where infinitely many small events would bring it. Exactly so for what is linear; a
    factorization machine gets there or as near as its curve lets it; of a network it is the model
    made linear at its weights that gets there."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(60, 4))
    y = np.asarray(x[:, 0] > 0, dtype=float) if target == "binary" else 3.0 * x[:, 0] + 1.0
    spec = {"type": target} if target == "binary" else {"type": target, "scale": "none"}
    one = Taught(4, kind, spec, step_rows=1, learning_rate=0.05, safe_steps=True)
    one.learn(x[:40], y[:40])
    model = Model(one.layout)
    for at in range(40, 60):
        rows = one.rows(x[at : at + 1], y[at : at + 1])
        before, label, out = one.state.theta.copy(), y[at], output(one, rows)
        slopes = model.gradient(one.state, rows, np.ones(1)).values.astype(float)
        model.learn(one.state, rows, np.full(1, 1e9))
        moved = one.state.theta.astype(float) - before
        after = output(one, rows) if kind in {"svm", "linear", "fm"} else math.nan
        one.state.theta[:] = before
        if kind == "svm":
            sign = 2.0 * label - 1.0
            assert sign * after == pytest.approx(max(1.0, sign * out), abs=1e-4)
            continue
        slope = 2.0 * (out - label) if target == "number" else 1.0 / (1.0 + math.exp(-out)) - label
        g = slopes / slope
        goal = label if target == "number" else goal_of(out, label, 0.05 * 1e9 * float(g @ g))
        linear = out + float(g @ moved)
        if kind == "fm":
            assert min(out, goal) - 1e-3 <= after <= max(out, goal) + 1e-3
            assert after == pytest.approx(goal, abs=1e-3) or abs(after - goal) < abs(out - goal)
        else:
            assert linear == pytest.approx(goal, abs=1e-3)
        assert kind != "linear" or after == pytest.approx(goal, abs=1e-3)


def goal_of(logit: float, label: float, c: float) -> float:
    """Return where infinitely many small steps on the log loss would bring a logit, by bisection."""
    sign = 2.0 * label - 1.0
    low = high = sign * logit
    whole = math.exp(low) + low + c
    high = max(high, 0.0) + math.log1p(c) + 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if math.exp(middle) + middle < whole else (low, middle)
    return sign * low


def output(one: Taught, rows: Rows) -> float:
    """Return what a model with one output gives for one row: a margin, a logit or a value."""
    state, kind = one.state, one.layout.kind
    score = float(kind.score(Model(one.layout).served(state), rows)[0, 0])
    target = one.layout.schema.targets[0]
    if target.kind == "number":
        return score
    logit = math.log(score) - math.log1p(-score)
    b, a = state.frames[0][3:]
    return (logit - b) / a if kind.name == "svm" else logit


@pytest.mark.parametrize("target", ["binary", "number"])
def test_safe_steps_of_a_module_learn_at_a_rate_at_which_plain_ones_are_lost(target):
    """A rate a thousand times too high, eight rows a step."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(1000, 5))
    z = x[:, 0] - 2.0 * x[:, 1]
    y = np.asarray(z > 0, dtype=float) if target == "binary" else z
    errors = []
    for steps in (False, True):
        one = Taught(5, NET, {"type": target}, learning_rate=30.0, step_rows=8, safe_steps=steps)
        errors.append(float(np.mean(np.abs(one.learn(x, y)[500:, 0] - y[500:]))))
    assert errors[1] < 0.25
    assert not errors[0] < 1.5 * errors[1]


def test_the_weight_of_a_class_bends_its_own_target_of_a_module():
    """Two targets, eight rows a step: a step of sgd on the weighted loss, in torch."""
    targets = {"fraud": {"type": "binary", "class_weights": {"1": 20}}, "grade": {"type": "binary"}}
    event = {"features": kinds.FEATURES | {}, "targets": targets}
    of = kinds.recipe("module", event, {}, {"arguments": {}}, optimizer="sgd", cap=None)
    state = State.fresh(Layout(of))
    rows = wide.drawn(of.schema, 24)
    weights = np.ones(24)
    weights[3] = 0.0
    net = Net(inputs_of(of.schema), outputs_of(of.schema))
    net.load_state_dict(weights_of(state))
    optimizer = torch.optim.SGD(net.parameters(), lr=of.learning.learning_rate)
    Model(state.layout).learn(state, rows, weights)
    for first in range(0, 24, 8):
        at = np.array([r for r in range(first, first + 8) if r != 3])
        part = rows.take(at)
        y = torch.from_numpy(part.y)
        each = nn.functional.binary_cross_entropy_with_logits(
            net(batch_of(of.schema, part)).double(), y.nan_to_num(), reduction="none"
        )
        counts = torch.where(y == 1.0, torch.tensor([20.0, 1.0]), 1.0) * ~y.isnan()
        optimizer.zero_grad()
        ((each * counts).sum() / len(at)).backward()
        optimizer.step()

    for name, value in weights_of(state).items():
        torch.testing.assert_close(value, net.state_dict()[name], rtol=1e-3, atol=1e-5)


@given(
    st.floats(-1e5, 1e5), st.one_of(st.just(0.0), st.floats(1e-12, 1e12), st.floats(1e12, 1e300))
)
def test_a_safe_step_of_a_log_loss_is_a_number_and_keeps_its_equation(margin, c):
    """Whatever the margin: e^m (e^d - 1) + d = c, where float64 can say it."""
    d = -safe.safe_slope(BINARY, margin, 1.0, np.zeros(5), c, 1.0)

    assert math.isfinite(d)
    assert 0.0 <= d <= c * (1 + 1e-9)
    if c > 0.0 and d > 0.0:
        log_of_both = np.logaddexp(margin + math.log(-math.expm1(-d)) + d, math.log(d))
        assert math.log(c) == pytest.approx(log_of_both, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("kind", ["linear", "fm", "mlp"])
def test_a_label_that_the_model_thinks_impossible_leaves_its_weights_sound(kind):
    """Margins of hundreds, one way and the other: e^margin is no number, or nothing."""
    event = {
        "features": {"x": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "binary"}},
    }
    of = cuts.learner(
        cuts.recipe(kind, event, optimizer="sgd", safe_steps=True, cap=None, learning_rate=0.05)
    )
    for n in range(30):
        cuts.take(
            of, [cuts.record(n * 10 + i, {"x": (-1.0) ** i * 3, "y": i % 2}) for i in range(10)]
        )
    for x in (100.0, 372.0, 600.0, 1000.0, 5000.0, 1e5):
        for y in (0, 1):
            one = of.copy()
            step = cuts.take(one, [cuts.record(10_000, {"x": x, "y": y})])

            assert {"learned": 1} == step.counts
            assert one.is_fit()
