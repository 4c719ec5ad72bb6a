"""What mixtures compute for many members at once is what is computed one by one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from service.model.experts import mixture_shares_pass as shares
from service.model.experts.mixture import Mixture
from service.model.experts.seam import Held, Task
from tests.model.experts.pieces import opened

pieces = opened(shares, "add", "exponentials", "full", "logarithms", "reward", "solve")


def test_logarithms_and_exponentials_are_those_of_numpy_to_within_a_trillionth() -> None:
    """Any number of them, whether LANES divides it or not."""
    rng = np.random.default_rng(0)
    for n in (1, 15, 16, 37):
        x = np.exp(rng.uniform(-40.0, 40.0, n))
        found, room = np.empty(n), np.empty((2, n))
        pieces.logarithms(x, found, room)
        assert np.abs(found - np.log(x)).max() < 1e-12 * 40
        y = rng.uniform(-60.0, 60.0, n)
        pieces.exponentials(y, found, room)
        assert np.abs(found / np.exp(y) - 1.0).max() < 1e-12


def test_the_stack_goes_where_ridge_regression_would_put_it() -> None:
    """Whole rows of work are longer than the stack: what is behind it stays out of it."""
    rng = np.random.default_rng(1)
    for m in (5, 16, 30):
        wide, rows, by = pieces.full(m), rng.normal(size=(40, m)), rng.uniform(0.1, 1.0, 40)
        curvature, gradient, stack = np.eye(wide) * 3.0, np.zeros(wide), rng.normal(size=m)
        gradient[:m] = slope = rng.normal(size=m)
        for row, h in zip(rows, by, strict=True):
            padded = np.zeros(wide)
            padded[:m] = row
            pieces.add(curvature, padded, h, m)
        expected = 0.9 * (3.0 * np.eye(m) + (rows.T * by) @ rows) + 0.1 * 3.0 * np.eye(m)
        target = stack + np.linalg.solve(expected, slope - 0.1 * 3.0 * stack)
        pieces.solve(curvature, gradient, stack, 0.9, 3.0, np.empty((wide, wide)), m)
        assert np.allclose(stack, target, atol=1e-10)
        assert np.allclose(np.triu(curvature[:m, :m]), np.triu(expected))
        assert not gradient.any()


def test_a_member_asleep_has_no_weight_and_those_awake_share_all_of_it() -> None:
    """Fixed share, forgetting, then Bayes, as it is written in one line."""
    rng = np.random.default_rng(2)
    on = np.array([1.0] * 9 + [0.0] * 7)
    for discount in (1.0, 0.99):
        w = rng.dirichlet(np.ones(9))
        w = np.concatenate((w, np.zeros(7)))
        likely = rng.uniform(0.01, 1.0, 16)
        expected = (0.9 * w[:9] + 0.1 / 9) ** discount * likely[:9]
        pieces.reward(w, likely, 0.1, discount, on, 9.0, np.empty(16), np.empty((4, 16)))
        assert np.allclose(w[:9], expected / expected.sum(), rtol=1e-11)
        assert not w[9:].any()


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_whoever_is_right_is_said_to_count_most(kind: Literal["binary", "number"]) -> None:
    """One of five members knows the label, another that knows it is asleep, three say nothing."""
    mixture = Mixture(("knows", "a", "b", "c", "sleeps"), Task(kind, 1, 0))
    at = {t.name: np.full(t.shape, t.initial, t.dtype) for t in mixture.tensors}
    at["awake"][4] = 0
    held = Held(at, {})
    y = np.random.default_rng(3).integers(0, 2, 300).astype(np.float64)
    p = np.full((300, 5, 1), 0.5, np.float32)
    p[:, [0, 4], 0] = np.clip(y, 0.05, 0.95)[:, None]

    mixture.learn(held, p, y, np.ones(300), at["awake"], np.empty((300, 1)))

    weights = mixture.weights(held)
    assert 1.0 == pytest.approx(weights.sum())
    assert weights[0] > 0.9
    assert 0.0 == weights[4]


def test_a_jump_that_nobody_foresaw_says_nothing_for_those_that_are_often_far_off() -> None:
    """Who repeats the last label is believed right after it, and not who was less wrong by chance."""
    mixture = Mixture(("last", "far", "farther"), Task("number", 1, 0))
    at = {t.name: np.full(t.shape, t.initial, t.dtype) for t in mixture.tensors}
    rng = np.random.default_rng(0)
    y = np.where(np.arange(310) < 300, 0.0, 10.0) + rng.normal(0.0, 0.01, 310)
    p = np.zeros((310, 3, 1), np.float32)
    p[1:, 0, 0] = y[:-1]
    p[:, 1:, 0] = rng.normal((-2.0, -3.0), (1.0, 2.0), (310, 2))
    said = np.empty((310, 1))

    mixture.learn(Held(at, {}), p, y, np.ones(310), at["awake"], said)

    assert np.abs(said[301:, 0] - 10.0).max() < 0.5
