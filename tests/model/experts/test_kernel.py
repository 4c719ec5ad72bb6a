"""The memory of similar rows against plain numpy, and what it must bear."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts import kernel_pass as compiled
from service.model.experts.kernel import Kernel
from service.model.experts.kernel_pass import RING, WIDTHS
from service.model.experts.seam import Task
from tests.model.experts import drawn
from tests.model.experts.pieces import opened

BINARY, NUMBER = Task("binary", 1, 0), Task("number", 1, 0)
THREE = Task("multiclass", 3, 0)


def plainly(key: np.ndarray, categories: int, y: np.ndarray, classes: int) -> np.ndarray:
    """Return the predictions [N, W, C] of every row from those before it."""
    n, split = len(key), key.shape[1] - categories
    out, near = np.empty((n, len(WIDTHS), classes)), 0.0
    for r in range(n):
        before = slice(max(0, r - RING), r)
        if r == 0:
            out[r] = 1 / classes
            continue
        d = ((key[before, :split] - key[r, :split]) ** 2).sum(1)
        d = d + 0.98 * (key[before, split:] != key[r, split:]).sum(1)
        truth = np.eye(classes)[y[before].astype(int)]
        for k, width in enumerate(WIDTHS):
            w = np.exp(-(d - d.min()) / (width * max(near, 1e-6)))
            out[r, k] = (w @ truth + 0.1 / classes) / (w.sum() + 0.1)
        near += max(5e-4, 1 / r) * (d.min() - near)
    return out


def _key(rows: drawn.Inputs, made: drawn.Fields) -> np.ndarray:
    f = made.numbers
    pairs = np.stack([0.7 * rows.x[:, :f], 2.4 * rows.ranks], axis=2).reshape(len(rows), 2 * f)
    return np.concatenate([pairs, rows.ids], axis=1)


@pytest.mark.parametrize(("task", "classes"), [(BINARY, 2), (THREE, 3)])
def test_predictions_are_those_of_a_plain_kernel_smoother(task: Task, classes: int) -> None:
    made = drawn.fields(5, 2, task)
    y = np.random.default_rng(3).integers(0, classes, 300).astype(float)
    rows = drawn.inputs(made, 300, y=y)
    got, _ = drawn.learn(Kernel(made, task), task, rows)
    want = plainly(_key(rows, made), 2, y, classes)
    want = want if classes > 2 else want[:, :, 1:]
    np.testing.assert_allclose(got, want, atol=2e-3)


def test_the_kernel_is_an_exponential_and_its_powers() -> None:
    d = np.linspace(0, 100, RING).astype(np.float32)
    e = np.empty((len(WIDTHS), RING), dtype=np.float32)
    opened(compiled, "closeness").closeness(d, np.float32(0.0), np.float32(0.5), e)
    q = 0.5 * d.astype(float)
    for k, width in enumerate(WIDTHS):
        np.testing.assert_allclose(e[k], np.exp(-q * WIDTHS[0] / width), rtol=6e-3, atol=2e-12)
    assert (e >= np.finfo(np.float32).tiny).all()  # slow numbers below that never come


def test_the_ring_forgets_the_oldest_row() -> None:
    made = drawn.fields(1, 0, BINARY)
    rows = drawn.inputs(made, RING + 1, y=np.r_[1.0, np.zeros(RING)])
    expert = Kernel(made, BINARY)
    _, held = drawn.learn(expert, BINARY, rows)
    out = np.empty((1, 3, 1), dtype=np.float32)
    expert.score(held, drawn.part(rows, 0, 1), out)
    assert (out < 0.1).all()
    np.testing.assert_array_equal(held.at["labels"][0], 1.0)


def test_a_weight_counts_as_so_many_rows() -> None:
    made = drawn.fields(1, 0, BINARY)
    rows = drawn.inputs(made, 2, y=np.array([1.0, 0.0]))
    rows.x[:], rows.ranks[:] = 0.0, 0.5
    rows.weights[0] = 3.0
    expert = Kernel(made, BINARY)
    _, held = drawn.learn(expert, BINARY, rows)
    out = np.empty((1, 3, 1), dtype=np.float32)
    expert.score(held, drawn.part(rows, 0, 1), out)
    np.testing.assert_allclose(out, 3.05 / 4.1, rtol=1e-4)


def test_it_learns_that_inside_and_outside_of_a_ring_differ() -> None:
    made = drawn.fields(2, 0, BINARY)
    rows = drawn.inputs(made, 1500)
    rows.ranks[:] = 1 / (1 + np.exp(-1.7 * rows.x[:, :2]))
    rows.y = ((rows.x[:, :2] ** 2).sum(1) > 1.4).astype(float)
    got, _ = drawn.learn(Kernel(made, BINARY), BINARY, rows)
    assert ((got[500:, :, 0] > 0.5) == rows.y[500:, None]).mean(0).min() > 0.93


def test_the_change_of_a_number_is_learned_beside_its_value() -> None:
    made = drawn.fields(1, 1, NUMBER)
    rows = drawn.inputs(made, 800)
    rows.y = np.cumsum(0.1 * rows.x[:, 0].astype(float))
    rows.ranks[:, 0] = 1 / (1 + np.exp(-1.7 * rows.x[:, 0]))
    rows.x[:, made.lags.start] = np.r_[0.0, rows.y[:-1]]
    expert = Kernel(made, NUMBER)
    got, held = drawn.learn(expert, NUMBER, rows)
    off = np.abs(got[200:, :, 0] - rows.y[200:, None]).mean(0)
    changes = [m.startswith("kernel/change") for m in expert.members]
    assert off[changes].max() < 0.02 < off[np.logical_not(changes)].min()
    assert held.at["bases"][0] == held.at["bases"].min()


def test_another_unit_of_the_number_changes_no_prediction() -> None:
    made = drawn.fields(2, 1, NUMBER)
    rows = drawn.inputs(made, 300, y=np.random.default_rng(5).standard_normal(300))
    expert = Kernel(made, NUMBER)
    _, held = drawn.learn(expert, NUMBER, rows)
    before, after = (np.empty((300, 6, 1), dtype=np.float32) for _ in range(2))
    expert.score(held, rows, before)
    expert.rescale(held, 0.5, 3.0)
    labels = [*made.lags, *(c for i, c in enumerate(made.keys) if i % 5 != 2)]
    rows.x[:, labels] = rows.x[:, labels] * 0.5 + 3.0
    expert.score(held, rows, after)
    np.testing.assert_allclose(after, before * 0.5 + 3.0, atol=1e-4)
