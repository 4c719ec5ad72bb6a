"""Where everything lies in a live file, and how its numbers are read and written.

    0        what the file is: written once, before anyone can find the file
    4096     numbers that change: publications, a sequence per slot, the heartbeat's sequence
    8192     heartbeat: length, JSON
    64 Ki    pin cells, one per reading process (the only part that readers may write)
    128 Ki   layout: the blob that says what the bytes of an image mean
    ...      slot 0, slot 1: length and JSON of the meta data, then the image

Knows offsets and 8-byte numbers; maps no file. The number of publications says which slot is
current: publication n lies in slot n % 2, and 0 is none.

**Why a reader that sees an even sequence twice has read one image.** The writer makes the sequence
odd, writes the slot, makes the sequence even, counts the publication; the reader loads the
sequence, reads the slot, loads the sequence again. That needs stores to become visible in the order
they were made, loads to happen in order, and each of the 8-byte numbers to be stored in one piece.
x86-64 gives all three (total store order: only a load may overtake an earlier store to another
address, and nothing here relies on that order); the numbers are aligned and go through numpy, which
stores and loads them with one instruction (struct.pack_into would write zeros first), and
memcpy's streaming stores end with a fence of their own. Other machines promise no order, and
Python has no fences, so there each load and store of a number stands between two `Fence`s made
of a lock: what comes before a release stays before it, what comes after an acquire stays after
it, and a release is not overtaken by the acquire of the same lock that follows it.
"""

from __future__ import annotations

import hashlib
import platform
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = b"HWLIVE\r\n"
FORMAT = 1
BLOCK_BYTES = 256
ALIGN = 1 << 16  # mappings begin at multiples of a page, which is at most this
PAGE = 4096
CONTROL_OFFSET = 4096
BEAT_OFFSET = 8192
BEAT_BYTES = 8192
PINS_OFFSET = ALIGN
LAYOUT_OFFSET = 2 * ALIGN
CELLS = 64
CELL_BYTES = 64
LENGTH = 8  # bytes before each JSON text that say how long it is

# 8-byte numbers, counted from the start of the file; each has a cache line of its own
PUBLICATIONS = CONTROL_OFFSET // 8
SLOT_SEQUENCES = (PUBLICATIONS + 8, PUBLICATIONS + 16)
BEAT_SEQUENCE = PUBLICATIONS + 24
SUPERSEDED = PUBLICATIONS + 32  # not 0: another file takes over, look at the pointer

Fence = Callable[[], None]
Words = NDArray[np.uint64]


class LockFence:
    """A full fence made of a lock that is taken and released twice.

    Once is not enough: both neighbours may move in between the two, and pass each other there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            pass
        with self._lock:
            pass


def _ordered_by_hardware() -> None:
    """x86-64 needs no fence for any order that is relied on here."""


def fence_for(machine: str) -> Fence:
    """The fence that this kind of machine needs."""
    return _ordered_by_hardware if machine in {"x86_64", "AMD64"} else LockFence()


def fence_here() -> Fence:
    """The fence that this machine needs."""
    return fence_for(platform.machine())


class Number:
    """One of the 8-byte numbers; nothing around `load` and `store` moves to their other side."""

    def __init__(self, words: Words, index: int, fence: Fence) -> None:
        self._words = words
        self._index = index
        self._fence = fence

    def load(self) -> int:
        """The number as it is now."""
        self._fence()
        value = int(self._words[self._index])
        self._fence()
        return value

    def store(self, value: int) -> None:
        """Change the number, in one piece."""
        self._fence()
        self._words[self._index] = value
        self._fence()


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes that a file is made of, and what follows from them."""

    nbytes: int
    layout_bytes: int
    meta_bytes: int

    def __post_init__(self) -> None:
        if self.nbytes < BLOCK_BYTES or self.nbytes % BLOCK_BYTES:
            raise ValueError(f"an image has whole blocks of {BLOCK_BYTES} bytes, not {self.nbytes}")

    @property
    def image_offset(self) -> int:
        """Bytes from the start of a slot to its image."""
        return _up(LENGTH + self.meta_bytes, PAGE)

    def slot_offset(self, slot: int) -> int:
        """Where a slot begins."""
        size = _up(self.image_offset + self.nbytes, ALIGN)
        return LAYOUT_OFFSET + _up(self.layout_bytes, ALIGN) + slot * size

    @property
    def file_bytes(self) -> int:
        """The size of the whole file."""
        return self.slot_offset(2)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


_IDENTITY = struct.Struct("<8sQQQQ32s64s")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file says it is. Files of another boot are not believed: a power cut may have torn
    them, and nothing in them would show it."""

    geometry: Geometry
    layout_sha256: bytes
    boot_id: str

    def pack(self) -> bytes:
        """The bytes at the start of the file."""
        sizes = self.geometry
        return _IDENTITY.pack(
            MAGIC, FORMAT, sizes.nbytes, sizes.layout_bytes, sizes.meta_bytes,
            self.layout_sha256, self.boot_id.encode(),
        )  # fmt: skip

    @classmethod
    def unpack(cls, start: bytes, file_bytes: int) -> Identity:
        """What these bytes say, for a file of this size; ValueError if it is no live file."""
        if len(start) < _IDENTITY.size:
            raise ValueError("it is too short for a live file")
        magic, version, *sizes, sha256, boot = _IDENTITY.unpack_from(start)
        if magic != MAGIC or version != FORMAT:
            raise ValueError(f"it is not a live file of format {FORMAT}")
        geometry = Geometry(*sizes)
        if geometry.file_bytes != file_bytes:
            raise ValueError(f"it has {file_bytes} bytes instead of {geometry.file_bytes}")
        return cls(geometry, sha256, boot.rstrip(b"\0").decode())


def identity_of(nbytes: int, layout: bytes, meta_bytes: int, boot_id: str) -> Identity:
    """What a file for images of this layout says it is."""
    geometry = Geometry(nbytes, len(layout), meta_bytes)
    return Identity(geometry, hashlib.sha256(layout).digest(), boot_id)
