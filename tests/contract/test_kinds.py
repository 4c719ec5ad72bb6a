"""The contract of kinds: inputs are left alone, predicting changes nothing, fields come and go."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import LayoutChanged
from service.learn import changes, history
from service.learn.learner import Learner
from service.learn.standing import standing_of
from service.model.featurizer import Featurizer
from service.model.kinds.module import Module
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import ModuleCode, Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.weights.digest import digest
from service.weights.snapshots import Keep, Snapshots
from tests.contract.kinds import (
    KINDS,
    PLACES,
    event_of,
    events,
    learner,
    one_record,
    recipe,
    records,
    reversed_keys,
    taught,
    teach,
)
from tests.learn import cuts

ADDED: dict[str, tuple[dict[str, Any], Any]] = {
    "number": ({"type": "number"}, float),
    "boolean": ({"type": "boolean"}, lambda i: i % 2 == 0),
    "category": ({"type": "category", "buckets": 8}, lambda i: f"x{i % 3}"),
    "list": ({"type": "categories", "buckets": 8}, lambda i: [f"x{i % 3}"]),
    "map": ({"type": "map", "buckets": 8}, lambda i: {f"x{i % 3}": 1.0}),
    "text": ({"type": "text", "buckets": 8}, lambda i: f"a word {i % 3}"),
    "time": ({"type": "time"}, lambda i: f"2026-01-01T0{i % 3}:00:00Z"),
    "vector": ({"type": "vector", "size": 2}, lambda i: [float(i), 1.0]),
}
"""Name of a field: its settings, and its value in the i-th event."""
IN_STEPS = ("module", "guest")
"""Kinds that learn in steps, which end with a cut."""
pytestmark = pytest.mark.parametrize("kind", KINDS)


def weights(one: Learner) -> dict[str, bytes]:
    """Return the bytes of all that a prediction or a step is made of, by name."""
    parts = one.state.parts()
    return {
        f"{part}/{name}": tensor.numpy().tobytes()
        for part in ("weights", "optimizer")
        for name, tensor in parts[part].items()
    }


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Return the names of what differs."""
    return [name for name in before if before[name] != after[name]]


def room_for(one: Learner, event: dict[str, Any]) -> dict[str, int]:
    """Return what the settings of the model must say beside, for a field more."""
    if one.recipe.kind != "rls":
        return {}
    before, after = (recipe("rls", e).schema.inputs for e in (None, event))
    return {"width": one.recipe.model.width + after - before}


def with_code(of: Recipe) -> Recipe:
    """Return the recipe of a module as settings make it: with the shapes of its weights."""
    of.module = ModuleCode("0" * 64, Module(of).shapes())
    return of


def flat(columns: Any) -> list[np.ndarray]:
    """Return every array of columns."""
    bags = [a for b in columns.bags for a in (b.spans, b.codes, b.values, b.names)]
    return [columns.numbers, columns.codes, columns.targets, columns.times_ms, columns.keys, *bags]


def test_what_is_given_is_left_as_it_was(kind):
    """Event objects, records, columns, rows and weights of rows: by scoring and by learning."""
    of = recipe(kind)
    one, scorer = taught(of), Scorer(of)
    objects, given = events(12, 60), records(12, 60)
    was = copy.deepcopy(objects), [r.value for r in given]
    columns, _ = scorer.decoder.features(objects)
    decoded = one.decode(given)
    rows = Featurizer(of.schema).rows(decoded.columns, one.state.scales)
    given_weights = np.ones(len(rows))
    arrays = [*flat(columns), *flat(decoded.columns), given_weights]
    arrays += [rows.x, rows.ids, rows.spans, rows.entries, rows.values, rows.y]
    held = [a.copy() for a in arrays]

    scorer.attach(one.state.image).score(columns)
    one.score(decoded.columns)
    Model(one.layout).learn(one.state, rows, given_weights)
    one.take(given, decoded, {("t", 0): 72})

    assert was == (objects, [r.value for r in given])
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(arrays, held, strict=True))  # fmt: skip


def test_predicting_changes_nothing(kind):
    """No byte, on memory that may be read only; and what is learned later is the same."""
    of = recipe(kind)
    one, quiet = taught(of), taught(of)
    before = one.state.image.copy()
    columns = one.decode(records(20, 60)).columns
    read_only = np.frombuffer(before.tobytes(), dtype=np.uint8)

    first, second = one.score(columns), one.score(columns)
    served = Scorer(of).attach(read_only).score(columns)

    assert np.array_equal(first, second)
    assert np.array_equal(first, served)
    assert np.isfinite(first).all()
    assert np.array_equal(before, one.state.image)
    teach(one, 10, 60)
    teach(quiet, 10, 60)
    assert np.array_equal(one.state.image, quiet.state.image)


def test_fields_come_and_go(kind):
    """An event may lack any field, or all; say null; or have fields that nobody named."""
    of = recipe(kind)
    one, given = taught(of), events(len(PLACES) + 3, 60)
    for event, place in zip(given, PLACES.values(), strict=False):
        event.pop(place, None)
    given[-3] = {k: v for k, v in given[-3].items() if k in {"id", *of.event.targets}}
    given[-2] = {k: v if k in {"id", *of.event.targets} else None for k, v in given[-2].items()}
    given[-1] |= {"emerged": 3.5, "named": "x", "many": ["a", "b"]}

    step = cuts.take(one, [one_record(60 + i, event) for i, event in enumerate(given)])

    assert len(given) == step.counts["learned"]
    assert np.isfinite(step.scores).all()
    assert one.state.is_finite()


def test_a_field_that_nobody_named_leaves_no_trace_without_a_map_for_it(kind):
    """The same bits with and without it."""
    of = recipe(kind, event_of(kind, more=None))
    plain, other = learner(of), learner(of)
    given = [{k: v for k, v in e.items() if k not in {"extra", "colour"}} for e in events(30)]
    cuts.take(plain, [one_record(i, event) for i, event in enumerate(given)])
    teach(other, 30)

    assert np.array_equal(plain.state.image, other.state.image)


def test_the_order_of_fields_does_not_matter(kind):
    """Neither in the settings nor in an event: the same bits."""
    one = taught(recipe(kind), 30)
    other = learner(recipe(kind, reversed_keys(event_of(kind))))
    given = [one_record(i, reversed_keys(event)) for i, event in enumerate(events(30))]
    cuts.take(other, given)

    assert np.array_equal(one.state.image, other.state.image)


def test_a_seed_gives_the_same_learner_again_and_another_gives_another(kind):
    """Weights, hashes and dropout follow from it."""
    first, again, other = (taught(recipe(kind, seed=seed), 30) for seed in (0, 0, 1))

    assert np.array_equal(first.state.image, again.state.image)
    assert digest(first.state.parts())["weights"] != digest(other.state.parts())["weights"]


def test_a_state_goes_through_a_snapshot_and_learns_on_to_the_same_bit(kind, tmp_path: Path):
    """Parts, files, parts."""
    of = recipe(kind)
    whole = taught(of)
    kept = Snapshots(tmp_path, Keep(2, 0, 0))
    written = kept.write(whole.state.parts(), whole.meta())
    parts, meta = kept.load(written.id)
    state, lost = State.of(Layout(of), parts)
    again = Learner(of, state, standing_of(meta))

    assert [] == lost
    assert np.array_equal(whole.state.image, state.image)
    for one in (whole, again):
        teach(one, 30, 60)
    assert np.array_equal(whole.state.image, again.state.image)


def test_how_events_are_cut_changes_no_bit(kind):
    """Modules learn in steps that end with a cut: for them the same cuts give the same bits."""
    of = recipe(kind)
    sizes = (7, 7) if kind in IN_STEPS else (1000, 7, 1)
    images = []
    for size in sizes:
        one = learner(of)
        teach(one, 50, size=size)
        images.append(one.state.image)

    assert all(np.array_equal(images[0], image) for image in images[1:])


def test_an_event_without_a_label_changes_nothing(kind):
    """No weight, no scale, no memory."""
    one = taught(recipe(kind))
    before = weights(one)
    given = [{k: v for k, v in e.items() if k not in one.recipe.event.targets} for e in events(9)]

    step = cuts.take(one, [one_record(60 + i, event) for i, event in enumerate(given)])

    assert 9 == step.counts["filtered/unlabelled"]
    assert [] == changed(before, weights(one))


def test_an_event_that_is_held_out_changes_nothing(kind):
    """Those that are learned are learned as if it had not been there."""
    of = recipe(kind, holdout=0.4)
    one, other = learner(of), learner(of)
    held = teach(one, 60)[0].held
    given = [record for record, out in zip(records(60), held, strict=True) if not out]
    cuts.take(other, given)

    assert 5 < held.sum() < 55
    if kind not in IN_STEPS:  # whose steps are rows of a cut, learned or not
        assert [] == changed(weights(one), weights(other))
    before = weights(one)
    step = cuts.take(one, [r for r, out in zip(records(60), held, strict=True) if out])
    assert "learned" not in step.counts
    assert [] == changed(before, weights(one))


def test_an_event_that_is_not_finite_changes_nothing_but_what_is_usual_of_fields(kind):
    """It is told, its neighbours are learned as if it had not been there."""
    of = recipe(kind, cap=None)
    one, other = taught(of), taught(of)
    before = weights(one)
    absurd = one_record(60, {**events(1, 60)[0], "deep": {"raw": 1e30}})
    step = cuts.take(one, [absurd])
    scales = ("weights/normaliser/", "weights/quantiles/", "weights/names/")

    assert {"quarantined/not_finite": 1} == step.counts
    assert [] == [n for n in changed(before, weights(one)) if not n.startswith(scales)]

    model, featurizer = Model(other.layout), Featurizer(of.schema)
    rows = featurizer.rows(other.decode(records(7, 60)).columns, other.state.scales)
    rows.x[3, 0] = 1e30
    sound = other.copy()
    done = model.learn(other.state, rows, np.ones(7))
    model.learn(sound.state, rows.take(np.array([0, 1, 2, 4, 5, 6])), np.ones(6))

    assert [1, 1, 1, 2, 1, 1, 1] == done.applied.tolist()
    assert [] == changed(weights(sound), weights(other))


def test_a_field_that_is_added_changes_a_prediction_only_once_it_was_learned_from(kind):
    """Of every type; then it is used. A module whose weights have other shapes then is refused."""
    if kind == "module":
        code = [
            with_code(recipe(kind, event_of(kind, **more)))
            for more in ({}, {"number": ADDED["number"][0]})
        ]
        with pytest.raises(LayoutChanged, match="has the shape"):
            changes.compare(code[0], code[1])
        return
    one, given = taught(recipe(kind)), events(30, 60)
    for name, (spec, value) in ADDED.items():
        event = event_of(kind, **{name: spec})
        of = recipe(kind, event, model=room_for(one, event))
        assert changes.compare(one.recipe, of) in {"layout", "settings"}
        grown = history.rebuilt(one.copy(), of)
        told = [{**given[i], name: value(i)} for i in range(len(given))]
        before = one.score(one.decoder.features(given)[0])
        after = grown.score(grown.decoder.features(told)[0])
        cuts.take(grown, [one_record(60 + i, event) for i, event in enumerate(told)])
        with_it, without = (grown.score(grown.decoder.features(e)[0]) for e in (told, given))

        if kind == "guest":  # its module has other weights then, and begins anew
            assert np.isclose(after, before, atol=0.3).all(), name
        elif kind == "mixture":  # crosses with the new field may meet others
            assert np.isclose(after, before, rtol=1e-3, atol=1e-4).all(axis=1).mean() > 0.6, name
        elif kind != "rls" or spec["type"] in {"number", "boolean", "vector"}:  # names meet others
            np.testing.assert_allclose(after, before, rtol=1e-5, err_msg=name)
        if kind != "bayes" or spec["type"] in {"number", "boolean", "category"}:
            assert not np.array_equal(with_it, without), name


def test_a_target_that_is_added_changes_no_prediction_of_the_others(kind):
    """Under every kind that has heads of its own for each."""
    one, given = taught(recipe(kind)), events(20, 60)
    event = event_of(kind)
    more = {"type": "number"} if kind == "rls" else {"type": "binary"}
    of = recipe(kind, {**event, "targets": {**event["targets"], "zeal": more}})
    if kind == "module":
        with pytest.raises(LayoutChanged, match="has the shape"):
            changes.compare(with_code(recipe(kind)), with_code(of))
        return
    grown = history.rebuilt(one.copy(), of)
    before = one.score(one.decoder.features(given)[0])
    after = grown.score(grown.decoder.features(given)[0])
    told = [one_record(60 + i, {**e, "zeal": i % 2}) for i, e in enumerate(given)]
    step = cuts.take(grown, told)

    assert changes.compare(one.recipe, of) == "layout"
    if kind == "guest":  # its module has other weights then, and begins anew
        assert np.isclose(after[:, : before.shape[1]], before, atol=0.3).all()
    else:
        assert np.array_equal(after[:, : before.shape[1]], before)
    assert len(given) == step.counts["learned"]
