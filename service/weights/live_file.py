"""One live file as one process holds it: its descriptor, its mappings, its pin cells.

A reading process owns a pin cell as long as it holds a lock on the cell's first byte. The kernel
gives that lock back when the process dies, in whatever container it lived, so a pin of the dead is
recognised without trusting process numbers, which two containers may share.

Such locks belong to the process, not to the descriptor: closing *any* descriptor of the file drops
them all, also the hidden one that every mapping has. So a process holds each live file once, shared
by all readers and the writer in it, and that one place says which cells are taken here. Should
the locks get lost anyway (other code opened and closed the file), `keep` takes them again; until
then a pin may be ignored, which costs a reader a retry and never a torn read.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.weights.live_format import CELL_BYTES, CELLS, PAGE, PINS_OFFSET, Words

OWNER, TOKEN, PINS = 0, 1, 2  # 8-byte numbers in a cell; from PINS on, one per slot
_WORDS = CELL_BYTES // 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A claimed pin cell; the token tells it from one of another process with this number."""

    index: int
    token: int


_open: dict[tuple[int, int, int], LiveFile] = {}
"""By process, device and inode: after a fork the parent's locks are not the child's."""
_opening = threading.RLock()


class LiveFile:
    """Attach with `attach`, once per user; `detach` as often."""

    def __init__(self, fd: int, key: tuple[int, int, int]) -> None:
        self._key = key
        self._fd = fd
        self._strays: list[int] = []
        self._users = 0
        self._taken: set[int] = set()
        self.nbytes = os.fstat(fd).st_size
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def attach(cls, path: Path) -> LiveFile:
        """The file under this name, opened or shared."""
        with _opening:
            known = _open.get(_key_of(path.stat()))
            if known is None:
                fd = os.open(path, os.O_RDWR)
                key = _key_of(os.fstat(fd))
                known = _open.get(key)
                if known is None:
                    known = _open[key] = cls(fd, key)
                else:  # renamed under our eyes; closing it would drop the locks
                    known._strays.append(fd)
            known._users += 1
            return known

    def detach(self) -> None:
        """One user less; the last one closes. Arrays on the mappings stay valid."""
        with _opening:
            self._users -= 1
            if self._users:
                return
            if _open.get(self._key) is self:
                del _open[self._key]
            self._maps.clear()
            for fd in (self._fd, *self._strays):
                os.close(fd)

    def readable(self) -> mmap.mmap:
        """The whole file, read-only."""
        with _opening:
            if "read" not in self._maps:
                self._maps["read"] = mmap.mmap(self._fd, self.nbytes, access=mmap.ACCESS_READ)
            return self._maps["read"]

    def start(self) -> bytes:
        """The first page, where the file says what it is."""
        return self.readable()[:PAGE]

    def writable(self) -> mmap.mmap:
        """The whole file, for the writer."""
        with _opening:
            if "write" not in self._maps:
                self._maps["write"] = mmap.mmap(self._fd, self.nbytes, access=mmap.ACCESS_WRITE)
            return self._maps["write"]

    def cells(self) -> Words:
        """The pin cells [CELLS, words], which everyone may write."""
        with _opening:
            if "pins" not in self._maps:
                self._maps["pins"] = mmap.mmap(
                    self._fd, CELLS * CELL_BYTES, access=mmap.ACCESS_WRITE, offset=PINS_OFFSET
                )
            words: NDArray[np.uint64] = np.frombuffer(self._maps["pins"], dtype=np.uint64)
            return words.reshape(CELLS, _WORDS)

    def claim(self) -> Cell | None:
        """A cell for one reader of this process; None if all are taken."""
        with _opening:
            cells = self.cells()
            for index in range(CELLS):
                if index in self._taken or not self._lock(index):
                    continue
                cell = Cell(index, secrets.randbits(63) | 1)
                cells[index, PINS:] = 0
                cells[index, OWNER] = os.getpid()
                cells[index, TOKEN] = cell.token
                self._taken.add(index)
                return cell
            return None

    def keep(self, cell: Cell) -> bool:
        """Make sure that the cell is still ours; False if another process has it now."""
        with _opening:
            if self._lock(cell.index):
                if int(self.cells()[cell.index, TOKEN]) == cell.token:
                    return True
                self._unlock(cell.index)
            self._taken.discard(cell.index)
            return False

    def release(self, cell: Cell) -> None:
        """Give the cell back."""
        with _opening:
            if self.keep(cell):
                self.cells()[cell.index] = 0
                self._taken.discard(cell.index)
                self._unlock(cell.index)

    def forget_dead(self, index: int) -> bool:
        """Whether nobody alive owns this cell; if so, its pins are gone."""
        with _opening:
            if index in self._taken or not self._lock(index):
                return False
            self.cells()[index] = 0
            self._unlock(index)
            return True

    def _lock(self, index: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(index))
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def _unlock(self, index: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _byte(index))


def _byte(index: int) -> int:
    return PINS_OFFSET + index * CELL_BYTES


def _key_of(found: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), found.st_dev, found.st_ino
