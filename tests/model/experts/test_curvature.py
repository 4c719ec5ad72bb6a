"""Linear learning of second order, held against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts import curvature_pass as compiled
from service.model.experts.curvature import MOST, Curved, all_columns, plain_columns
from service.model.experts.curvature_pass import BIAS
from tests.model.experts.pieces import opened
from tests.model.experts.solving import fields_of, held_of

KEEPS = (0.9999, 0.99)
RIDGES = (1.0, 0.5)


pieces = opened(compiled, "add", "along", "gather", "invert", "mark", "sink", "widen")


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


def take(part, x, h):
    """Take rows x [N, D] of curvatures h [N] into a set, row by row."""
    values = np.empty(part.inverse.shape[1], np.float32)
    v = np.empty_like(values)
    n = 0
    for row, bend in zip(x, h, strict=True):
        n = pieces.widen(part, row, values, pieces.gather(part, row, values))
        for k in range(len(KEEPS)):
            pieces.sink(part, k, n, v, pieces.along(part, k, values, n, v), bend)
        pieces.add(part, values, n, bend)
    return n


def expected(x, h, k):
    """Return the curvature after rows x with bias, by its definition, and what of its ridge is
    forgotten: before a renewal the ridge fades as the rows do."""
    full, keep = np.column_stack((np.ones(len(x)), x)).astype(float), KEEPS[k]
    age = keep ** np.arange(len(x), 0, -1)
    return (full.T * (h * age)) @ full, RIDGES[k] * keep ** len(x) * np.eye(full.shape[1])


def test_the_inverse_follows_the_curvature_row_by_row():
    draw = np.random.default_rng(0)
    x, h = draw.normal(size=(150, 9)).astype(np.float32), draw.uniform(0.01, 0.25, 150)
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


@pytest.mark.parametrize("n", [1, 2, 5, 8, 33, 128])
def test_cholesky_inverts(n):
    draw = np.random.default_rng(n)
    x = draw.normal(size=(2 * n, n))
    whole, into = x.T @ x + np.eye(n), np.zeros((n, n), np.float32)

    pieces.invert(np.triu(whole), np.empty((n, n)), 1.0, into)

    np.testing.assert_allclose(into, np.linalg.inv(whole), atol=1e-6)


def test_a_matrix_that_rounding_spoilt_is_inverted_all_the_same():
    whole, into = np.full((6, 6), 1e7), np.zeros((6, 6), np.float32)
    whole[np.diag_indices(6)] += np.linspace(-1.0, 1.0, 6)

    pieces.invert(np.triu(whole), np.empty((6, 6)), 1.0, into)

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
    compiled.renew(part, n)
    part.weights[:n] = 1.0
    pieces.mark(part, n)

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
    values = np.empty(64, np.float32)
    row = np.array([np.nan, np.inf, 1e30], np.float32)

    n = pieces.widen(part, row, values, pieces.gather(part, row, values))

    assert values[:n].tolist() == [1.0, compiled.FAR]
