"""What holds for every expert, whatever it is made of."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from service._settings import module
from service.model.experts import EXPERTS
from service.model.experts.moved import mark, move
from service.model.experts.seam import Held
from tests.model.experts.pieces import readable
from tests.model.experts.rows import FEATURES, Seen, held, labels, predictions, rows

CASES = [(name, kind) for name, one in EXPERTS.items() for kind in one.fits]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """Expert, what it sees, rows and labels."""
    name, kind = request.param
    seen = Seen(kind)
    given = rows(seen, 300)
    return EXPERTS[name](seen.fields, seen.task), seen, given, labels(seen, given)


def taught(expert, seen, given, y, cuts=(300,), weights=None):
    """Return tensors and predictions after one pass in cuts of these sizes, over and over."""
    memory, found, first = held(expert.tensors), predictions(expert, seen, len(y)), 0
    weights = np.ones(len(y)) if weights is None else weights
    while first < len(y):
        for size in cuts:
            last = min(first + size, len(y))
            part = seen.inputs(given.part(first, last), y[first:last], weights[first:last])
            expert.learn(memory, part, found[first:last])
            first = last
    return memory, found


def bits(memory: Held) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in memory.at.items()}


def test_the_settings_name_all_experts():
    assert tuple(EXPERTS) == module.EXPERTS


def test_predictions_are_finite_and_probabilities_sum_to_one(case):
    expert, seen, given, y = case
    _, found = taught(expert, seen, given, y)

    assert np.isfinite(found).all()
    if seen.task.kind != "number":
        assert (found >= 0).all()
        assert (found <= 1).all()
    if seen.task.kind == "multiclass":
        np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-4)


def test_how_rows_are_cut_changes_no_bit(case):
    expert, seen, given, y = case
    whole, once = taught(expert, seen, given, y)
    other = Seen(seen.task.kind)
    pieces, again = taught(expert, other, given, y, cuts=(1, 7, 50))

    assert once.tobytes() == again.tobytes()
    assert bits(whole) == bits(pieces)


def test_rows_that_are_not_learned_change_nothing(case):
    """Of weight 0, or without a label: as if they had not been there."""
    expert, seen, given, y = case
    weights = np.ones(300)
    weights[::5] = 0.0
    y = np.where(np.arange(300) % 7 == 3, np.nan, y)
    learned = (weights > 0) & ~np.isnan(y)
    memory, found = taught(expert, seen, given, y, weights=weights)
    other = Seen(seen.task.kind)
    shown = weights > 0  # without a label, its fields are still seen
    other_inputs = other.inputs(given.take(np.flatnonzero(shown)), y[shown])
    alone, into = held(expert.tensors), predictions(expert, seen, int(shown.sum()))
    expert.learn(alone, other_inputs, into)

    assert found[learned].tobytes() == into[learned[shown]].tobytes()
    assert bits(memory) == bits(alone)


def test_scoring_says_what_learning_would_have_said(case):
    expert, seen, given, y = case
    memory, _ = taught(expert, seen, given, y)
    after = rows(seen, 20, seed=5)
    part = seen.inputs(after, np.full(20, np.nan), np.zeros(20))
    scored, found = predictions(expert, seen, 20), predictions(expert, seen, 20)
    before = bits(memory)
    expert.score(readable(memory), part, scored)
    expert.learn(memory, part, found)

    np.testing.assert_allclose(scored, found, rtol=1e-4, atol=1e-5)
    assert before == bits(memory)


def test_only_flagged_blocks_of_large_tensors_change(case):
    expert, seen, given, y = case
    memory, _ = taught(expert, seen, given.part(0, 100), y[:100])
    before = {name: array.copy() for name, array in memory.at.items()}
    for flags in memory.flags.values():
        flags[:] = 0
    part = seen.inputs(given.part(100, 101), y[100:101])
    expert.learn(memory, part, predictions(expert, seen, 1))

    for name, flags in memory.flags.items():
        changed = (memory.at[name] != before[name]).reshape(-1, 64).any(axis=1)
        assert not (changed & (flags == 0)).any(), name


def test_a_tensor_that_has_a_number_has_no_nan(case):
    """A snapshot takes none, and nothing that is not finite is served."""
    expert, seen, given, y = case
    memory, _ = taught(expert, seen, given, y)

    assert all(np.isfinite(array).all() for array in memory.at.values())


def test_extremes_do_no_harm(case):
    """Huge and constant numbers, one class only, fields that are missing."""
    expert, seen, given, _ = case
    given = copy.copy(given)
    given.numbers = given.numbers.copy()
    given.numbers[:, 0] = 1e12
    given.numbers[::2, 1] = -1e14
    given.numbers[150:, 1] = np.nan
    memory, found = taught(expert, seen, given, np.zeros(300))

    assert np.isfinite(found).all()
    assert all(np.isfinite(array).all() for array in memory.at.values())


def test_a_new_unit_of_a_number_changes_no_prediction():
    for name, one in EXPERTS.items():
        if "number" not in one.fits:
            continue
        seen = Seen("number")
        given = rows(seen, 300)
        expert = one(seen.fields, seen.task)
        memory, _ = taught(expert, seen, given, labels(seen, given))
        part = seen.inputs(rows(seen, 20, seed=5), np.full(20, np.nan), np.zeros(20))
        before, after = predictions(expert, seen, 20), predictions(expert, seen, 20)
        expert.score(memory, part, before)
        ratio, shift = 0.25, 1.5
        expert.rescale(memory, ratio, shift)
        part.x = seen_in(part.x, seen, ratio, shift)
        expert.score(memory, part, after)

        slack = 2e-2 if name == "squares" else 2e-3  # gives back the ridge that was forgotten
        np.testing.assert_allclose(
            after, before * ratio + shift, rtol=slack, atol=slack, err_msg=name
        )


def seen_in(x, seen, ratio, shift):
    """Return inputs whose labels are in another unit."""
    x = x.copy()
    for columns in (seen.fields.lags, seen.fields.keys):
        for c in columns:
            if not (columns is seen.fields.keys and (c - columns.start) % 5 == 2):
                x[:, c] = ratio * x[:, c] + shift
    return x


def test_what_was_learned_stays_when_a_field_is_added(case):
    """Predictions of events without it stay as they were."""
    expert, seen, given, y = case
    assert expert.members
    memory, _ = taught(expert, seen, given, y)
    wider = Seen(
        seen.task.kind, {**FEATURES, "brand": {"type": "category"}, "cost": {"type": "number"}}
    )
    grown = type(expert)(wider.fields, wider.task)
    moved = held(grown.tensors)
    former = {one.name: one for one in expert.tensors}
    for one in grown.tensors:
        if one.name in former and 0 not in one.shape:
            if mark(one) == mark(former[one.name]) and one.shape == former[one.name].shape:
                moved.at[one.name][...] = memory.at[one.name]
            else:
                move(former[one.name], one, memory.at[one.name], moved.at[one.name])
    grown.added(moved)
    before, after = predictions(expert, seen, 20), predictions(grown, wider, 20)
    part = seen.inputs(rows(seen, 20, seed=5), np.full(20, np.nan), np.zeros(20))
    expert.score(memory, part, before)
    grown.score(moved, widened(part, seen, wider), after)
    same = [expert.members.index(m) for m in grown.members if m in expert.members]
    there = [grown.members.index(m) for m in grown.members if m in expert.members]

    close = np.isclose(before[:, same], after[:, there], rtol=1e-3, atol=1e-4).all(axis=(1, 2))
    assert close.mean() > 0.7  # hashed crosses may meet others


def widened(part, seen, wider):
    """Return inputs with more fields: what is new is missing."""
    x = np.zeros((len(part), wider.fields.width), np.float32)
    for at, name in enumerate(wider.fields.columns):
        if name in seen.fields.columns:
            x[:, at] = part.x[:, seen.fields.columns.index(name)]
        elif name.startswith("missing"):
            x[:, at] = 1.0
    ranks = np.full((len(part), wider.fields.numbers), -1.0, np.float32)
    ids = np.zeros((len(part), len(wider.fields.categories)), np.int64)
    before = seen.fields.names
    for at, name in enumerate(wider.fields.names):
        if name not in before:
            continue
        old = before.index(name)
        if at < wider.fields.numbers:
            ranks[:, at] = part.ranks[:, old]
        else:
            ids[:, at - wider.fields.numbers] = part.ids[:, old - seen.fields.numbers]
    other = copy.copy(part)
    other.x, other.ranks, other.ids = x, ranks, ids
    return other


def test_it_learns_something(case):
    """The best member is clearly better than the class shares, or the mean."""
    expert, seen, _, _ = case
    given = rows(seen, 3000, seed=2)
    y = labels(seen, given)
    _, found = taught(expert, seen, given, y, cuts=(256,))
    late, truth = found[1500:].astype(float), y[1500:]
    if seen.task.kind == "number":
        errors = np.abs(late[:, :, 0] - truth[:, None]).mean(axis=0)
        base = np.abs(truth - truth.mean()).mean()
    else:
        p = np.stack([1 - late[..., 0], late[..., 0]], 2) if seen.task.outputs == 1 else late
        right = p[np.arange(len(truth)), :, truth.astype(int)]
        errors = -np.log(np.clip(right, 1e-6, 1)).mean(axis=0)
        shares = np.bincount(truth.astype(int)) / len(truth)
        base = -(shares * np.log(shares)).sum()

    assert errors.min() < base * (1.05 if expert.name == "prior" else 0.9)
