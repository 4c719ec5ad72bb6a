"""A copy of the learner's state for a snapshot, made in small pieces while learning goes on.

The memory is allocated once. Pieces are copied between cuts, and what changed after it was copied
is copied again; in the end so little is left that it is copied in one go, at the boundary of a
cut. So the copy is one version's, whole, and the learner never stands still for long. Called from
the loop's thread only; knows no files.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.model.state import State
from service.weights import live_copy

SLICE_S = 0.002
"""Seconds of copying between two cuts."""
LAST_S = 0.002
"""Seconds that the last copy may take, as far as the pieces before tell."""
_PIECE = 4096  # blocks between two looks at the clock: 1 MiB
_ENOUGH = 512  # blocks that tell how fast copying is
_MOST_PASSES = 12  # a state that changes faster than it is copied is taken as it is in the end


class Staging:
    """The copy of one learner's state. A new state (a rollback) begins a new copy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        live_copy.warm()
        self._clock = clock
        self._state: State | None = None
        self._source = self._copy = np.empty(0, dtype=np.uint64)
        self._pending = np.empty(0, dtype=np.uint8)
        self._at = 0
        self._passes = 0
        self._blocks = 0
        self._seconds = 0.0

    def advance(self, state: State) -> NDArray[np.uint8] | None:
        """Copy for a moment. Return the whole image once it is that of this very moment.

        The image returned is this object's own memory: nothing may be copied before whoever got
        it is done. Call between two cuts.
        """
        if state is not self._state:
            self._begin(state)
        state.gather()
        ends = self._clock() + SLICE_S
        while self._clock() < ends:
            if self._at == len(self._pending):
                self._at = 0
                self._passes += 1
            if self._passes and self._is_little():
                return self._finish()
            self._some()
        return None

    def _begin(self, state: State) -> None:
        if self._state is not None:
            self._state.unfollow(self._pending)
        if self._state is None or self._state.layout.nbytes != state.layout.nbytes:
            self._copy = np.empty(state.layout.nbytes // 8, dtype=np.uint64)
        self._state = state
        self._source = state.image.view(np.uint64)
        self._pending = state.follow()
        self._at = self._passes = 0

    def _some(self) -> None:
        began = self._clock()
        self._at, copied = live_copy.copy_some(
            self._source, self._copy, self._pending, self._at, _PIECE
        )
        if copied >= _ENOUGH:
            self._blocks, self._seconds = copied, self._clock() - began

    def _is_little(self) -> bool:
        left = int(np.count_nonzero(self._pending))
        at_once = LAST_S * self._blocks / self._seconds if self._seconds > 0 else _PIECE
        return left <= max(at_once, _PIECE) or self._passes >= _MOST_PASSES

    def _finish(self) -> NDArray[np.uint8]:
        live_copy.copy_some(self._source, self._copy, self._pending, 0, len(self._pending))
        self._at = self._passes = 0
        return self._copy.view(np.uint8)
