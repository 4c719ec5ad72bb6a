"""The forests: trees against plain numpy, borders, renewal, and what they must bear."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from service.model.experts import forest_grow_pass, forest_pass
from service.model.experts.forest import Forest, borders
from service.model.experts.forest_bins_pass import BINS
from service.model.experts.seam import Task
from tests.model.experts import drawn
from tests.model.experts.pieces import opened

BINARY, NUMBER = Task("binary", 1, 0), Task("number", 1, 0)
THREE = Task("multiclass", 3, 0)


pieces = SimpleNamespace(
    **vars(opened(forest_pass, "walk")), **vars(opened(forest_grow_pass, "grow"))
)


def _tree(
    kind: int, codes: np.ndarray, y: np.ndarray, outputs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges of codes, splits and leaves of a tree of all rows and columns."""
    edges = np.zeros((codes.shape[1], BINS), dtype=np.float32)
    edges[:, : BINS - 1], edges[:, -1] = np.arange(BINS - 1) + 0.5, BINS - 1
    splits = np.zeros((2048, 4), dtype=np.float32)
    leaves = np.zeros((1024, 1 + outputs), dtype=np.float32)
    nodes, ends = pieces.grow(
        kind, codes, y, np.ones(len(y)), len(y), edges, np.arange(codes.shape[1]), 2,
        np.full(outputs, 1 / max(outputs, 2)), splits, leaves,
    )  # fmt: skip
    return edges, splits[:nodes], leaves[:ends]


def _best(codes: np.ndarray, truth: np.ndarray) -> float:
    """Return the least sum of squares that one split leaves. truth: [N, C]."""
    found = np.inf
    for f in range(codes.shape[1]):
        for border in range(BINS - 1):
            low = codes[:, f] <= border
            if 0 < low.sum() < len(low):
                parts = (truth[low], truth[~low])
                found = min(found, sum(((t - t.mean(0)) ** 2).sum() for t in parts))
    return found


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_each_split_is_the_best_there_is(kind: int) -> None:
    draw = np.random.default_rng(kind)
    codes = draw.integers(0, BINS, (200, 5)).astype(np.uint8)
    y = draw.standard_normal(200) if kind == 2 else draw.integers(0, 3 if kind else 2, 200) * 1.0
    truth = np.eye(3)[y.astype(int)] if kind == 1 else y[:, None]
    _, splits, _ = _tree(kind, codes, y, 3 if kind == 1 else 1)
    nodes, checked = [(0, np.arange(200))], 0
    while nodes:
        node, mine = nodes.pop()
        if splits[node, 0] == 0:
            continue
        column, first = int(splits[node, 0]) - 1, int(splits[node, 2])
        low = codes[mine, column] <= splits[node, 1]
        parts = (truth[mine[low]], truth[mine[~low]])
        left = sum(((t - t.mean(0)) ** 2).sum() for t in parts)
        assert left <= _best(codes[mine], truth[mine]) + 1e-3
        nodes += [(first, mine[low]), (first + 1, mine[~low])]
        checked += 1
    assert checked > 20


def test_a_leaf_is_drawn_towards_what_lies_above_it() -> None:
    codes = np.array([[0], [0], [9], [9]], dtype=np.uint8)
    _, splits, leaves = _tree(0, codes, np.array([0.0, 0.0, 1.0, 1.0]), 1)
    root = (2 + 0.5) / 5
    np.testing.assert_allclose(leaves, [[3, root / 3], [3, (2 + root) / 3]], rtol=1e-6)
    assert splits[0, 0] == 1


def test_rows_come_to_the_leaves_that_they_made() -> None:
    draw = np.random.default_rng(1)
    codes = draw.integers(0, BINS, (300, 4)).astype(np.uint8)
    y = (codes[:, 0] + codes[:, 1] > 30).astype(float)
    _, splits, leaves = _tree(0, codes, y, 1)
    at = np.empty(1, dtype=np.int64)
    wrong = 0
    for row, label in zip(codes.astype(np.float32), y, strict=True):
        pieces.walk(row, splits, 0, len(splits), at)
        wrong += (leaves[at[0], 1] > 0.5) != (label > 0.5)
    assert wrong <= 3  # single rows may follow what lies above them


def test_borders_lie_in_gaps_and_are_none_without_two_values() -> None:
    draw = np.random.default_rng(2)
    two = np.where(draw.random(999) < 0.1, 1.0, -1.0) + 1e-3 * draw.random(999)
    x = np.stack([np.full(999, 3.0), two, draw.standard_normal(999)], axis=1).astype(np.float32)
    edges = borders(x)
    assert edges[0, -1] == 0
    assert (np.abs(edges[1, : int(edges[1, -1])]) < 0.1).sum() == 1
    used = edges[2, : int(edges[2, -1])]
    assert len(used) == BINS - 1
    assert (np.diff(used) > 0).all()
    shares = np.array([(x[:, 2] < e).mean() for e in used])
    assert shares[0] < 0.005
    assert shares[-1] > 0.995
    assert np.diff(shares).max() < 0.1
    assert borders(x[:1])[:, -1].sum() == 0


def test_it_learns_a_checkerboard_and_follows_when_it_turns() -> None:
    made = drawn.fields(2, 0, BINARY)
    rows = drawn.inputs(made, 5000, seed=4)
    rows.x[:, made.context.start :] = 0.0
    rows.y = ((rows.x[:, 0] > 0) != (rows.x[:, 1] > 0)).astype(float)
    rows.y[2500:] = 1 - rows.y[2500:]
    expert = Forest(made, BINARY)
    got, _ = drawn.learn(expert, BINARY, rows)
    right = (got[:, :, 0] > 0.5) == rows.y[:, None]
    assert right[1000:2500].mean(0).min() > 0.95
    short = [m.endswith("1024") for m in expert.members]
    assert right[4000:, short].mean(0).min() > 0.95


def test_it_learns_three_classes_and_a_number() -> None:
    made = drawn.fields(3, 0, THREE)
    rows = drawn.inputs(made, 1500, seed=5)
    rows.y = np.digitize(rows.x[:, 0] + 0.1 * rows.x[:, 1], [-0.5, 0.5]).astype(float)
    got, _ = drawn.learn(Forest(made, THREE), THREE, rows)
    assert (got[500:].argmax(2) == rows.y[500:, None]).mean(0).min() > 0.85
    made = drawn.fields(3, 0, NUMBER)
    rows = drawn.inputs(made, 1500, seed=5)
    rows.y = np.abs(rows.x[:, 0]).astype(float)
    rows.x[:, made.lags.start] = np.r_[0.0, rows.y[:-1]]
    off = np.abs(
        drawn.learn(Forest(made, NUMBER), NUMBER, rows)[0][500:, :, 0] - rows.y[500:, None]
    )
    assert off.mean(0).max() < 0.25 < 0.4 < np.abs(rows.y - rows.y.mean()).mean()


def test_trees_are_made_when_they_are_due_and_the_oldest_goes() -> None:
    made = drawn.fields(2, 0, BINARY)
    rows = drawn.inputs(made, 4000, y=np.random.default_rng(6).integers(0, 2, 4000) * 1.0)
    expert = Forest(made, BINARY)
    _, held = drawn.learn(expert, BINARY, drawn.part(rows, 0, 3000))
    counts = held.at["counts"]
    made_before = counts[forest_pass.MADE :: 2].copy()
    into = np.empty((1000, len(expert.members), 1), dtype=np.float32)
    expert.learn(held, drawn.part(rows, 3000, 4000), into)
    short = np.array([m.endswith("1024") for m in expert.members])
    new = counts[forest_pass.MADE :: 2] - made_before
    assert (np.abs(new[short] - 4) <= 1).all()
    assert (new[~short] >= 2).all()
    assert (counts[forest_pass.DUE :: 2] > counts[0]).all()


def test_many_classes_and_inputs_are_borne() -> None:
    task = Task("multiclass", 100, 0)
    made = drawn.fields(60, 3, task)
    rows = drawn.inputs(made, 300, y=np.random.default_rng(7).integers(0, 100, 300) * 1.0)
    got, held = drawn.learn(Forest(made, task), task, rows)
    np.testing.assert_allclose(got.sum(2), 1.0, atol=1e-4)
    assert got.min() >= 0
    assert held.at["ring"].shape[1] < 200


def test_another_unit_of_the_number_changes_no_prediction() -> None:
    made = drawn.fields(2, 1, NUMBER)
    rows = drawn.inputs(made, 400, y=np.random.default_rng(8).standard_normal(400))
    expert = Forest(made, NUMBER)
    _, held = drawn.learn(expert, NUMBER, rows)
    before, after = (np.empty((400, len(expert.members), 1), dtype=np.float32) for _ in range(2))
    expert.score(held, rows, before)
    expert.rescale(held, 0.5, 3.0)
    labels = [*made.lags, *(c for i, c in enumerate(made.keys) if i % 5 != 2)]
    rows.x[:, labels] = rows.x[:, labels] * np.float32(0.5) + np.float32(3.0)
    expert.score(held, rows, after)
    near = np.isclose(after, before * 0.5 + 3.0, atol=1e-4)
    assert near.mean() > 0.995  # a border may be rounded past a value
