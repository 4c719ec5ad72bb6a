"""Least squares with forgetting for numbers."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts.seam import Task
from service.model.experts.squares import EVERY, Squares
from tests.model.experts.solving import bits, drawn, fields_of, held_of, inputs, learned

TASK = Task("number", 1, 0)


def case(n: int, numbers: int = 3, categories: int = 1, seed: int = 0):
    """Return an expert and rows whose label is a sum of two columns and a little noise."""
    fields = fields_of(numbers, categories, 0)
    x = drawn(fields, n, seed)
    noise = 0.05 * np.random.default_rng(seed + 1).normal(size=n)
    y = 0.3 + 0.8 * x[:, fields.plain.start] - 0.5 * x[:, fields.plain.start + 1] + noise
    x[1:, fields.lags.start] = y[:-1]
    return Squares(fields, TASK), fields, inputs(x, y.astype(float))


def off(expert, found, y):
    """Return the mean absolute error of each member in the last third."""
    last = slice(2 * len(y) // 3, None)
    errors = np.abs(found[last, :, 0] - y[last, None]).mean(axis=0)
    return dict(zip(expert.members, errors.tolist(), strict=True))


def test_the_weights_are_those_of_the_ridge_regression():
    """While no error is large: the longest memory of the smaller set, solved at once by numpy."""
    expert, _, rows = case(EVERY, categories=0)
    rows.y[:] *= 0.1
    held, _ = learned(expert, TASK, rows, EVERY)

    order = held.at["plain_order"][: int(held.at["plain_counts"][0])]
    x = np.column_stack([np.ones(EVERY) if c < 0 else rows.x[:, c] for c in order]).astype(float)
    moments = x.T @ x + np.eye(len(order))
    expected = np.linalg.solve(moments, x.T @ rows.y)
    np.testing.assert_allclose(held.at["plain_weights"][0, : len(order)], expected, atol=2e-3)


def test_cuts_change_no_bit():
    expert, _, rows = case(EVERY + 90)
    whole, found = learned(expert, TASK, rows, len(rows))

    for size in (1, 7, 256):
        held, again = learned(expert, TASK, rows, size)
        assert bits(held) == bits(whole)
        np.testing.assert_array_equal(again, found)


def test_rows_without_weight_or_label_change_nothing():
    expert, _, rows = case(200)
    idle = np.arange(200) % 3 == 0
    rows.weights[idle & (np.arange(200) % 2 == 0)] = 0.0
    rows.y[idle & (np.arange(200) % 2 == 1)] = np.nan

    held, found = learned(expert, TASK, rows, 50)
    other, _ = learned(expert, TASK, inputs(rows.x[~idle], rows.y[~idle]), 50)

    assert bits(held) == bits(other)
    assert np.isfinite(found).all()


def test_scoring_says_what_learning_said_and_changes_nothing():
    expert, _, rows = case(100)
    held, _ = learned(expert, TASK, rows, 100)
    before, next_row = bits(held), inputs(rows.x[:1], rows.y[:1])
    into = np.empty((1, len(expert.members), 1), np.float32)

    expert.score(held, next_row, into)

    assert bits(held) == before
    np.testing.assert_array_equal(into, learned(expert, TASK, next_row, 1, held)[1])


def test_a_sum_is_learned_by_every_linear_member():
    expert, _, rows = case(900)
    _, found = learned(expert, TASK, rows, 256)

    errors = off(expert, found, rows.y)
    kinds = {name: name.split("/")[1] for name in errors}
    assert max(e for name, e in errors.items() if kinds[name] in {"plain", "all"}) < 0.06
    assert max(e for name, e in errors.items() if kinds[name] == "change") < 0.25
    assert errors["squares/last"] > 0.8


def test_wild_labels_do_little_harm():
    expert, _, rows = case(900)
    _, clean = learned(expert, TASK, rows, 256)
    wild = inputs(rows.x, rows.y.copy())
    wild.y[100::50] = 30.0
    _, found = learned(expert, TASK, wild, 256)

    plain = expert.members.index("squares/plain/0.9999")
    moved = np.abs(found[600:, plain, 0] - clean[600:, plain, 0]).mean()
    assert moved < 0.3  # the mean moves by 0.6


def test_changes_count_from_the_last_label_at_once():
    """The label is a walk: changes have little to learn, values that the last label matters."""
    fields = fields_of(2, 0, 0)
    draw = np.random.default_rng(3)
    y = np.cumsum(0.1 * draw.normal(size=600))
    x = drawn(fields, 600)
    x[:, [*fields.lags]] = 0.0
    x[1:, fields.lags.start] = y[:-1]
    expert = Squares(fields, TASK)
    _, found = learned(expert, TASK, inputs(x, y), 256)

    errors, first = off(expert, found, y), np.abs(found[1:40, :, 0] - y[1:40, None]).mean(axis=0)
    change, full = (expert.members.index(f"squares/{one}/0.9999") for one in ("change", "all"))
    assert first[change] < first[full]
    assert errors["squares/change/0.9999"] < 1.1 * errors["squares/last"]
    assert errors["squares/last"] < 0.1


def test_the_last_label_of_a_key_is_found_where_it_is_nearer():
    fields = fields_of(1, 2, 0)
    draw = np.random.default_rng(4)
    shops = draw.integers(0, 5, 500)
    y = shops.astype(float) + 0.01 * draw.normal(size=500)
    x = drawn(fields, 500)
    x[:, [*fields.lags, *fields.keys]] = 0.0
    known = np.zeros(5)
    for r in range(500):
        x[r, fields.lags.start] = y[r - 1] if r else 0.0
        x[r, fields.keys.start + 5] = known[shops[r]]
        known[shops[r]] = y[r]
    expert = Squares(fields, TASK)
    _, found = learned(expert, TASK, inputs(x, y), 256)

    errors = off(expert, found, y)
    assert errors["squares/last"] < 0.05
    assert errors["squares/near"] < 0.05
    assert errors["squares/change/0.9999"] < 0.1


def test_predictions_stay_near_the_range_of_the_labels():
    expert, _, rows = case(300)
    held, _ = learned(expert, TASK, rows, 300)
    far = inputs(rows.x[:1] * np.float32(1e6), rows.y[:1])
    into = np.empty((1, len(expert.members), 1), np.float32)

    expert.score(held, far, into)

    low, high = rows.y.min(), rows.y.max()
    assert into.min() >= low - 0.11 * (high - low)
    assert into.max() <= high + 0.11 * (high - low)


@pytest.mark.parametrize(("numbers", "categories"), [(0, 0), (100, 0), (3, 12), (100, 3)])
def test_any_number_of_fields_is_served(numbers, categories):
    expert, _, rows = case(60, numbers, categories)
    held, found = learned(expert, TASK, rows, 25)

    assert np.isfinite(found).all()
    assert all(np.isfinite(one).all() for one in held.at.values())


@pytest.mark.parametrize("what", ["constant", "huge", "huge labels", "no labels", "heavy", "still"])
def test_extremes_leave_numbers(what):
    expert, _, rows = case(700)
    if what == "constant":
        rows.x[:] = rows.x[0]
    if what == "huge":
        rows.x *= np.float32(1e20)
    if what == "huge labels":
        rows.y[::2] = 1e300
    if what == "no labels":
        rows.y[:] = np.nan
    if what == "heavy":
        rows.weights[:] = 1e30
    if what == "still":
        rows.y[:] = 0.0
    held, found = learned(expert, TASK, rows, 100)

    assert np.isfinite(found).all()
    assert all(np.isfinite(one).all() for one in held.at.values())
    if what == "no labels":
        assert bits(held) == bits(held_of(expert.tensors))
