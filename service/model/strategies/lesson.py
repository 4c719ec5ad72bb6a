"""One cut as it is learned: in one pass, or in blocks of `step_rows` with a look into the memory.

Blocks are counted over the learned rows of all cuts, so that how rows are cut changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from service.events.columns import Columns, take
from service.model.featurizer import Featurizer
from service.model.kinds.seam import Learned
from service.model.learning import Model
from service.model.strategies.agem import Agem
from service.model.strategies.lookahead import Lookahead

if TYPE_CHECKING:
    from service.model.layout import Layout
    from service.model.state import State


class Lesson:
    """Teaches the states of one layout. Holds no state."""

    def __init__(self, layout: Layout, featurizer: Featurizer, model: Model) -> None:
        self._layout = layout
        self._featurizer = featurizer
        self._model = model
        self._replay = layout.recipe.learning.replay
        self._block = layout.recipe.learning.step_rows
        plan = layout.plan
        self._memory = plan.memory
        self._agem = None
        if plan.judges is not None:
            self._agem = Agem(layout, featurizer, model, plan.judges)
        self._in_blocks, self._moved = plan.in_blocks, plan.moved
        ahead = layout.recipe.learning.lookahead
        self._lookahead = None if ahead is None else Lookahead(ahead.share)

    def learn(
        self, state: State, columns: Columns, learn: NDArray[np.bool_], factor: float = 1.0
    ) -> Learned:
        """Score every event, and learn those where `learn` [N] is set. factor: what the learning
        rate is multiplied by."""
        if not self._in_blocks:
            return self._piece(state, columns, learn, factor)
        done = cast("NDArray[np.int64]", state.extras["block_rows"])
        number = done[0] % self._block + np.cumsum(learn)
        ends = np.flatnonzero(learn & (number % self._block == 0)) + 1
        found, start = [], 0
        for end in dict.fromkeys((*ends.tolist(), len(columns))):
            piece = np.arange(start, end)
            part = take(columns, piece)
            found.append(self._piece(state, part, learn[piece], factor))
            done[0] += int(learn[piece].sum())
            kept = take(part, np.flatnonzero(learn[piece] & (found[-1].applied != 2)))
            for memory in filter(None, (self._memory, self._layout.plan.judges)):
                memory.keep(state, kept)
            if end in ends:
                self._end_block(state, factor)
            start = end
        return _joined(found)

    def _piece(
        self, state: State, columns: Columns, learn: NDArray[np.bool_], factor: float
    ) -> Learned:
        rows = self._featurizer.rows(columns, state.scales, learn.astype(np.uint8))
        return self._noted(
            state, lambda: self._model.learn(state, rows, learn.astype(np.float64), factor)
        )

    def _noted(self, state: State, act: Callable[[], Learned]) -> Learned:
        """Return what `act` does, and note which weights the open block has moved."""
        if not self._moved:
            return act()
        before = state.touched.copy()
        state.touched[:] = 0
        learned = act()
        for name in self._moved:
            flags = state.extras[name]
            np.maximum(flags, state.touched, out=flags)
        state.touched |= before
        return learned

    def _end_block(self, state: State, factor: float) -> None:
        if self._replay is not None and self._memory is not None:
            again = self._memory.draw(state, self._replay.rows * self._block)
            rows = self._featurizer.rows(again, state.scales)
            weights = np.full(len(rows), self._replay.weight)
            self._noted(state, lambda: self._model.learn_again(state, rows, weights, factor))
        if self._agem is not None:
            self._agem.judge(state)
        if self._lookahead is not None:
            self._lookahead.end_block(state)


def _joined(parts: list[Learned]) -> Learned:
    return Learned(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.norms for part in parts]),
        np.concatenate([part.applied for part in parts]),
    )
