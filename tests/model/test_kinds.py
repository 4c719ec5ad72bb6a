"""What holds for every kind of model, over fields of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.kinds import KINDS
from service.model.kinds.compiled import Compiled
from service.model.layout import BLOCK_BYTES, Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.weights.digest import digest
from tests.learn import cuts
from tests.model import wide

NAMES = ["svm", "fm", "rls"]
TARGETS: dict[str, dict[str, dict[str, object]]] = {
    "binary": wide.BINARY,
    "multiclass": wide.GRADES,
    "number": wide.NUMBER,
}
N = 120


def of_kind(kind: str, **learning: object) -> Recipe:
    """Return a recipe with every target that the kind learns."""
    targets = {name: t for of in KINDS[kind].learns for name, t in TARGETS[of].items()}
    return Recipe(
        "test",
        EventSettings.model_validate(wide.event(**targets)),
        ModelSettings.model_validate({"kind": kind, "factors": 3, "width": 40}),
        LearningSettings.model_validate(learning),
    )


@pytest.mark.parametrize("kind", NAMES)
def test_how_rows_are_cut_changes_no_bit(kind):
    """One pass over all rows, and one pass per row."""
    of = of_kind(kind)
    given = wide.drawn(of.schema, N)
    whole, pieces = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(whole.layout)

    model.learn(whole, given, np.ones(N))
    for r in range(N):
        model.learn(pieces, given.take(np.array([r])), np.ones(1))

    assert np.array_equal(whole.image, pieces.image)


@pytest.mark.parametrize("kind", NAMES)
def test_scoring_and_held_out_rows_change_nothing(kind):
    """Neither the state nor the rows."""
    of = of_kind(kind)
    given = wide.drawn(of.schema, N)
    state = State.fresh(Layout(of))
    model = Model(state.layout)
    model.learn(state, given, np.ones(N))
    before, x, values = state.image.copy(), given.x.copy(), given.values.copy()

    scores = model.score(state, given)
    held_out = model.learn(state, given, np.zeros(N))

    assert np.array_equal(before, state.image)
    assert np.array_equal(scores, held_out.scores)
    assert np.array_equal(x, given.x)
    assert np.array_equal(values, given.values)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("poison", [np.inf, np.nan, 3e38])
def test_f35_a_row_that_is_not_finite_is_reported_and_not_applied(kind, poison):
    """Its neighbours are learned as if it had not been there."""
    of = of_kind(kind)
    good = wide.drawn(of.schema, 40)
    bad = good.take(np.arange(40))
    bad.y[11] = good.y[11] = [1.0, 1.0, 50.0][-len(of.schema.targets) :] if kind == "rls" else 1.0
    bad.x[11, 0] = poison
    state, clean = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(state.layout)

    learned = model.learn(state, bad, np.ones(40))
    model.learn(clean, good.take(np.delete(np.arange(40), 11)), np.ones(39))

    assert learned.applied.tolist() == [2 if r == 11 else 1 for r in range(40)]
    assert np.array_equal(clean.image, state.image)


@pytest.mark.parametrize("kind", NAMES)
def test_the_cap_shortens_an_absurd_event_and_says_so(kind):
    """Inputs 1,000 times the usual, after the usual is known."""
    of = of_kind(kind)
    given = wide.drawn(of.schema, 300)
    given.x[250] *= 1e3
    state = State.fresh(Layout(of))

    learned = Model(state.layout).learn(state, given, np.ones(300))

    assert {250} == set(np.flatnonzero(learned.applied == 3).tolist())


@pytest.mark.parametrize("kind", NAMES)
def test_a_clipped_row_moves_the_weights_by_no_more_than_the_clip(kind):
    """`clip` bounds the length of a row's gradient."""
    of = of_kind(kind, clip=0.25)
    state = State.fresh(Layout(of))

    learned = Model(state.layout).learn(state, wide.drawn(of.schema, 50), np.ones(50))

    assert 0.0 < learned.norms.max() <= 0.25 + 1e-6


@pytest.mark.parametrize("kind", NAMES)
def test_a_state_comes_back_exactly_and_its_changed_blocks_are_known(kind):
    """By named tensors; by copying touched blocks; and the API computes the same digest from
    memory that cannot be written."""
    of = of_kind(kind)
    state = State.fresh(Layout(of))
    mirror = state.image.copy().reshape(-1, BLOCK_BYTES)
    state.take_touched()
    Model(state.layout).learn(state, wide.drawn(of.schema, N), np.ones(N))
    flags = state.take_touched().astype(bool)
    mirror[flags] = state.image.reshape(-1, BLOCK_BYTES)[flags]

    again, lost = State.of(Layout(of), state.parts())

    assert [] == lost
    assert np.array_equal(state.image, again.image)
    assert np.array_equal(state.image, mirror.reshape(-1))
    image = np.frombuffer(state.image.tobytes(), dtype=np.uint8)
    assert digest(state.parts()) == Scorer(of).attach(image).digest()


def test_a_kind_that_says_half_of_what_it_must_is_not_made():
    """At once, with what is missing: not at the first event."""

    class Half(Compiled):
        name = "half"

        def parameters_of(self):
            return []

    made: Any = Half
    with pytest.raises(TypeError, match="tables_of"):
        made(of_kind("svm"))


@pytest.mark.parametrize("kind", NAMES)
def test_a_replay_gives_the_same_digest(kind):
    """Decoded, learned and snapshotted half way by named tensors; then the rest."""
    target = {"type": "number"} if kind == "rls" else {"type": "binary"}
    event = {**cuts.EVENT, "targets": {"y": target}}
    given = cuts.records(200)
    whole = cuts.learner(cuts.recipe(kind, event))
    cuts.take(whole, given[:120])
    half, _ = State.of(Layout(whole.recipe), whole.state.parts())
    cuts.take(whole, given[120:])

    rest = Learner(whole.recipe, half.copy(), Standing(1, "feedbeef00000000", {("t", 0): 120}))
    cuts.take(rest, given[120:])

    assert digest(whole.state.parts()) == digest(rest.state.parts())
