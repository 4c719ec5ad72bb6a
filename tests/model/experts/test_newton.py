"""Newton's method for classes, held against the same in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts.newton import EVERY, KEEPS, RIDGES, Newton
from service.model.experts.newton_pass import LEAST
from service.model.experts.seam import Task
from tests.model.experts.solving import bits, drawn, fields_of, held_of, inputs, learned

TASKS = {
    "binary": Task("binary", 1, 0),
    "multiclass": Task("multiclass", 3, 0),
    "many": Task("multiclass", 100, 0),
}


def case(kind: str, n: int, numbers: int = 3, categories: int = 1, seed: int = 0):
    """Return an expert, its task and rows whose label follows two columns."""
    task = TASKS[kind]
    fields = fields_of(numbers, categories, task.classes)
    x = drawn(fields, n, seed)
    score = 2.0 * x[:, fields.plain.start] + x[:, fields.plain.start + 1]
    y = np.digitize(score, [0.0] if kind == "binary" else np.linspace(-2, 2, task.classes - 1))
    return Newton(fields, task), task, inputs(x, y.astype(float))


def right(found, y):
    """Return the share of right answers of each member in the second half."""
    half = found[len(y) // 2 :]
    guess = half[:, :, 0] > 0.5 if found.shape[2] == 1 else half.argmax(axis=2)
    return (guess == y[len(y) // 2 :, None]).mean(axis=0)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_rows_are_learned_as_plain_numpy_learns_them(kind):
    """One memory of the smaller set, in float64, with the inverse computed anew at each row."""
    expert, task, rows = case(kind, 120, categories=0)
    rows.weights[:] = np.random.default_rng(5).uniform(0.2, 3.0, 120)
    _, found = learned(expert, task, rows, 120)

    own = slice(0, expert._sets[0].tensors[0].shape[0] - 1)
    x = np.column_stack((np.ones(120), rows.x[:, own])).astype(float)
    times, k = (1.0 if kind == "binary" else 2.0), 1
    whole = np.eye(x.shape[1]) * RIDGES[0][k] * times
    weights = np.zeros((x.shape[1], task.outputs))
    for r in range(120):
        z = x[r] @ weights
        if kind == "binary":
            p = 1.0 / (1.0 + np.exp(-z))
            truth, h = rows.y[r], max((p * (1.0 - p))[0], LEAST)
        else:
            p = np.exp(z) / np.exp(z).sum()
            truth = np.arange(3) == rows.y[r]
            h = 0.75 * max((p * (1.0 - p)).sum(), 2.0 * LEAST)
        np.testing.assert_allclose(found[r, k], p, atol=2e-3)
        whole += rows.weights[r] * h * np.outer(x[r], x[r])
        gain = rows.weights[r] * np.linalg.solve(whole, x[r])
        weights += np.outer(gain, truth - p)
        whole *= KEEPS[k]


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_cuts_change_no_bit(kind):
    expert, task, rows = case(kind, EVERY + 90)
    whole, found = learned(expert, task, rows, len(rows))

    for size in (1, 7, 256):
        held, again = learned(expert, task, rows, size)
        assert bits(held) == bits(whole)
        np.testing.assert_array_equal(again, found)


def test_rows_without_weight_or_label_change_nothing():
    expert, task, rows = case("binary", 200)
    idle = np.arange(200) % 3 == 0
    rows.weights[idle & (np.arange(200) % 2 == 0)] = 0.0
    rows.y[idle & (np.arange(200) % 2 == 1)] = np.nan

    held, found = learned(expert, task, rows, 50)
    other, _ = learned(expert, task, inputs(rows.x[~idle], rows.y[~idle]), 50)

    assert bits(held) == bits(other)
    assert np.isfinite(found).all()


def test_scoring_says_what_learning_said_and_changes_nothing():
    for kind in ("binary", "multiclass"):
        expert, task, rows = case(kind, 100)
        held, _ = learned(expert, task, rows, 100)
        before, next_row = bits(held), inputs(rows.x[:1], rows.y[:1])
        into = np.empty((1, len(expert.members), task.outputs), np.float32)

        expert.score(held, next_row, into)

        assert bits(held) == before
        np.testing.assert_array_equal(into, learned(expert, task, next_row, 1, held)[1])


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_a_threshold_is_learned(kind):
    expert, task, rows = case(kind, 1200)
    _, found = learned(expert, task, rows, 256)

    assert (right(found, rows.y) > (0.93 if kind == "binary" else 0.8)).all()


def test_the_shortest_memory_follows_a_change():
    expert, task, rows = case("binary", 3000)
    rows.y[1500:] = 1.0 - rows.y[1500:]
    _, found = learned(expert, task, rows, 256)

    soon = ((found[1800:2200, :, 0] > 0.5) == rows.y[1800:2200, None]).mean(axis=0)
    assert soon[2] > 0.9
    assert soon[2] > soon[0] + 0.1


@pytest.mark.parametrize(
    ("kind", "numbers", "categories"),
    [
        ("binary", 0, 0),
        ("binary", 100, 0),
        ("binary", 3, 12),
        ("many", 5, 3),
        ("multiclass", 100, 2),
    ],
)
def test_any_number_of_fields_and_classes_is_served(kind, numbers, categories):
    expert, task, rows = case(kind, 60, numbers, categories)
    held, found = learned(expert, task, rows, 25)

    assert np.isfinite(found).all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    if task.outputs > 1:
        np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-5)
    assert all(np.isfinite(one).all() for one in held.at.values())


@pytest.mark.parametrize("what", ["constant", "huge", "one class", "no labels", "heavy", "zero"])
def test_extremes_leave_numbers(what):
    expert, task, rows = case("binary", 700)
    if what == "constant":
        rows.x[:] = rows.x[0]
    if what == "huge":
        rows.x *= np.float32(1e20)
    if what == "one class":
        rows.y[:] = 1.0
    if what == "no labels":
        rows.y[:] = np.nan
    if what == "heavy":
        rows.weights[:] = 1e30
    if what == "zero":
        rows.x[:] = 0.0
    held, found = learned(expert, task, rows, 100)

    assert np.isfinite(found).all()
    assert all(np.isfinite(one).all() for one in held.at.values())
    if what == "one class":
        assert (found[-1] > 0.95).all()
    if what == "no labels":
        assert bits(held) == bits(held_of(expert.tensors))
