"""What holds for the memory and the forests alike: cuts, rows that are not learned, extremes."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts.forest import Forest
from service.model.experts.kernel import Kernel
from service.model.experts.seam import Expert, Held, Task
from tests.model.experts import drawn
from tests.model.experts.pieces import readable

TASKS = [Task("binary", 1, 0), Task("multiclass", 3, 0), Task("number", 1, 0)]
EXPERTS = [Kernel, Forest]


def _rows(task: Task, n: int, seed: int = 0) -> tuple[drawn.Fields, drawn.Inputs]:
    made = drawn.fields(3, 2, task)
    draw = np.random.default_rng(seed)
    y = (
        draw.standard_normal(n)
        if task.kind == "number"
        else draw.integers(0, task.classes, n) * 1.0
    )
    return made, drawn.inputs(made, n, seed, y)


def _same(a: Held, b: Held) -> None:
    for name in a.at:
        np.testing.assert_array_equal(a.at[name], b.at[name], name)


def _sound(task: Task, expert: Expert, got: np.ndarray, held: Held) -> None:
    assert np.isfinite(got).all()
    assert all(np.isfinite(held.at[t.name]).all() for t in expert.tensors)
    if task.kind != "number":
        assert got.min() >= 0.0
        assert got.max() <= 1.0 + 1e-6
    if task.kind == "multiclass":
        np.testing.assert_allclose(got.sum(2), 1.0, atol=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("of", EXPERTS)
def test_cuts_change_no_bit(of: type[Expert], task: Task) -> None:
    made, rows = _rows(task, 700)
    one, held = drawn.learn(of(made, task), task, rows, 256)
    for cut in (1, 7):
        other, again = drawn.learn(of(made, task), task, rows, cut)
        np.testing.assert_array_equal(one, other)
        _same(held, again)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("of", EXPERTS)
def test_rows_without_weight_or_label_change_nothing(of: type[Expert], task: Task) -> None:
    made, rows = _rows(task, 300)
    idle = np.arange(300) % 3 == 1
    rows.weights[idle & (np.arange(300) % 2 == 0)] = 0.0
    rows.y[idle & (np.arange(300) % 2 == 1)] = np.nan
    one, held = drawn.learn(of(made, task), task, rows)
    keep = np.flatnonzero(~idle)
    few = drawn.Inputs(
        rows.x[keep], rows.ranks[keep], rows.ids[keep], rows.spans[keep], rows.entries,
        rows.values, rows.y[keep], rows.weights[keep],
    )  # fmt: skip
    other, again = drawn.learn(of(made, task), task, few)
    np.testing.assert_array_equal(one[keep], other)
    _same(held, again)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("of", EXPERTS)
def test_learning_predicts_as_scoring_does_and_scoring_changes_nothing(
    of: type[Expert], task: Task
) -> None:
    made, rows = _rows(task, 260)
    expert = of(made, task)
    _, held = drawn.learn(expert, task, drawn.part(rows, 0, 259))
    before = {name: array.copy() for name, array in held.at.items()}
    shape = (1, len(expert.members), task.outputs)
    scored, learned = np.empty(shape, np.float32), np.empty(shape, np.float32)
    last = drawn.part(rows, 259, 260)
    for array in held.at.values():
        array.flags.writeable = False
    expert.score(readable(held), last, scored)
    for name, array in held.at.items():
        np.testing.assert_array_equal(array, before[name])
        array.flags.writeable = True
    expert.learn(held, last, learned)
    np.testing.assert_array_equal(scored, learned)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("of", EXPERTS)
def test_what_changes_is_flagged(of: type[Expert], task: Task) -> None:
    made, rows = _rows(task, 400)
    expert = of(made, task)
    _, held = drawn.learn(expert, task, drawn.part(rows, 0, 300))
    before = {name: held.at[name].copy() for name in held.flags}
    for flags in held.flags.values():
        flags[:] = 0
    into = np.empty((100, len(expert.members), task.outputs), dtype=np.float32)
    expert.learn(held, drawn.part(rows, 300, 400), into)
    for name, flags in held.flags.items():
        moved = (held.at[name] != before[name]).reshape(-1, 64).any(axis=1)
        assert (flags[moved] == 1).all(), name
        assert moved.any()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
@pytest.mark.parametrize("of", EXPERTS)
def test_extremes_are_borne(of: type[Expert], task: Task) -> None:
    made, rows = _rows(task, 300)
    rows.x[:] = 8.0
    rows.ranks[::3] = -1.0
    rows.y[:] = 1e6 if task.kind == "number" else 1.0
    rows.weights[::5] = 1e-3
    rows.weights[::7] = 1e3
    expert = of(made, task)
    _sound(task, expert, *drawn.learn(expert, task, rows)[:1], drawn.learn(expert, task, rows)[1])
    rows.x[:, ::2] = np.random.default_rng(1).choice([-8.0, 0.0, 8.0], rows.x[:, ::2].shape)
    got, held = drawn.learn(expert, task, rows)
    _sound(task, expert, got, held)
    none = drawn.fields(0, 0, task)
    got, held = drawn.learn(of(none, task), task, drawn.inputs(none, 50, y=rows.y[:50]))
    _sound(task, of(none, task), got, held)
    rows.y[:] = np.nan
    got, held = drawn.learn(expert, task, rows)
    _sound(task, expert, got, held)
