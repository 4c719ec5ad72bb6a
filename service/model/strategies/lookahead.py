"""Lookahead: after each block of rows the weights go back to a point between where the block began
and where it ended (Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019).

What single events pull to and fro cancels out; what all of a block agree upon stays. Serving needs
no second set of weights for it, unlike an average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

if TYPE_CHECKING:
    from service.model.state import State


class Lookahead:
    """Interpolates the weights of one layout. Holds no state: `slow` and the flags lie in the image."""

    def __init__(self, share: float) -> None:
        self._share = share

    def end_block(self, state: State) -> None:
        """Go `share` of the way from the weights at the beginning of the block to those at its end."""
        moved = state.extras["lookahead/moved"]
        _draw_back(state.theta, state.flats["slow"], moved, state.touched, self._share)


@njit(nogil=True, cache=True)
def _draw_back(theta, slow, moved, touched, share):
    """Set theta and slow [P] to a point between them in the blocks whose flag moved [P / 64] is set,
    and clear the flags."""
    for block in range(moved.shape[0]):
        if moved[block]:
            for i in range(block * 64, block * 64 + 64):
                slow[i] += share * (theta[i] - slow[i])
                theta[i] = slow[i]
            touched[block] = 1
            moved[block] = 0
