"""One mapped live file on the reading side, and the slots that are read in it.

Knows the protocol of `live_format`; does not know pointers or directories. The image is mapped
read-only; the one thing written is the pin in this reader's own cell. A pin is a request, not a
lock: what makes a read safe is the sequence. So a reader that finds no free cell still reads, it
only has to try again more often. `View` is not thread-safe; its reader calls it under a lock.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.weights import boot, live_format
from service.weights.live_file import PINS, Cell, LiveFile
from service.weights.live_format import Fence, Geometry, Identity, Number

TRIES = 1000  # each that fails means that something was published in between
BEAT_TRIES = 20  # fewer: a writer that died writing one never ends it
_decoder = msgspec.json.Decoder(dict[str, Any])

Heartbeat = dict[str, Any]
Meta = dict[str, Any]


class Slot:
    """One published image, pinned.

    `image` is the mapped memory, read-only. `meta` is shared with other readers of the slot: do not
    change it. `key` names the memory: slots with the same key have the same addresses.
    """

    __slots__ = ("_number", "_sequence", "image", "key", "meta", "thread", "view")

    def __init__(self, view: View, index: int, sequence: int, meta: Meta) -> None:
        self.view = view
        self.key = (view.generation, index)
        self.image = view.images[index]
        self.meta = meta
        self.thread = threading.get_ident()
        self._number = view.sequences[index]
        self._sequence = sequence

    def intact(self) -> bool:
        """Whether everything read from `image` until now belongs to the version in `meta`."""
        return self._number.load() == self._sequence


class View:
    """Opened by `open`, closed by `close`; the arrays of slots stay valid after that."""

    def __init__(self, file: LiveFile, sizes: Geometry, generation: int, fence: Fence) -> None:
        memory = file.readable()
        words: NDArray[np.uint64] = np.frombuffer(memory, dtype=np.uint64)
        starts = [sizes.slot_offset(slot) + sizes.image_offset for slot in (0, 1)]
        self._file = file
        self._bytes: NDArray[np.uint8] = np.frombuffer(memory, dtype=np.uint8)
        self._words = words
        self._sizes = sizes
        self._publications = Number(words, live_format.PUBLICATIONS, fence)
        self._beat_sequence = Number(words, live_format.BEAT_SEQUENCE, fence)
        self._superseded = Number(words, live_format.SUPERSEDED, fence)
        self._beat: Heartbeat | None = None
        self._beat_read = 0  # sequence of the heartbeat that is kept in `_beat`
        self._metas: list[tuple[int, Meta]] = [(0, {}), (0, {})]
        self._pins = [0, 0]
        self._cells = file.cells()
        self._cell: Cell | None = file.claim()
        self._open = True
        self.generation = generation
        self.layout = self._text(live_format.LAYOUT_OFFSET, sizes.layout_bytes)
        self.images = [self._bytes[at : at + sizes.nbytes] for at in starts]
        self.sequences = [Number(words, at, fence) for at in live_format.SLOT_SEQUENCES]

    @classmethod
    def open(cls, path: Path, generation: int, fence: Fence) -> Self:
        """Map this file; ValueError or OSError if it is not a live file of this boot."""
        file = LiveFile.attach(path)
        try:
            identity = _identity(file)
        except ValueError as error:
            file.detach()
            raise ValueError(f"{path} cannot be served: {error}") from error
        return cls(file, identity.geometry, generation, fence)

    def published(self) -> int:
        """How often it was published to."""
        return self._publications.load()

    def superseded(self) -> bool:
        """Another file is about to take over, or has."""
        return self._superseded.load() != 0

    def pin(self) -> Slot | None:
        """The current slot, pinned; None if there is none."""
        for _ in range(TRIES):
            publication = self._publications.load()
            if publication == 0:
                return None
            index = publication % 2
            self._hold(index)
            sequence = self.sequences[index].load()
            known = self._metas[index][0] == sequence
            text = b"" if known else self._meta_text(index)
            # Still current, so nobody began to write over it: sequence and text are its own. And
            # versions never go back: a slot that is half written, or not yet counted, is not taken.
            if self._publications.load() == publication:
                if not known:
                    self._metas[index] = (sequence, _decoder.decode(text))
                return Slot(self, index, sequence, self._metas[index][1])
            self.let_go(index)
        return None

    def let_go(self, index: int) -> None:
        """One pin less on this slot."""
        self._pins[index] -= 1
        self._show_pin(index)

    def heartbeat(self) -> Heartbeat | None:
        """The newest heartbeat that could be read whole; a writer may have died writing one."""
        for _ in range(BEAT_TRIES):
            sequence = self._beat_sequence.load()
            if sequence == self._beat_read:
                return self._beat
            length = min(int(self._words[live_format.BEAT_OFFSET // 8]), live_format.BEAT_BYTES)
            text = self._text(live_format.BEAT_OFFSET + live_format.LENGTH, length)
            if sequence % 2 == 0 and self._beat_sequence.load() == sequence:
                self._beat, self._beat_read = _decoder.decode(text), sequence
        return self._beat

    def keep_cell(self) -> None:
        """Make sure that pins are respected; asks the kernel, so not for each read."""
        if self._open and (self._cell is None or not self._file.keep(self._cell)):
            self._cell = self._file.claim()
            self._show_pin(0)
            self._show_pin(1)

    def close(self) -> None:
        """Give the cell and the file back; a second call does nothing."""
        if self._open:
            self._open = False
            if self._cell is not None:
                self._file.release(self._cell)
                self._cell = None
            self._file.detach()

    def _hold(self, index: int) -> None:
        self._pins[index] += 1
        self._show_pin(index)

    def _show_pin(self, index: int) -> None:
        if self._cell is not None:
            self._cells[self._cell.index, PINS + index] = 1 if self._pins[index] else 0

    def _meta_text(self, index: int) -> bytes:
        offset = self._sizes.slot_offset(index)
        length = min(int(self._words[offset // 8]), self._sizes.meta_bytes)
        return self._text(offset + live_format.LENGTH, length)

    def _text(self, offset: int, length: int) -> bytes:
        return self._bytes[offset : offset + length].tobytes()


def _identity(file: LiveFile) -> Identity:
    identity = Identity.unpack(file.start(), file.nbytes)
    if identity.boot_id != boot.boot_id():
        raise ValueError("it is from before this machine's last start")
    start = live_format.LAYOUT_OFFSET
    layout = file.readable()[start : start + identity.geometry.layout_bytes]
    if hashlib.sha256(layout).digest() != identity.layout_sha256:
        raise ValueError("its layout is damaged")
    return identity
