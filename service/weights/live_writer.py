"""Publish images into the live file. One writer per directory; knows bytes, never what they mean.

Each slot has a list of blocks that changed since it was last written; a publication goes to the
slot that is not current and copies just those. A slot that a reader has pinned is left alone for up
to 50 ms, then written over: the reader sees the sequence change and tries again. Readers are never
waited for and never disturbed in the current slot, also when this process was killed in the middle
of a publication and another one continues: a re-opened file has every block of both slots listed as
changed, so a half-written slot is only ever repaired by being written whole.

What `live_format` says of memory order holds the two sides together.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from service import crash
from service.weights import boot, live_copy, live_directory, live_format
from service.weights.live_file import PINS, LiveFile
from service.weights.live_format import Fence, Identity, Number, Words, fence_here
from service.weights.lock import DirectoryLock

PATIENCE_S = 0.050
LOCK = "live.lock"
_LONGEST_TEXT = 2000
_encoder = msgspec.json.Encoder()


class LiveWriter:
    """The one that publishes. `beat` may be called from another thread than `publish`."""

    def __init__(
        self,
        file: LiveFile,
        identity: Identity,
        lock: DirectoryLock,
        fence: Fence,
        clock: Callable[[], float],
        layout: bytes,
    ) -> None:
        memory = file.writable()
        words: NDArray[np.uint64] = np.frombuffer(memory, dtype=np.uint64)
        sizes = identity.geometry
        self._file: LiveFile | None = file
        self._layout = layout
        self._lock = lock
        self._clock = clock
        self._bytes = np.frombuffer(memory, dtype=np.uint8)
        self._words = words
        self._sizes = sizes
        self._publications = Number(words, live_format.PUBLICATIONS, fence)
        self._sequences = [Number(words, i, fence) for i in live_format.SLOT_SEQUENCES]
        self._beat_sequence = Number(words, live_format.BEAT_SEQUENCE, fence)
        # one that was to be superseded when its learner died goes on after all
        Number(words, live_format.SUPERSEDED, fence).store(0)
        self._beating = threading.Lock()
        self._cells = file.cells()
        starts = [(sizes.slot_offset(slot) + sizes.image_offset) // 8 for slot in (0, 1)]
        self._images = [words[at : at + sizes.nbytes // 8] for at in starts]
        self._pending = np.ones((2, sizes.nbytes // live_format.BLOCK_BYTES), dtype=np.uint8)
        self._refused_at: float | None = None
        self._directory: Path | None = None  # where the file before this one may be yet

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        nbytes: int,
        layout: bytes,
        meta_bytes: int = 1 << 16,
        fence: Fence | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Continue the directory's live file if it fits this layout and size, else begin another.

        Raises Locked if another process writes here, HeadwaterError if there is no room.
        """
        live_copy.warm()
        with contextlib.ExitStack() as undo:
            lock = DirectoryLock.acquire(directory, LOCK)
            undo.callback(lock.release)
            identity = live_format.identity_of(nbytes, layout, meta_bytes, boot.boot_id())
            file = live_directory.present(directory, identity)
            file = file or live_directory.begin(directory, identity, layout)
            undo.pop_all()
        writer = cls(file, identity, lock, fence or fence_here(), clock, layout)
        writer._directory = directory
        return writer

    @property
    def layout(self) -> bytes:
        """The blob that this file was opened with."""
        return self._layout

    @property
    def publications(self) -> int:
        """How often this file was published to, by this process and those before it."""
        return self._publications.load()

    def publish(
        self, image: NDArray[np.uint8], touched: NDArray[np.uint8], meta: Mapping[str, Any]
    ) -> bool:
        """Make the image current. False: a reader still has the slot; what was touched is kept.

        `touched` has one flag per 256-byte block that may have changed since the last call,
        successful or not. The image must not change during the call.
        """
        assert self._file is not None, "publish after close"
        assert image.nbytes == self._sizes.nbytes, "another layout's image"
        self._pending |= touched != 0
        text = self._text(meta, self._sizes.meta_bytes)
        target = 1 - self._publications.load() % 2
        if not self._may_write(target):
            return False
        sequence = self._sequences[target].load() | 1  # a killed writer may have left it odd
        self._sequences[target].store(sequence)
        crash.point("live_sequence_odd")
        self._write_text(self._sizes.slot_offset(target), text)
        words, slot, pending = image.view(np.uint64), self._images[target], self._pending[target]
        crash.point("live_half_written", lambda: _copy_half(words, slot, pending))
        live_copy.copy_blocks(words, slot, pending)
        self._sequences[target].store(sequence + 1)
        crash.point("live_copied_before_count")
        self._publications.store(self._publications.load() + 1)
        crash.point("live_published")
        if self._directory is not None:
            live_directory.forget_others(self._directory)
            self._directory = None
        self._pending[target] = 0
        self._refused_at = None
        return True

    def beat(self, state: Mapping[str, Any]) -> None:
        """Say that the learner lives, and how; "heartbeat_ns" (wall clock) is added if missing.

        A text that is too long is cut: for no reason at all does a sign of life fail.
        """
        text = _fitting(
            {"heartbeat_ns": time.time_ns(), **state}, live_format.BEAT_BYTES - live_format.LENGTH
        )
        with self._beating:
            assert self._file is not None, "beat after close"
            sequence = self._beat_sequence.load() | 1
            self._beat_sequence.store(sequence)
            self._write_text(live_format.BEAT_OFFSET, text)
            self._beat_sequence.store(sequence + 1)

    def close(self) -> None:
        """Let go of the file, which goes on being served; a second call does nothing."""
        with self._beating:
            if self._file is not None:
                self._file.detach()
                self._file = None
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _may_write(self, slot: int) -> bool:
        pins = self._cells[:, PINS + slot]
        if not pins.any() or not self._pinned_by_the_living(slot):
            return True
        if self._refused_at is None:
            self._refused_at = self._clock()
        if self._clock() - self._refused_at < PATIENCE_S:
            return False
        pins[:] = 0  # a reader that hangs is waited for once, not at each publication
        return True

    def _pinned_by_the_living(self, slot: int) -> bool:
        assert self._file is not None
        pinned = np.flatnonzero(self._cells[:, PINS + slot])
        return not all(self._file.forget_dead(int(index)) for index in pinned)

    @staticmethod
    def _text(content: Mapping[str, Any], most_bytes: int) -> bytes:
        text = _encoder.encode(content)
        if len(text) > most_bytes:
            raise ValueError(f"{len(text)} bytes of JSON do not fit into {most_bytes}")
        return text

    def _write_text(self, offset: int, text: bytes) -> None:
        self._words[offset // 8] = len(text)
        start = offset + live_format.LENGTH
        self._bytes[start : start + len(text)] = np.frombuffer(text, dtype=np.uint8)


def _fitting(content: Mapping[str, Any], most_bytes: int) -> bytes:
    """Return JSON of at most so many bytes, its texts cut as far as that needs."""
    longest = _LONGEST_TEXT
    while True:
        text = _encoder.encode({key: _cut(value, longest) for key, value in content.items()})
        if len(text) <= most_bytes:
            return text
        assert longest, "numbers do not fill a page"
        longest //= 2


def _cut(value: Any, longest: int) -> Any:
    if not isinstance(value, str):
        return value
    sound = value.encode("utf-8", "replace").decode()  # what JSON cannot hold: lone surrogates
    return sound if len(sound) <= longest else sound[: max(longest - 3, 0)] + "..."[:longest]


def _copy_half(image: Words, slot: Words, pending: NDArray[np.uint8]) -> None:
    """Every other block that changed, and no more: what a torn slot may look like."""
    half = pending.copy()
    half[np.flatnonzero(half)[::2]] = 0
    live_copy.copy_blocks(image, slot, half)
