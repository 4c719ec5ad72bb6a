"""What the compiled passes see of the strategies: numbers, and arrays beside theta. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

L2, L2_INIT, EWC, FORGET, FOLLOW, AVERAGE, TRUNK_EVERY, SERVE, SAFE, PULLS = range(10)
"""Places in Strategy.numbers."""


class Strategy(NamedTuple):
    """Of one state; None stands for none at all. An array whose strategy is off has no element. Legend: P weights, T targets."""

    numbers: NDArray[np.float64]
    """[10]: strengths of l2, l2_init and ewc; share of the Fisher figures that one row replaces;
    share of the way that an anchor, an average goes to its weight at a step; rows per step of
    shared weights; whether the average is served; whether steps are safe; whether
    anything is done to a weight beside its step."""
    still: NDArray[np.uint8]
    """[P] weights that are frozen."""
    rows: NDArray[np.int64]
    """[1] rows learned; moves only with trunk_every."""
    initial: NDArray[np.float32]
    """[P]"""
    fisher: NDArray[np.float32]
    """[P]"""
    anchor: NDArray[np.float32]
    """[P]"""
    average: NDArray[np.float32]
    """[P]"""
    before: NDArray[np.float32]
    """[P] weights where the block of rows began that agem or lookahead will end."""
    importance: NDArray[np.float64]
    """[N, T] what a label's class makes of a row's weight; N = 0: nothing."""


_NONE = np.empty(0, dtype=np.float32)
BLANK = Strategy(
    np.zeros(10), np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64), _NONE, _NONE, _NONE,
    _NONE, _NONE, np.empty((0, 0)),
)  # fmt: skip
"""One in which nothing is asked for."""


def is_on(strategy: Strategy | None, place: int) -> bool:
    """Return whether what stands at this place of Strategy.numbers is asked for."""
    return strategy is not None and bool(strategy.numbers[place] > 0.0)
