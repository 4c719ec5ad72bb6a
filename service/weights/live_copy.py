"""Copy the blocks of an image that changed. Compiled, without the GIL; knows memory only."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from service.weights.live_format import BLOCK_BYTES, Words

WORDS = BLOCK_BYTES // 8


def _copy_blocks(source: Words, target: Words, changed: NDArray[np.uint8]) -> int:
    """Copy each block whose flag is set, neighbours in one go; how many those were."""
    blocks = 0
    at = 0
    while at < changed.size:
        if changed[at] == 0:
            at += 1
            continue
        start = at
        while at < changed.size and changed[at] != 0:
            at += 1
        for word in range(start * WORDS, at * WORDS):
            target[word] = source[word]
        blocks += at - start
    return blocks


copy_blocks: Callable[[Words, Words, NDArray[np.uint8]], int] = numba.njit(nogil=True, cache=True)(
    _copy_blocks
)


def _copy_some(
    source: Words, target: Words, pending: NDArray[np.uint8], start: int, most_blocks: int
) -> tuple[int, int]:
    """Copy flagged blocks from `start` on and clear their flags, at most so many.

    Returns where to go on (the number of blocks: at the end), and how many were copied.
    """
    copied = 0
    at = start
    while at < pending.size and copied < most_blocks:
        if pending[at] != 0:
            for word in range(at * WORDS, (at + 1) * WORDS):
                target[word] = source[word]
            pending[at] = 0
            copied += 1
        at += 1
    return at, copied


copy_some: Callable[[Words, Words, NDArray[np.uint8], int, int], tuple[int, int]] = numba.njit(
    nogil=True, cache=True
)(_copy_some)


def warm() -> None:
    """Compile, or load what was compiled before, so that the first publication does not wait."""
    words = np.zeros(WORDS, dtype=np.uint64)
    copy_blocks(words, words.copy(), np.ones(1, dtype=np.uint8))
    copy_some(words, words.copy(), np.ones(1, dtype=np.uint8), 0, 1)
