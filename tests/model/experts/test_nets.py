"""The banks of small nets: against a plain reference, however rows are cut, and at the edges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from service.model.codes import mixed
from service.model.experts.nets import AGAIN, MOST_INPUTS, NARROW, ONCE, RING, WIDE, Nets
from service.model.experts.seam import BLOCK, Held, Inputs, Task
from tests.model.experts.plain_nets import PlainBank
from tests.model.experts.rows import fields as named_fields

BINARY = Task("binary", 1, 0)
CLASSES = Task("multiclass", 4, 0)
NUMBER = Task("number", 1, 0)
TASKS = [BINARY, CLASSES, NUMBER]


def fields_of(numbers=3, categories=1, task=BINARY, plain=1):
    keys = categories * 5 if task.kind != "multiclass" else 0
    lags = 3 * (task.classes if task.kind == "multiclass" else 1)
    widths = [numbers, numbers, plain, categories * 32, numbers * 3, numbers * 4, keys, lags]
    ends = np.cumsum([0, *widths]).tolist()
    spans: list[Any] = [range(a, b) for a, b in pairwise(ends)]
    z, missing, flat, one_hot, context, pieces, by_key, before = spans
    return named_fields(
        numbers, (1000,) * categories, z, missing, flat, one_hot, context, pieces, by_key, before,
        ends[-1],
    )  # fmt: skip


def rows_of(fields, task, n, seed=0):
    """Return rows whose label says where two inputs lie, with one value of each category."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, fields.width)).astype(np.float32)
    x[:, fields.missing] = 0.0
    x[:, fields.one_hot] = 0.0
    for c in range(len(fields.categories)):
        x[np.arange(n), fields.one_hot.start + c * 32 + draw.integers(0, 5, n)] = 1.0
    if fields.numbers > 1:
        right, up = x[:, 0] > 0, x[:, 1] > 0
    else:
        right = up = draw.random(n) < 0.7
    y = {
        "binary": (right != up).astype(float),
        "multiclass": (2.0 * right + up) % max(task.classes, 1),
        "number": 2.0 * (right != up) - 1.0,
    }[task.kind]
    nothing = np.zeros((n, 0))
    return Inputs(
        x, nothing.astype(np.float32), nothing.astype(np.int64), nothing.astype(np.int64),
        np.zeros(0, np.int64), np.zeros(0, np.float32), y, np.ones(n),
    )  # fmt: skip


def part(rows, chosen):
    return Inputs(
        rows.x[chosen], rows.ranks[chosen], rows.ids[chosen], rows.spans[chosen], rows.entries,
        rows.values, rows.y[chosen], rows.weights[chosen],
    )  # fmt: skip


def held_of(expert):
    at, flags = {}, {}
    for tensor in expert.tensors:
        view = np.empty(tensor.shape, tensor.dtype)
        view[...] = tensor.initial
        at[tensor.name] = view
        if tensor.large:
            assert view.size % BLOCK == 0
            flags[tensor.name] = np.zeros(view.size // BLOCK, np.uint8)
    return Held(at, flags)


def learn(expert, held, rows):
    into = np.full((len(rows), len(expert.members), _outputs(expert, held)), np.nan, np.float32)
    expert.learn(held, rows, into)
    return into


def score(expert, held, rows):
    into = np.full((len(rows), len(expert.members), _outputs(expert, held)), np.nan, np.float32)
    expert.score(held, rows, into)
    return into


def _outputs(expert, held):
    return held.at["wide_bias"].shape[0]


def bits(held):
    return {name: view.tobytes() for name, view in held.at.items()}


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_the_passes_give_what_a_plain_reference_gives(task):
    fields = fields_of(task=task)
    expert, rows = Nets(fields, task), rows_of(fields, task, 60)
    rows.weights[::7] = 2.5
    held = held_of(expert)
    columns = expert._columns
    few = expert._few
    banks = [
        PlainBank(held, "narrow", NARROW, ONCE[0], task, few),
        PlainBank(held, "wide", WIDE, ONCE[1], task, len(columns)),
    ]
    wanted = []
    seen: list[Any] = []
    for r in range(len(rows)):
        x, y, weight = rows.x[r, columns].astype(float), rows.y[r], rows.weights[r]
        wanted.append([b.forward(net, x[: b.d])[1] for b in banks for net in b.nets])
        rate = max(1 / (r + 1), 0.01)
        lost = []
        for b in banks:
            lost.append(b.step(x[: b.d], y, weight, rate, False))
        for k in range(AGAIN if r >= 8 else 0):
            back = int(mixed(np.uint64(r * AGAIN + k)) % np.uint64(min(r, RING)))
            old = seen[r - 1 - back]
            for b in banks:
                b.step(old[0][: b.d], old[1], old[2], rate, True)
        for b, losses in zip(banks, lost, strict=True):
            b.hand_down(losses)
        seen.append((x, y, weight))
    np.testing.assert_allclose(learn(expert, held, rows), np.array(wanted), atol=1e-3)
    for b, name in zip(banks, ("narrow", "wide"), strict=True):
        got = held.at[f"{name}_first"][: b.d + 1]
        np.testing.assert_allclose(got, np.hstack([net["w"] for net in b.nets]), atol=5e-3)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_how_rows_are_cut_changes_no_bit(task):
    fields = fields_of(task=task)
    expert, rows = Nets(fields, task), rows_of(fields, task, 300)
    rows.weights[5::11], rows.y[3::13] = 0.0, np.nan
    whole = held_of(expert)
    wanted = learn(expert, whole, rows)
    for size in (1, 7, 256):
        held = held_of(expert)
        got = [
            learn(expert, held, part(rows, slice(i, i + size))) for i in range(0, 300, size)
        ]  # fmt: skip
        assert np.concatenate(got).tobytes() == wanted.tobytes()
        assert bits(held) == bits(whole)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_rows_without_weight_or_label_change_nothing(task):
    fields = fields_of(task=task)
    expert, rows = Nets(fields, task), rows_of(fields, task, 100)
    held = held_of(expert)
    learn(expert, held, rows)
    before = bits(held)
    for flags in held.flags.values():
        flags[:] = 0
    rows.weights[::2], rows.y[1::2] = 0.0, np.nan
    learned = learn(expert, held, rows)
    assert bits(held) == before
    assert not any(flags.any() for flags in held.flags.values())
    assert learned.tobytes() == score(expert, held, rows).tobytes()


def test_a_large_tensor_changes_only_where_its_flags_are_set():
    fields = fields_of(categories=3)
    expert, rows = Nets(fields, BINARY), rows_of(fields, BINARY, 40)
    held = held_of(expert)
    for lo, hi in ((0, 30), (30, 31), (31, 40)):
        before = {name: held.at[name].copy() for name in held.flags}
        for flags in held.flags.values():
            flags[:] = 0
        learn(expert, held, part(rows, slice(lo, hi)))
        for name, flags in held.flags.items():
            moved = (before[name] != held.at[name]).reshape(-1, BLOCK).any(axis=1)
            assert moved.any()
            assert not (moved & (flags == 0)).any()
    assert held.flags["wide_first"].mean() < 1.0  # most values of a category were not there


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_two_inputs_that_only_tell_together_are_learned(task):
    fields = fields_of(categories=0, task=task)
    expert, rows = Nets(fields, task), rows_of(fields, task, 1500)
    p = learn(expert, held_of(expert), rows)[-400:].astype(float)
    y = rows.y[-400:]
    if task.kind == "number":
        error = np.abs(p[:, :, 0] - y[:, None]).mean(axis=0)
        assert error.min() < 0.5  # the best constant has 1.0
        return
    said = (p[:, :, 0] > 0.5) if task.kind == "binary" else p.argmax(axis=2)
    assert (said == y[:, None]).mean(axis=0).max() > 0.9
    assert (said == y[:, None]).mean(axis=0).min() > 0.75


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("case", ["constant", "huge", "not finite", "one label", "no labels"])
def test_predictions_are_finite_at_the_edges(task, case):
    fields = fields_of(task=task)
    expert, rows = Nets(fields, task), rows_of(fields, task, 200)
    if case == "constant":
        rows.x[:] = 1.0
    elif case == "huge":
        rows.x[50:] *= 1e20
        if task.kind == "number":
            rows.y[60:] *= 1e200
        rows.weights[70:] = 1e30
    elif case == "not finite":
        rows.x[50::3], rows.x[51::3] = np.inf, np.nan
    elif case == "one label":
        rows.y[:] = 1.0
    else:
        rows.y[:] = np.nan
    held = held_of(expert)
    p = np.concatenate([learn(expert, held, rows), score(expert, held, rows)])
    assert np.isfinite(p).all()
    assert all(np.isfinite(view).all() for view in held.at.values())
    if task.kind != "number":
        assert (p >= 0).all()
        assert (p <= 1).all()
    if task.kind == "multiclass":
        np.testing.assert_allclose(p.sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("numbers", "categories", "task"),
    [
        (0, 0, BINARY), (0, 2, NUMBER), (1, 0, BINARY), (100, 0, BINARY), (300, 80, NUMBER),
        (5, 12, Task("multiclass", 200, 0)),
    ],
)  # fmt: skip
def test_any_number_of_fields_and_classes_is_learned(numbers, categories, task):
    fields = fields_of(numbers, categories, task, plain=0)
    expert, rows = Nets(fields, task), rows_of(fields, task, 30)
    p = learn(expert, held_of(expert), rows)
    assert np.isfinite(p).all()
    rare = {*fields.one_hot, *fields.missing}
    assert len([c for c in expert._columns if c not in rare]) <= MOST_INPUTS
    assert len(set(expert._columns.tolist())) == len(expert._columns)


def test_a_slow_net_is_replaced_by_a_faster_one_that_is_better():
    fields = fields_of(categories=0)
    expert, rows = Nets(fields, BINARY), rows_of(fields, BINARY, 1200)
    held = held_of(expert)
    learn(expert, held, rows)
    before = held.at["narrow_compared"][0, 2]
    rows.y[:] = 1.0 - rows.y  # the world turns round; the slow one is late
    learn(expert, held, rows)
    assert held.at["narrow_compared"][0, 2] < before + len(rows)


def test_each_net_begins_with_weights_of_its_own_and_says_nothing():
    fields = fields_of()
    expert = Nets(fields, BINARY)
    held = held_of(expert)
    first = held.at["narrow_first"]
    assert not np.array_equal(first[:, :32], first[:, 32:64])
    assert (score(expert, held, rows_of(fields, BINARY, 3)) == 0.5).all()
    again = held_of(Nets(fields, BINARY))
    assert bits(again) == bits(held)
    assert bits(held_of(Nets(fields, Task("binary", 1, 1)))) != bits(held)
