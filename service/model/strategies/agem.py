"""A-GEM over blocks of rows: what a block moved is bent where it contradicts the memory.

Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019. Rows are learned one by one,
with all that guards a row; when a block is full, its move d = theta - before is held against the
gradient g of the loss over drawn events of the memory: where d . g > 0 the move would raise that
loss, and d <- d - (d . g / g . g) g. With sgd d is the block's gradient times minus the rate, which
is A-GEM to the letter (g is taken after the block, not before it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.featurizer import Featurizer
from service.model.kinds.seam import Gradient
from service.model.strategies.memory import Memory

if TYPE_CHECKING:
    from service.model.layout import Layout
    from service.model.learning import Model
    from service.model.state import State


class Agem:
    """Judges the blocks of states of one layout. Holds room to work in, no state."""

    def __init__(
        self, layout: Layout, featurizer: Featurizer, model: Model, memory: Memory
    ) -> None:
        settings = layout.recipe.learning.agem
        self._rows = 0 if settings is None else settings.rows
        self._featurizer = featurizer
        self._model = model
        self._memory = memory
        self._still = layout.plan.still
        size = layout.theta_size
        targets = np.zeros(len(layout.schema.targets), dtype=np.bool_)
        self._room = Gradient(
            np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.uint8), targets
        )

    def judge(self, state: State) -> None:
        """End a block: bend its move where it contradicts the memory, and begin another."""
        moved, figures = _blocks(state), cast("NDArray[np.int64]", state.extras["agem/figures"])
        before, room = state.flats["before"], self._room
        rows = self._featurizer.rows(self._memory.draw(state, self._rows), state.scales)
        if len(rows):
            self._model.add_gradient(state, rows, np.ones(len(rows)), room)
            if len(self._still):
                _spare(room.values, room.moved.view(np.uint64), self._still)
            figures[0] += 1
            figures[1] += _bend(
                state.theta, before, room.values, room.moved, room.moved.view(np.uint64), moved,
                state.touched,
            )  # fmt: skip
        _begin(state.theta, before, moved, state.touched)


def _blocks(state: State) -> NDArray[np.uint8]:
    return cast("NDArray[np.uint8]", state.extras["agem/moved"])


@njit(nogil=True, cache=True)
def _felt_blocks(words):
    """Return the blocks of 64 weights of which any is set in words [P / 8]."""
    blocks, n = np.empty(words.shape[0] // 8, dtype=np.int32), 0
    for block in range(blocks.shape[0]):
        some = words[8 * block]
        for i in range(1, 8):
            some |= words[8 * block + i]
        if some != 0:
            blocks[n] = block
            n += 1
    return blocks[:n]


@njit(nogil=True, cache=True)
def _spare(gradient, words, still):
    """Take the frozen weights out of a gradient [P]: they are no way to avoid a conflict. words: see
    _bend; still: [P]."""
    for block in _felt_blocks(words):
        for i in range(block * 64, block * 64 + 64):
            if still[i]:
                gradient[i] = 0.0


@njit(nogil=True, cache=True)
def _bend(theta, before, gradient, felt, words, moved, touched):
    """Bend the move of theta [P] since `before`; clear the gradient [P] and `felt` [P] where they
    are set. words: felt as uint64 [P / 8], so that what is not set is passed over quickly; moved,
    touched: [P / 64]. Return 1 where the move was bent."""
    along, squares, blocks = 0.0, 0.0, _felt_blocks(words)
    for block in blocks:
        for i in range(block * 64, block * 64 + 64):
            if felt[i]:
                squares += float(gradient[i]) * float(gradient[i])
                if moved[block]:
                    along += (float(theta[i]) - float(before[i])) * float(gradient[i])
    share = along / squares if along > 0.0 and squares > 0.0 and np.isfinite(squares) else 0.0
    for block in blocks:
        for i in range(block * 64, block * 64 + 64):
            if felt[i]:
                if share > 0.0:
                    theta[i] -= share * gradient[i]
                gradient[i], felt[i] = 0.0, 0
        if share > 0.0:
            moved[block] = touched[block] = 1
    return int(share > 0.0)


@njit(nogil=True, cache=True)
def _begin(theta, before, moved, touched):
    """Take the weights of moved blocks as those where the next block begins. What was moved in an
    earlier cut counts as touched again: `before` changes there only now."""
    for block in range(moved.shape[0]):
        if moved[block]:
            before[block * 64 : block * 64 + 64] = theta[block * 64 : block * 64 + 64]
            moved[block], touched[block] = 0, 1
