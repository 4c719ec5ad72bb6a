"""State is addressed by the name of its field."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numba import njit

from service.model.kinds import KINDS as KINDS_OF_MODELS
from service.model.kinds.linear import Linear
from service.model.kinds.seam import Extra, Flat
from service.model.layout import BLOCK_BYTES, Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.weights.digest import digest
from tests.model.streams import CASES, EVENT, one_number, recipe, rows

KINDS = list(CASES)


def learned(of, n: int = 80) -> State:
    """Return a state after n rows."""
    state = State.fresh(Layout(of))
    Model(state.layout).learn(state, rows(of, n), np.ones(n))
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_parts_come_back_exactly(kind):
    """State -> named tensors -> state: every byte."""
    of = recipe(**CASES[kind])
    state = learned(of)

    again, lost = State.of(Layout(of), state.parts())

    assert [] == lost
    assert np.array_equal(state.image, again.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_is_added_keeps_all_weights_and_all_predictions(kind):
    """Fields of every kind, and an interaction, start from nothing."""
    of, event = recipe(**CASES[kind]), copy.deepcopy(CASES[kind].get("event", EVENT))
    event["features"] |= {
        "also number": {"type": "number", "scale": "fit"},
        "also boolean": {"type": "boolean"},
        "also category": {"type": "category", "buckets": 8},
        "also categories": {"type": "categories", "buckets": 8},
        "also map": {"type": "map", "buckets": 8},
        "also text": {"type": "text", "buckets": 8},
        "also time": {"type": "time"},
        "also vector": {"type": "vector", "size": 2},
    }
    event["interactions"] = [*event.get("interactions", []), ["also number", "amount"]]
    wider = recipe(**CASES[kind] | {"event": event})
    old = learned(of)

    new, lost = State.of(Layout(wider), old.parts())

    assert [] == lost
    for part, tensors in old.parts().items():
        for name, tensor in tensors.items():
            assert np.array_equal(tensor.numpy(), new.parts()[part][name].numpy()), name
    events: list[dict] = [
        {"amount": 1.5, "shop": "x"},
        {"age": 3},
        {"also text": "x", "also boolean": True},
    ]
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
    layout = Layout(recipe(learning={"optimizer": "adam"}, **CASES[kind]))
    seen = np.zeros(layout.nbytes, dtype=np.int64)
    for entry in layout.entries:
        seen[entry.offset : entry.offset + entry.nbytes] += 1

    assert 1 == seen.max()
    assert 0 == learned(layout.recipe).image[seen == 0].max(initial=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_touched_blocks_cover_every_change(kind, optimizer):
    """Copying only touched blocks makes a copy equal to the state."""
    of = recipe(learning={"optimizer": optimizer}, **CASES[kind])
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
    of = recipe(**CASES[kind])
    state = learned(of)
    image = np.frombuffer(state.image.tobytes(), dtype=np.uint8)

    assert digest(state.parts()) == Scorer(of).attach(image).digest()


@pytest.mark.parametrize("kind", KINDS)
def test_predicting_changes_nothing_and_seeding_is_idempotent(kind):
    """The image after scoring is the image before; two fresh states are equal."""
    of = recipe(**CASES[kind])
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_is_removed_takes_nothing_else_along(kind):
    """What is lost is named, and all of it is of that field."""
    of, event = recipe(**CASES[kind]), copy.deepcopy(CASES[kind].get("event", EVENT))
    del event["features"]["amount"]
    event["interactions"] = []
    narrower = recipe(**CASES[kind] | {"event": event})

    new, lost = State.of(Layout(narrower), learned(of).parts())

    assert lost
    assert all("amount" in name or "when*" in name or "*when" in name for name in lost), lost
    assert new.is_finite()


@njit
def _count(tables, moving, given, weights, scores, losses, norms, applied):
    """A pass that learns nothing but how many rows there were."""
    moving.extras[1][0, 0] += given.x.shape[0]


class _Remembering(Linear):
    """A linear model that also remembers: what kinds and strategies may add to the image."""

    name = "remembering"
    passes = Linear.passes._replace(learn=_count)

    def __init__(self, of: Recipe) -> None:
        super().__init__(of)
        self.flats = (Flat("weights", "anchor", "weights"), Flat("optimizer", "fisher"))

    def extras_of(self) -> list[Extra]:
        return [
            Extra("weights", "platt", "float64", (2,), np.array([1.0, 0.0])),
            Extra("optimizer", "memory/codes", "int64", (1000, 64), quiet=True),
        ]


def test_what_a_kind_remembers_beside_its_weights_is_state(monkeypatch):
    """Extras start as they say, travel by name, and reach learning, scoring and copies."""
    monkeypatch.setitem(KINDS_OF_MODELS, "linear", _Remembering)
    of = recipe("linear")
    state = State.fresh(Layout(of))
    mirror = state.image.copy().reshape(-1, BLOCK_BYTES)
    state.take_touched()
    assert [1.0, 0.0] == state.extras["platt"].tolist()

    state.extras["platt"][:] = [0.5, 0.25]
    state.extras["memory/codes"][7:9] = 5
    state.touch("memory/codes", 7, 2)
    flags = state.take_touched().astype(bool)
    mirror[flags] = state.image.reshape(-1, BLOCK_BYTES)[flags]

    assert np.array_equal(mirror.reshape(-1), state.image)
    assert flags.sum() < len(flags) // 2
    again, lost = State.of(Layout(of), state.parts())
    assert [] == lost
    assert np.array_equal(state.image, again.image)
    moving = Model(state.layout).moving(again)
    assert [[0.5, 0.25], 5] == [moving.extras[0].tolist(), moving.extras[1][7, 0]]
    Model(state.layout).learn(again, rows(of, 5), np.ones(5))
    assert 5 == again.extras["memory/codes"][0, 0]
    assert digest(state.parts()) == Scorer(of).attach(state.image).digest()


def test_an_array_beside_the_weights_starts_as_they_are(monkeypatch):
    """One is added to a state that has learned: it holds the weights of that moment, by name."""
    of = recipe("linear")
    plain = learned(of)
    monkeypatch.setitem(KINDS_OF_MODELS, "linear", _Remembering)

    state, lost = State.of(Layout(of), plain.parts())

    assert [] == lost
    parts = state.parts()
    assert np.array_equal(state.flats["anchor"], state.theta)
    assert 0.0 == np.abs(state.flats["fisher"]).max() < np.abs(state.theta).max()
    for name in state.layout.parameters:
        assert np.array_equal(parts["weights"][name], parts["weights"][f"anchor/{name}"]), name
        assert f"fisher/{name}" in parts["optimizer"]
    state.take_touched()
    state.flats["fisher"][3] = 1.0
    state.touched[0] = 1
    first = state.layout.flats["fisher"] // BLOCK_BYTES
    assert 1 == state.take_touched()[first]
