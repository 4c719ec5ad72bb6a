"""Linear learning of second order, held against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts import curvature_pass as compiled
from service.model.experts import curvature_whole_pass as whole_pass
from service.model.experts.curvature import MOST, Curved, all_columns, plain_columns
from service.model.experts.curvature_pass import BIAS
from service.model.experts.newton import Newton
from service.model.experts.seam import Task
from service.model.experts.squares import Squares
from tests.model.experts.pieces import opened
from tests.model.experts.solving import drawn, fields_of, held_of, inputs

KEEPS = (0.9999, 0.99)
RIDGES = (1.0, 0.5)


pieces = opened(compiled, "along", "brings", "look", "take", "wait")
whole_pieces = opened(whole_pass, "invert", "mark", "mark_row")


def part_of(width: int, every: int = 1000):
    """Return a set of bias and so many columns, and its tensors."""
    curved = Curved(
        "a",
        np.array([BIAS, *range(width)]),
        [*zip(KEEPS, RIDGES, strict=True)],
        1,
        every,
        fields_of(width, 0, 0),
    )
    held = held_of(curved.tensors)
    return curved.part(held), held


def take(part, x, h, at_once=1):
    """Take rows x [N, D] of curvatures h [N] into a set, so many at once."""
    spreads, n = np.empty(len(KEEPS)), 0
    for first in range(0, len(x), at_once):
        some, ready = x[first : first + at_once], 0
        y, weights = np.zeros(len(some)), np.ones(len(some))
        for r, bend in enumerate(h[first : first + at_once]):
            n, most = int(part.counts[0]), part.rows.shape[1]
            if not ready or pieces.brings(part.order, n, most, some[r]):
                ready = pieces.look(part, some, y, weights, r)
            n, at = int(part.counts[0]), int(part.counts[3])
            assert pieces.along(part.rows, part.along, part.bends, part.scales, at, n, spreads)
            ready -= 1
            if pieces.wait(part.bends, part.scales, part.keeps, part.counts, spreads, bend):
                pieces.take(part)
                ready = 0
    whole_pieces.mark_row(part)
    return n


def expected(x, h, k):
    """Return the curvature after rows x with bias, by its definition, and what of its ridge is
    forgotten: before a renewal the ridge fades as the rows do."""
    full, keep = np.column_stack((np.ones(len(x)), x)).astype(float), KEEPS[k]
    age = keep ** np.arange(len(x), 0, -1)
    return (full.T * (h * age)) @ full, RIDGES[k] * keep ** len(x) * np.eye(full.shape[1])


def test_the_inverse_follows_the_curvature_row_by_row():
    draw = np.random.default_rng(0)
    x, h = draw.normal(size=(152, 9)).astype(np.float32), draw.uniform(0.01, 0.25, 152)
    part, _ = part_of(9)

    n = take(part, x, h)

    for k in range(2):
        data, ridge = expected(x, h, k)
        found = part.inverse[k, :n, :n] * part.scales[k]
        np.testing.assert_allclose(found, np.linalg.inv(data + ridge), atol=2e-4)


def test_a_renewal_undoes_rounding_and_gives_the_ridge_back():
    draw = np.random.default_rng(1)
    x, h = draw.normal(size=(64, 9)).astype(np.float32), draw.uniform(0.01, 0.25, 64)
    part, _ = part_of(9, every=64)

    n = take(part, x, h)

    full = np.column_stack((np.ones(64), x)).astype(float)
    for k in range(2):
        whole = (full.T * h) @ full + RIDGES[k] * np.eye(n)
        np.testing.assert_allclose(part.inverse[k, :n, :n], np.linalg.inv(whole), atol=1e-5)
    assert (part.scales == 1.0).all()
    assert not part.fresh.any()


def test_how_many_rows_are_looked_at_together_changes_no_bit():
    draw = np.random.default_rng(2)
    x, h = draw.normal(size=(150, 40)).astype(np.float32), draw.uniform(0.01, 0.25, 150)
    x[draw.random(x.shape) < 0.5] = 0.0
    x[:37, 20:] = 0.0  # columns that come later, in the middle of a group that waits
    kept = []

    for at_once in (1, 3, 150):
        part, held = part_of(40)
        take(part, x, h, at_once)
        kept.append(held.at)

    for name in kept[0]:
        assert np.array_equal(kept[0][name], kept[1][name]), name
        assert np.array_equal(kept[0][name], kept[2][name]), name


def test_rows_that_wait_are_in_what_is_along_them():
    draw = np.random.default_rng(3)
    x, h = draw.normal(size=(13, 9)).astype(np.float32), draw.uniform(0.01, 0.25, 13)
    part, _ = part_of(9)
    n = take(part, x[:12], h[:12])  # 8 are taken, 4 wait

    y, weights, spreads = np.zeros(1), np.ones(1), np.empty(2)
    pieces.look(part, x[12:], y, weights, 0)
    pieces.along(part.rows, part.along, part.bends, part.scales, 4, n, spreads)

    assert part.counts[3] == 4
    row = np.concatenate(([1.0], x[12]))
    for k in range(2):
        data, ridge = expected(x[:12], h[:12], k)
        want = np.linalg.solve(data + ridge, row)
        np.testing.assert_allclose(part.along[k, 4, :n] * part.scales[k], want, atol=2e-4)
        assert spreads[k] == pytest.approx(row @ want, rel=1e-3)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 33, 128])
def test_cholesky_inverts(n):
    draw = np.random.default_rng(n)
    x = draw.normal(size=(2 * n, n))
    whole, into = x.T @ x + np.eye(n), np.zeros((n, n), np.float32)

    whole_pieces.invert(np.triu(whole), np.empty((n, n)), 1.0, into)

    np.testing.assert_allclose(into, np.linalg.inv(whole), atol=1e-6)


def test_a_matrix_that_rounding_spoilt_is_inverted_all_the_same():
    whole, into = np.full((6, 6), 1e7), np.zeros((6, 6), np.float32)
    whole[np.diag_indices(6)] += np.linspace(-1.0, 1.0, 6)

    whole_pieces.invert(np.triu(whole), np.empty((6, 6)), 1.0, into)

    assert np.isfinite(into).all()
    assert (np.diag(into) > 0.0).all()


def test_columns_are_taken_in_when_they_are_first_not_zero():
    part, held = part_of(4)
    x = np.zeros((3, 4), np.float32)
    x[1, 2], x[2, 0], x[2, 3] = 1.0, 2.0, 3.0

    counts = []
    for row in x:
        take(part, row[None], np.ones(1))
        counts.append(int(part.counts[0]))

    assert counts == [1, 2, 4]
    assert part.order.tolist() == [BIAS, 2, 0, 3, 1]
    assert sorted(held.at["a_order"].tolist()) == [BIAS, 0, 1, 2, 3]


def test_no_more_columns_are_learned_than_there_is_room_for():
    part, _ = part_of(300)

    take(part, np.ones((3, 300), np.float32), np.ones(3))

    assert part.counts[0] == MOST == part.inverse.shape[1]
    assert part.order[:MOST].tolist() == [BIAS, *range(MOST - 1)]


def test_what_changed_is_flagged():
    part, held = part_of(100)
    before = {name: one.copy() for name, one in held.at.items()}
    x = np.zeros((2, 100), np.float32)
    x[:, :37] = 1.5

    n = take(part, x, np.ones(2))
    whole_pass.renew(part, n)
    part.weights[:, :n] = 1.0
    whole_pieces.mark(part, n)

    for name, flags in held.flags.items():
        moved = (held.at[name] != before[name]).reshape(-1, 64).any(axis=1)
        assert flags[moved].all(), name
        assert not flags.all(), name


def test_wide_events_keep_room_for_names_and_lags():
    for numbers in (0, 3, 17, 100):
        fields = fields_of(numbers, 2, 0)
        order = all_columns(fields)

        assert len(set(order.tolist())) == len(order)
        dense = len(order) - len(fields.one_hot) - len(fields.missing)
        assert set(fields.lags) <= set(order.tolist())
        assert set(plain_columns(fields).tolist()) <= set(order.tolist())
        assert dense <= MOST


def test_inputs_that_are_not_numbers_count_as_nothing():
    part, _ = part_of(3)
    row = np.array([[np.nan, np.inf, 1e30]], np.float32)

    take(part, row, np.ones(1))

    assert part.counts[0] == 2
    assert part.rows[0, :2].tolist() == [1.0, compiled.FAR]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "number"])
def test_scoring_says_what_learning_does_where_columns_come_late(kind):
    """To the last bit, also where a row brings the seventeenth column."""
    outputs = 3 if kind == "multiclass" else 1
    fields = fields_of(5, 1, {"binary": 2, "multiclass": 3, "number": 0}[kind])
    expert = (Squares if kind == "number" else Newton)(fields, Task(kind, outputs, 7))
    draw, x = np.random.default_rng(0), drawn(fields, 160)
    for column, since in enumerate(draw.integers(0, 160, fields.width)):
        x[:since, column] = 0.0
    y = draw.integers(0, 2, 160).astype(float)
    held = held_of(expert.tensors)
    scored, learned = np.zeros((2, 160, len(expert.members), outputs), np.float32)

    for r in range(160):
        row = inputs(x[r : r + 1], y[r : r + 1])
        expert.score(held, row, scored[r : r + 1])
        expert.learn(held, row, learned[r : r + 1])

    assert np.array_equal(scored, learned)


def test_nothing_of_rows_that_were_only_looked_at_stays():
    """Where it begins anew in the middle of a group: how many those are goes by where a cut ends."""
    part, _ = part_of(9)
    x = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    n = take(part, x[:2], np.ones(2))
    pieces.look(part, x, np.zeros(6), np.ones(6), 2)

    whole_pass.renew(part, n)

    assert not part.rows.any()
    assert not part.along.any()
