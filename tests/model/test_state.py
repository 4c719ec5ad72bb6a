"""State is addressed by the name of its field."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from service.model.layout import BLOCK_BYTES, Layout
from service.model.learning import Model
from service.model.scorer import Scorer
from service.model.state import State
from service.weights.digest import digest
from tests.model.streams import EVENT, one_number, recipe, rows

KINDS = ["linear", "mlp"]


def learned(of, n: int = 80) -> State:
    """Return a state after n rows."""
    state = State.fresh(Layout(of))
    Model(state.layout).learn(state, rows(of, n), np.ones(n))
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_parts_come_back_exactly(kind):
    """State -> named tensors -> state: every byte."""
    of = recipe(kind)
    state = learned(of)

    again, lost = State.of(Layout(of), state.parts())

    assert [] == lost
    assert np.array_equal(state.image, again.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_is_added_keeps_all_weights_and_all_predictions(kind):
    """A new number and a new category start from nothing."""
    of, event = recipe(kind), copy.deepcopy(EVENT)
    event["features"] |= {"new": {"type": "number"}, "also": {"type": "category", "buckets": 8}}
    wider = recipe(kind, event=event)
    old = learned(of)

    new, lost = State.of(Layout(wider), old.parts())

    assert [] == lost
    for part, tensors in old.parts().items():
        for name, tensor in tensors.items():
            assert np.array_equal(tensor.numpy(), new.parts()[part][name].numpy()), name
    events = [{"amount": 1.5, "shop": "x"}, {"age": 3}]
    before, after = Scorer(of), Scorer(wider)
    np.testing.assert_allclose(
        after.attach(new.image).score(after.decoder.features(events)[0])[:, :5],
        before.attach(old.image).score(before.decoder.features(events)[0])[:, :5],
        rtol=1e-5,
    )


def test_the_order_of_fields_does_not_matter():
    """The same settings in another order are the same recipe and layout."""
    event = {k: dict(reversed(v.items())) for k, v in EVENT.items()}

    assert recipe().to_json() == recipe(event=event).to_json()


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_of_the_image_is_named_once(kind):
    """No two tensors overlap; what is unnamed is padding and stays zero."""
    layout = Layout(recipe(kind, {"optimizer": "adam"}))
    seen = np.zeros(layout.nbytes, dtype=np.int64)
    for entry in layout.entries:
        seen[entry.offset : entry.offset + entry.nbytes] += 1

    assert 1 == seen.max()
    assert 0 == learned(layout.recipe).image[seen == 0].max(initial=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_touched_blocks_cover_every_change(kind, optimizer):
    """Copying only touched blocks makes a copy equal to the state."""
    of = recipe(kind, {"optimizer": optimizer})
    state = State.fresh(Layout(of))
    mirror = state.image.copy().reshape(-1, BLOCK_BYTES)
    state.take_touched()
    for seed in range(5):
        n = 1 + 40 * seed
        Model(state.layout).learn(state, rows(of, n, seed), np.ones(n))
        flags = state.take_touched().astype(bool)
        mirror[flags] = state.image.reshape(-1, BLOCK_BYTES)[flags]

    assert np.array_equal(mirror.reshape(-1), state.image)


@pytest.mark.parametrize("kind", KINDS)
def test_api_and_snapshot_compute_the_same_digest(kind):
    """From a read-only image without torch, and from tensors."""
    of = recipe(kind)
    state = learned(of)
    image = np.frombuffer(state.image.tobytes(), dtype=np.uint8)

    assert digest(state.parts()) == Scorer(of).attach(image).digest()


@pytest.mark.parametrize("kind", KINDS)
def test_predicting_changes_nothing_and_seeding_is_idempotent(kind):
    """The image after scoring is the image before; two fresh states are equal."""
    of = recipe(kind)
    state = learned(of)
    before = state.image.copy()

    Model(state.layout).score(state, rows(of, 30))

    assert np.array_equal(before, state.image)
    assert np.array_equal(State.fresh(Layout(of)).image, State.fresh(Layout(of)).image)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
def test_a_number_target_of_any_scale_is_learned(scale):
    """The frame finds the target's size; a constant relation is learned to within its noise."""
    event = {"features": {"a": {"type": "number"}}, "targets": {"y": {"type": "number"}}}
    of = recipe("linear", {}, event)
    state, n = State.fresh(Layout(of)), 4000
    a = np.random.default_rng(0).normal(size=n)
    some = one_number(a, (3.0 + 2.0 * a) * scale)
    scorer = Scorer(of)
    given = scorer.featurizer.rows(some, state.scales, np.ones(n, np.uint8))

    scores = Model(state.layout).learn(state, given, np.ones(n)).scores

    error = np.abs(scores[-500:, 0] - some.targets[-500:, 0]).mean()
    assert error < 0.1 * scale
