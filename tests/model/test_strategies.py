"""Strategies of learning: each wins on a stream made to need it, and leaves no trace when off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import BadSettings
from service.learn import history
from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.weights.digest import digest
from tests.learn import cuts
from tests.model import streams

PASS: dict[str, dict[str, Any]] = {
    "l2": {"l2": 0.01},
    "l2_init": {"l2_init": 0.01},
    "ewc": {"ewc": {"strength": 5.0}},
    "freeze": {"freeze": ["head/*/bias"]},
    "average": {"average": {"decay": 0.05}},
    "agem": {"agem": {"memory": 40, "rows": 8}, "step_rows": 8},
    "replay": {"replay": {"memory": 40}, "step_rows": 8},
    "balanced": {"replay": {"memory": 40, "kind": "balanced", "rows": 2}, "step_rows": 8},
    "recent": {"replay": {"memory": 40, "kind": "recent", "weight": 0.5}, "step_rows": 8},
    "trunk_every": {"trunk_every": 3},
    "lookahead": {"lookahead": {}, "step_rows": 8},
}
CASES = [(kind, name) for kind in ("linear", "mlp") for name in PASS
         if (kind, name) != ("linear", "trunk_every")]  # fmt: skip

MANY = {
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 65_536}},
    "targets": {"y": {"type": "binary"}},
}


def learner(of: Recipe) -> Learner:
    """Return a fresh learner."""
    return Learner.fresh(of, Standing(0, "feedbeef00000000", {("t", 0): 0}))


def teach(of: Learner, n: int, first: int = 0, size: int = 1000) -> None:
    """Have it learn n records, `size` in a cut."""
    given = cuts.records(n + first)[first:]
    for at in range(0, n, size):
        cuts.take(of, given[at : at + size])


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_how_rows_are_cut_changes_no_bit_of_weights_and_memories(kind, name):
    """One cut, cuts of seven, and cuts of one end at the same image."""
    of = cuts.recipe(kind, **PASS[name])
    images = []
    for size in (1000, 7, 1):
        one = learner(of)
        teach(one, 70, size=size)
        images.append(one.state.image.copy())

    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_learner_that_was_read_from_its_parts_goes_on_as_if_it_had_not_been(kind, name):
    """What a snapshot holds is all that a strategy remembers."""
    of = cuts.recipe(kind, **PASS[name])
    whole = learner(of)
    teach(whole, 45)
    state, lost = State.of(Layout(of), whole.state.parts())
    again = Learner(of, state, whole.standing.copy())
    for one in (whole, again):
        teach(one, 30, first=45)

    assert not lost
    assert digest(whole.state.parts()) == digest(again.state.parts())


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_a_strategy_changes_is_told_to_whoever_copies_the_image(kind, name):
    """A follower that copies only changed blocks ends with the same image."""
    one = learner(cuts.recipe(kind, **PASS[name]))
    copied = np.zeros_like(one.state.image)
    for first in range(0, 80, 16):
        teach(one, 16, first=first)
        for block in np.flatnonzero(one.state.take_touched()):
            copied[block * 256 : block * 256 + 256] = one.state.image[block * 256 :][:256]

    assert np.array_equal(copied, one.state.image)


def test_what_a_block_that_spans_two_cuts_moved_is_told_when_the_block_ends():
    """agem takes the weights of the first cut's table rows over with the second cut."""
    one = learner(cuts.recipe(agem={"memory": 40, "rows": 8}, step_rows=8, optimizer="sgd",
                              event=MANY))  # fmt: skip
    copied = one.state.image.copy().reshape(-1, 256)
    one.state.take_touched()
    rng = np.random.default_rng(0)
    for first in range(0, 120, 5):
        cuts.take(one, [
            cuts.record(at, {"x": rng.normal(), "c": f"c{at}", "y": at % 2})
            for at in range(first, first + 5)
        ])  # fmt: skip
        flags = one.state.take_touched().astype(bool)
        copied[flags] = one.state.image.reshape(-1, 256)[flags]

    assert np.array_equal(copied.reshape(-1), one.state.image)


@pytest.mark.parametrize("learning", [
    {"replay": {"memory": 40}, "step_rows": 8},
    {"replay": {"memory": 40, "kind": "balanced"}, "step_rows": 8},
    {"agem": {"memory": 40, "rows": 8}, "step_rows": 8},
])  # fmt: skip
@pytest.mark.parametrize("change", ["larger", "a field more", "another field"])
def test_a_memory_of_other_fields_or_another_size_starts_empty(learning, change):
    """No event is made of zeros, or of one field's values under another's name."""
    one = learner(cuts.recipe(**learning))
    teach(one, 60)
    event = {**cuts.EVENT, "features": {**cuts.EVENT["features"]}}
    if change == "larger":
        learning = {
            k: {**v, "memory": 80} if isinstance(v, dict) else v for k, v in learning.items()
        }
    else:
        event["features"]["z"] = {"type": "number"}
    if change == "another field":
        del event["features"]["x"]

    again = history.rebuilt(one, cuts.recipe(event=event, **learning))

    held = [m for m in (again.layout.plan.memory, again.layout.plan.judges) if m is not None]
    assert [0] == [m.held(again.state) for m in held]
    assert [0] == [len(m.draw(again.state, 5)) for m in held]


def test_a_pull_to_zero_is_the_proximal_step_of_plain_arithmetic():
    """w <- (w - rate g) / (1 + rate l2), for the weights that a row touches."""
    event = {
        "features": {"a": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "number", "scale": "none"}},
    }
    learning = {"optimizer": "sgd", "learning_rate": 0.1, "l2": 0.5, "cap": None}
    of = streams.recipe("linear", learning, event)
    state, model = State.fresh(Layout(of)), Model(Layout(of))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1)), rng.normal(size=20)
    padded = np.column_stack((x, np.zeros(20))).astype(np.float32)
    given = streams.plain(padded, np.empty((20, 0), dtype=np.int64), y[:, None])
    model.learn(state, given, np.ones(20))

    w, b = 0.0, 0.0
    for at in range(20):
        g = 2 * (w * padded[at, 0] + b - y[at])
        w = (w - 0.1 * g * padded[at, 0]) / 1.05
        b = (b - 0.1 * g) / 1.05

    assert state.parts()["weights"]["head/y/number/a"][0, 0] == pytest.approx(w, rel=1e-4)
    assert state.parts()["weights"]["head/y/bias"][0] == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_frozen_weights_keep_every_bit_and_the_others_move(kind):
    """Patterns of names; the others learn."""
    of = streams.recipe(kind, {"freeze": ["*/category/*", "head/fraud/*"]})
    state = State.fresh(Layout(of))
    before = {n: t.numpy().copy() for n, t in state.parts()["weights"].items()}
    Model(state.layout).learn(state, streams.rows(of, 60), np.ones(60))

    moved = {n for n, t in state.parts()["weights"].items() if not np.array_equal(before[n], t)}
    frozen = {n for n in state.layout.parameters if "/category/" in n or "head/fraud/" in n}
    assert frozen
    assert not moved & frozen
    assert "head/grade/bias" in moved


def test_a_pattern_that_names_no_weights_is_refused_with_the_names_there_are():
    """A typing error would otherwise freeze nothing."""
    with pytest.raises(BadSettings, match=r"hiden.*Known: hidden/bias"):
        Layout(streams.recipe("mlp", {"freeze": ["hiden/*"]}))


def test_shared_weights_move_at_every_third_row_and_heads_at_every_one():
    """trunk_every: 3."""
    of = streams.recipe("mlp", {"trunk_every": 3})
    state, model, given = State.fresh(Layout(of)), Model(Layout(of)), streams.rows(of, 9)
    given.y[:] = np.nan_to_num(given.y, nan=1.0)
    trunk, head = [], []
    for r in range(9):
        before = {n: t.numpy().copy() for n, t in state.parts()["weights"].items()}
        model.learn(state, given.take(np.array([r])), np.ones(1))
        after = state.parts()["weights"]
        trunk.append(not np.array_equal(before["hidden/bias"], after["hidden/bias"]))
        head.append(not np.array_equal(before["head/fraud/bias"], after["head/fraud/bias"]))

    assert trunk[2::3].count(True) >= 2
    assert not any(trunk[0::3] + trunk[1::3])
    assert all(head)


def test_predictions_come_from_the_average_in_the_learner_and_in_the_api():
    """Rows are scored by it before they are learned; the API reads it from the image."""
    one = learner(cuts.recipe("mlp", average={"decay": 0.05}))
    teach(one, 60)
    columns = one.decode(cuts.records(20, first=60)).columns
    scorer = Scorer(one.recipe)
    served = scorer.attach(one.state.image).score(columns)
    own = one.score(columns)
    step = cuts.take(one, cuts.records(20, first=60))
    one.state.flats["average"][:] = one.state.theta
    moving = one.score(columns)

    assert np.array_equal(served, own)
    assert np.array_equal(served[0], step.scores[0])
    assert not np.array_equal(served, moving)


def test_a_class_that_counts_twenty_is_learned_as_twenty_times_the_weight():
    """The same bits as a weight of twenty on those rows, with one target and with several."""
    event = {**streams.EVENT, "targets": {"fraud": {"type": "binary", "class_weights": {"1": 20}}}}
    of, plain = streams.recipe("linear", {}, event), streams.recipe(
        "linear", {}, {**event, "targets": {"fraud": {"type": "binary"}}}
    )  # fmt: skip
    given = streams.rows(streams.recipe(), 80)
    given.y = np.ascontiguousarray(np.nan_to_num(given.y[:, :1]))
    weighted, other = State.fresh(Layout(of)), State.fresh(Layout(plain))
    Model(weighted.layout).learn(weighted, given, np.ones(80))
    Model(other.layout).learn(other, given, np.where(given.y[:, 0] == 1.0, 20.0, 1.0))

    assert np.array_equal(weighted.theta, other.theta)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_weight_of_a_class_bends_its_own_target_only(kind):
    """Two targets: the other one's head is as it would be without (linear), or learns on (mlp)."""
    targets = {"fraud": {"type": "binary", "class_weights": {"1": 20}}, "grade": {"type": "binary"}}
    given = streams.rows(streams.recipe(), 80)
    given.y = np.ascontiguousarray(np.nan_to_num(given.y[:, :2]) > 0).astype(float)
    states = []
    for spec in (targets, {name: {"type": "binary"} for name in targets}):
        of = streams.recipe(kind, {"cap": None}, {**streams.EVENT, "targets": spec})
        states.append(State.fresh(Layout(of)))
        Model(states[-1].layout).learn(states[-1], given, np.ones(80))
    heads = [{t: s.parts()["weights"][f"head/{t}/bias"].numpy() for t in targets} for s in states]

    assert not np.array_equal(heads[0]["fraud"], heads[1]["fraud"])
    assert np.array_equal(heads[0]["grade"], heads[1]["grade"]) == (kind == "linear")


def test_an_average_that_is_not_finite_is_not_fit_to_be_served():
    """It is what predictions come from, whatever the weights are."""
    one = learner(cuts.recipe(average={"decay": 0.05}))
    teach(one, 10)
    assert one.state.is_finite()
    at = one.layout.kind.places["head/y/bias"]

    one.state.flats["average"][at] = np.inf

    assert not one.state.is_finite()
