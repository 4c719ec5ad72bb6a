"""Small live files for the tests, and what is read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.weights.live import LiveReader, LiveWriter

BLOCKS = 8
NBYTES = BLOCKS * 256
LAYOUT = b'{"fields":["amount"]}'
ALL = np.ones(BLOCKS, dtype=np.uint8)
NONE = np.zeros(BLOCKS, dtype=np.uint8)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened(directory: Path, **other: Any) -> LiveWriter:
    return LiveWriter.open(directory, **{"nbytes": NBYTES, "layout": LAYOUT, **other})


def image(value: int) -> NDArray[np.uint8]:
    return np.full(NBYTES, value, dtype=np.uint8)


def served(reader: LiveReader) -> tuple[int, int] | None:
    """The version and the one value of the image that is served now."""
    with reader.pinned() as slot:
        if slot is None:
            return None
        values = set(slot.image.tolist())
        assert 1 == len(values)
        assert slot.intact()
        return slot.meta["version"], values.pop()


def live_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("live-*.bin"))
