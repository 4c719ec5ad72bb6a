"""Steps as kernels take them: bent by the strategies, or by none. Compiled; knows no model.

Each function is chosen when a kernel is compiled, by the type of its last argument: where it is
None, a kernel holds no trace of strategies and is as quick as if there were none.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from service.model.steps import move_one, move_run, rescale_run
from service.model.strategies.pulls import is_still, pull, pull_one, reframe, shift_beside
from service.model.strategies.view import PULLS, SAFE, SERVE, TRUNK_EVERY


@njit(nogil=True, cache=True)
def _step_and_pull(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy):
    if strategy.numbers[PULLS] == 0.0:
        move_one(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy)
    elif not is_still(strategy, i):
        move_one(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy)
        pull_one(strategy, theta, i, g, hyper[0])


@njit(nogil=True, cache=True)
def _run_and_pull(rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy):
    if strategy.numbers[PULLS] == 0.0:
        move_run(rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy)
    elif not is_still(strategy, start):
        move_run(rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy)
        pull(strategy, theta, start, d, factor, hyper[0])


@njit(nogil=True, cache=True)
def _rescale_all(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
    rescale_run(rule, theta, slot0, slot1, touched, start, length, ratio)
    reframe(strategy, start, length, ratio)


@njit(nogil=True, cache=True)
def _shift(theta, i, by):
    theta[i] += by


@njit(nogil=True, cache=True)
def _shift_all(theta, i, by, strategy):
    theta[i] += by
    shift_beside(strategy, i, by)


@njit(nogil=True, cache=True)
def _important(emphasis, strategy, r, t):
    if strategy.importance.shape[0] > 0:
        return emphasis[t] * strategy.importance[r, t]
    return emphasis[t]


@njit(nogil=True, cache=True)
def _trunk_moves(strategy):
    every = np.int64(strategy.numbers[TRUNK_EVERY])
    return every <= 1 or (strategy.rows[0] + 1) % every == 0


def step_one(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy):
    """Move weight `i` by gradient `g`, unless it is frozen, and pull it; see steps.move_one."""
    raise NotImplementedError("for compiled code only")


@overload(step_one, jit_options={"forceinline": True})
def _step_one_by_type(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy):
    none = isinstance(strategy, types.NoneType)
    return move_one.py_func if none else _step_and_pull.py_func


def step_run(rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy):
    """Move the weights of one parameter from `start` on by the gradient factor * d [n]."""
    raise NotImplementedError("for compiled code only")


@overload(step_run)
def _step_run_by_type(
    rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy
):
    # the function itself, not one that calls it: a call costs as much as a short run
    none = isinstance(strategy, types.NoneType)
    return move_run.py_func if none else _run_and_pull.py_func


def rescale(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
    """Bring a run of weights, and all that stands beside them, to a new unit of their target."""
    raise NotImplementedError("for compiled code only")


@overload(rescale)
def _rescale_by_type(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
    def off(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
        rescale_run(rule, theta, slot0, slot1, touched, start, length, ratio)

    def on(rule, theta, slot0, slot1, touched, start, length, ratio, strategy):
        _rescale_all(rule, theta, slot0, slot1, touched, start, length, ratio, strategy)

    return off if isinstance(strategy, types.NoneType) else on


def shift(theta, i, by, strategy):
    """Move a bias, and what stands beside it, to a new centre of its target."""
    raise NotImplementedError("for compiled code only")


@overload(shift)
def _shift_by_type(theta, i, by, strategy):
    def off(theta, i, by, strategy):
        _shift(theta, i, by)

    def on(theta, i, by, strategy):
        _shift_all(theta, i, by, strategy)

    return off if isinstance(strategy, types.NoneType) else on


def renew_beside(strategy, start, length, ratio):
    """Bring what stands beside a run of weights to a new unit of their target."""
    raise NotImplementedError("for compiled code only")


@overload(renew_beside)
def _renew_beside_by_type(strategy, start, length, ratio):
    def off(strategy, start, length, ratio):
        pass

    def on(strategy, start, length, ratio):
        reframe(strategy, start, length, ratio)

    return off if isinstance(strategy, types.NoneType) else on


def emphasis_of(emphasis, strategy, r, t):
    """Return what the slopes of target t in row r are multiplied with: the emphasis [T] of the
    target, and the importance of the class that the label is."""
    raise NotImplementedError("for compiled code only")


@overload(emphasis_of, inline="always")
def _emphasis_of_by_type(emphasis, strategy, r, t):
    def off(emphasis, strategy, r, t):
        return emphasis[t]

    def on(emphasis, strategy, r, t):
        return _important(emphasis, strategy, r, t)

    return off if isinstance(strategy, types.NoneType) else on


def is_served(strategy):
    """Return whether predictions come from the average."""
    raise NotImplementedError("for compiled code only")


@overload(is_served, inline="always")
def _is_served_by_type(strategy):
    def off(strategy):
        return False

    def on(strategy):
        return strategy.numbers[SERVE] > 0.0

    return off if isinstance(strategy, types.NoneType) else on


def steady_of(strategy, theta):
    """Return the average of the weights, or the weights where there is none."""
    raise NotImplementedError("for compiled code only")


@overload(steady_of, inline="always")
def _steady_of_by_type(strategy, theta):
    def off(strategy, theta):
        return theta

    def on(strategy, theta):
        return strategy.average

    return off if isinstance(strategy, types.NoneType) else on


def trunk_moves(strategy):
    """Return whether the weights that targets share move by the next row."""
    raise NotImplementedError("for compiled code only")


@overload(trunk_moves, inline="always")
def _trunk_moves_by_type(strategy):
    def off(strategy):
        return True

    def on(strategy):
        return _trunk_moves(strategy)

    return off if isinstance(strategy, types.NoneType) else on


def count_row(strategy):
    """Count a row that is learned."""
    raise NotImplementedError("for compiled code only")


@overload(count_row, inline="always")
def _count_row_by_type(strategy):
    def off(strategy):
        pass

    def on(strategy):
        strategy.rows[0] += 1

    return off if isinstance(strategy, types.NoneType) else on


def is_safe(strategy):
    """Return whether steps are safe ones."""
    raise NotImplementedError("for compiled code only")


@overload(is_safe, inline="always")
def _is_safe_by_type(strategy):
    def off(strategy):
        return False

    def on(strategy):
        return strategy.numbers[SAFE] > 0.0

    return off if isinstance(strategy, types.NoneType) else on


@njit(nogil=True, cache=True)
def apply_gradient(moving, gradient, moved, c1, c2):
    """Step every weight where `moved` is set by the gradient in hand. Arrays: [P]."""
    rule, theta, slot0, slot1 = moving.rule, moving.theta, moving.slot0, moving.slot1
    touched, hyper, strategy = moving.touched, moving.hyper, moving.strategy
    for i in range(theta.shape[0]):
        if moved[i]:
            step_one(
                rule, theta, slot0, slot1, touched, i, gradient[i], hyper, c1[i], c2[i], strategy
            )
