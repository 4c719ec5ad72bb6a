"""The factors of categories: against a plain reference, however rows are cut, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts import factors_pass
from service.model.experts.factors import Factors
from service.model.experts.factors_pass import (
    BEGIN,
    BIASES,
    CONSTANT_MEMORY,
    FACTORS,
    HUBER,
    MEMORY,
    SETTINGS,
    WIDTH,
)
from service.model.experts.seam import BLOCK, Held, Inputs, Task
from tests.model.experts.pieces import opened
from tests.model.experts.rows import fields as named_fields

pieces = opened(factors_pass, "begin")

BINARY, NUMBER = Task("binary", 1, 0), Task("number", 1, 0)
TASKS = [BINARY, NUMBER]


def fields_of(*rows):
    none = range(0)
    return named_fields(0, rows, none, none, none, none, none, none, none, none, 0)


def rows_of(task, n, sizes, seed=0):
    """Return rows whose label is said by the pair of the first two values, and by neither alone."""
    draw = np.random.default_rng(seed)
    ids = np.array([draw.integers(1, size, n) for size in sizes]).reshape(len(sizes), n).T
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    same = (ids[:, :2] % 2).sum(axis=1) % 2 == 0 if len(sizes) > 1 else draw.random(n) < 0.5
    y = same.astype(float) if task.kind == "binary" else 2.0 * same - 1.0
    nothing = np.zeros((n, 0))
    return Inputs(
        nothing.astype(np.float32), nothing.astype(np.float32), ids, nothing.astype(np.int64),
        np.zeros(0, np.int64), np.zeros(0, np.float32), y, np.ones(n),
    )  # fmt: skip


def part(rows, chosen):
    return Inputs(
        rows.x[chosen], rows.ranks[chosen], rows.ids[chosen], rows.spans[chosen], rows.entries,
        rows.values, rows.y[chosen], rows.weights[chosen],
    )  # fmt: skip


def held_of(expert):
    at = {t.name: np.full(t.shape, t.initial, t.dtype) for t in expert.tensors}
    flags = {
        t.name: np.zeros(at[t.name].size // BLOCK, np.uint8) for t in expert.tensors if t.large
    }
    return Held(at, flags)


def learn(expert, held, rows):
    into = np.full((len(rows), len(expert.members), 1), np.nan, np.float32)
    expert.learn(held, rows, into)
    return into


def score(expert, held, rows):
    into = np.full((len(rows), len(expert.members), 1), np.nan, np.float32)
    expert.score(held, rows, into)
    return into


def bits(held):
    return {name: view.tobytes() for name, view in held.at.items()}


def begun(sizes):
    """Return the factors that values begin with, [values, members - 1, WIDTH]."""
    rows = np.zeros((sum(sizes), BLOCK), np.float32)
    for place, row in enumerate(rows):
        pieces.begin(row, np.uint64(place))
    end = FACTORS + (len(SETTINGS) - 1) * WIDTH
    return rows[:, FACTORS:end].astype(float).reshape(len(rows), -1, WIDTH)


def one_member(task, k, rows, sizes, first):
    """Return the predictions of member k, learned row by row in float64. first: [values, WIDTH]."""
    m, rate, memory = SETTINGS[k]
    bend = 0.25 if task.kind == "binary" else 1.0
    v, b, seen = first.copy(), np.zeros(sum(sizes)), np.zeros(sum(sizes))
    constant, count, said = 0.0, 0.0, []
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for r in range(len(rows)):
        at = starts + rows.ids[r]

        def output(old, at=at, constant=constant):
            mine = v[at] * old[:, None] * (k > 0)
            z = constant + b[at].sum() + (mine.sum(0) ** 2 - (mine**2).sum(0)).sum() / 2
            return (1 / (1 + np.exp(-z)) if task.kind == "binary" else z), mine.sum(0)

        said.append(output(seen[at] > 0)[0])
        weight = rows.weights[r]
        p, total = output(np.ones(len(at)))
        seen[at] = np.minimum(seen[at] + weight, MEMORY)
        count = min(count + weight, CONSTANT_MEMORY)
        e = p - rows.y[r]
        g = weight * (e if task.kind == "binary" else np.clip(e, -HUBER, HUBER))
        rates = 1 / (bend * np.minimum(seen[at], memory) + m)
        top = 1 / (bend * count + m)
        g /= max(1.0, (rates.sum() + top) * weight * bend)
        constant -= g * top
        b[at] -= g * rates
        v[at] -= rate * g / np.sqrt(seen[at])[:, None] * (total - v[at])
    return np.array(said)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_the_passes_give_what_a_plain_reference_gives(task):
    sizes = (5, 7, 4)
    expert, rows = Factors(fields_of(*sizes), task), rows_of(task, 200, sizes)
    rows.weights[::3] = 2.5
    got = learn(expert, held_of(expert), rows)
    first = begun(sizes)
    assert abs(first.std() - BEGIN) < 0.005
    for k in range(len(SETTINGS)):
        wanted = one_member(task, k, rows, sizes, first[:, max(k - 1, 0)])
        np.testing.assert_allclose(got[:, k, 0], wanted, atol=1e-4)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_how_rows_are_cut_changes_no_bit(task):
    sizes = (50, 30)
    expert, rows = Factors(fields_of(*sizes), task), rows_of(task, 300, sizes)
    rows.weights[5::11], rows.y[3::13] = 0.0, np.nan
    whole = held_of(expert)
    wanted = learn(expert, whole, rows)
    for size in (1, 7, 256):
        held = held_of(expert)
        got = [learn(expert, held, part(rows, slice(i, i + size))) for i in range(0, 300, size)]
        assert np.concatenate(got).tobytes() == wanted.tobytes()
        assert bits(held) == bits(whole)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_rows_without_weight_or_label_change_nothing(task):
    sizes = (50, 30)
    expert, rows = Factors(fields_of(*sizes), task), rows_of(task, 100, sizes)
    held = held_of(expert)
    learn(expert, held, rows)
    before = bits(held)
    held.flags["values"][:] = 0
    rows.ids[::5] = 49, 29
    rows.weights[::2], rows.y[1::2] = 0.0, np.nan
    learned = learn(expert, held, rows)
    assert bits(held) == before
    assert not held.flags["values"].any()
    assert learned.tobytes() == score(expert, held, rows).tobytes()


def test_only_the_values_of_a_row_change_and_their_flags_are_set():
    expert, rows = Factors(fields_of(50, 30), NUMBER), rows_of(NUMBER, 20, (50, 30))
    held = held_of(expert)
    learn(expert, held, rows)
    moved = held.at["values"].reshape(-1, BLOCK).any(axis=1)
    assert moved.sum() == len(set(rows.ids[:, 0])) + len(set(rows.ids[:, 1]))
    assert (moved == (held.flags["values"] > 0)).all()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_a_pair_that_says_what_neither_value_says_is_learned(task):
    sizes = (9, 9)
    expert, rows = Factors(fields_of(*sizes), task), rows_of(task, 4000, sizes)
    p = learn(expert, held_of(expert), rows)[-500:, :, 0].astype(float)
    y = rows.y[-500:, None]
    middle = 0.5 if task.kind == "binary" else 0.0
    right = ((p > middle) == (y > middle)).mean(axis=0)
    assert right[0] < 0.65  # biases alone cannot
    assert right[1:].min() > 0.9


def test_the_mean_of_a_value_is_learned_by_biases_alone():
    expert, rows = Factors(fields_of(9, 2), NUMBER), rows_of(NUMBER, 500, (9, 2))
    rows.y[:] = rows.ids[:, 0] * 0.25
    p = learn(expert, held_of(expert), rows)[-100:, 0, 0]
    assert np.abs(p - rows.y[-100:]).mean() < 0.05


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("case", ["huge", "one label", "no labels", "all missing", "many"])
def test_predictions_are_finite_at_the_edges(task, case):
    sizes = (5,) * 20 if case == "many" else (100_000, 5)
    expert, rows = Factors(fields_of(*sizes), task), rows_of(task, 300, sizes)
    if case == "huge":
        rows.weights[::2] = 1e30
        if task.kind == "number":
            rows.y[::3] = 1e200
    elif case == "one label":
        rows.y[:] = 1.0
    elif case == "no labels":
        rows.y[:] = np.nan
    elif case == "all missing":
        rows.ids[:] = 0
    held = held_of(expert)
    p = np.concatenate([learn(expert, held, rows), score(expert, held, rows)])
    assert np.isfinite(p).all()
    assert all(np.isfinite(view).all() for view in held.at.values())
    if task.kind == "binary":
        assert (p >= 0).all()
        assert (p <= 1).all()


def test_of_one_category_alone_it_has_nothing_to_say():
    assert Factors(fields_of(9), NUMBER).members == ()
    assert Factors(fields_of(), BINARY).members == ()
    assert BIASES + len(SETTINGS) <= FACTORS
