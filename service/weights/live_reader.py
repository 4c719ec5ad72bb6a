"""Read the live weights where they lie: no copy, never torn, whoever else lives or dies.

Knows the file, not what its bytes mean. A reader pins the current slot, computes on it, asks the
slot whether it is still intact, and otherwise throws the result away and tries again. Versions do
not go back for a reader as long as the writer publishes them in order. A pointer or a directory
that goes away changes nothing for a file that is mapped; a new file is served from its first
publication on, while its heartbeat counts at once.

One reader per process is enough, for any number of threads; do not carry one across a fork.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.weights import live_directory
from service.weights.live_format import Fence, fence_here
from service.weights.live_view import Heartbeat, Slot, View


class LiveReader:
    """The live weights of one runtime directory, which need not exist yet."""

    def __init__(self, directory: Path, *, fence: Fence | None = None) -> None:
        self.directory = directory
        self.trouble = ""
        """Why the file that is pointed to is not followed; empty if it is."""
        self._fence = fence or fence_here()
        self._followed: tuple[int, int, int] | None = None
        self._newest: View | None = None
        self._served: View | None = None
        self._generation = 0
        self._held: list[Slot] = []
        self._changing = threading.Lock()
        self.refresh()

    @property
    def layout(self) -> bytes:
        """The blob that says what the bytes of an image mean; empty while there is no file."""
        return self._served.layout if self._served else b""

    @property
    def pointed_layout(self) -> bytes:
        """The layout of the file that is pointed to, which may wait for its first publication."""
        return self._newest.layout if self._newest else b""

    @property
    def superseded(self) -> bool:
        """Another file takes over from the one that is served: `refresh` before the next read, or
        a version may be read that is older than one that somebody else was told already."""
        return self._served is not None and self._served.superseded()

    def refresh(self) -> bool:
        """Follow the pointer; True if another file is served from now on. Costs one stat."""
        with self._changing:
            self._follow()
            served = self._served
            if served is not None:
                served.keep_cell()
            if not self._outdated(served):
                return False
            self._served = self._newest
            if served is not None:
                self._retire(served)
            return True

    def pin(self) -> Slot | None:
        """The current slot, protected until `unpin`; None if nothing was published yet."""
        with self._changing:
            slot = self._served.pin() if self._served else None
            if slot is not None:
                self._held.append(slot)
            return slot

    def unpin(self, slot: Slot | None = None) -> None:
        """Give a slot back: this one, or the last that the calling thread pinned."""
        with self._changing:
            if slot is None:
                me = threading.get_ident()
                slot = next(held for held in reversed(self._held) if held.thread == me)
            self._held.remove(slot)
            slot.view.let_go(slot.key[1])
            if slot.view not in (self._served, self._newest):
                self._retire(slot.view)

    @contextmanager
    def pinned(self) -> Iterator[Slot | None]:
        """`pin` and `unpin` around a block."""
        slot = self.pin()
        try:
            yield slot
        finally:
            if slot is not None:
                self.unpin(slot)

    def heartbeat(self) -> Heartbeat | None:
        """What the learner last said of itself; None if it never did."""
        with self._changing:
            return self._newest.heartbeat() if self._newest is not None else None

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        with self._changing:
            for view in {self._newest, self._served, *(slot.view for slot in self._held)}:
                if view is not None:
                    view.close()
            self._newest = self._served = self._followed = None
            self._held.clear()

    def _outdated(self, served: View | None) -> bool:
        if self._newest is None or self._newest is served:
            return False
        return served is None or self._newest.published() > 0 or served.published() == 0

    def _retire(self, view: View) -> None:
        if all(slot.view is not view for slot in self._held):
            view.close()

    def _follow(self) -> None:
        try:
            found = (self.directory / live_directory.POINTER).stat()
            followed = (found.st_ino, found.st_mtime_ns, found.st_size)
            if followed == self._followed:
                return
            path = live_directory.pointed_to(self.directory)
            view = View.open(path, self._generation + 1, self._fence)
        except (OSError, ValueError) as error:
            self.trouble = str(error)
            return
        self.trouble = ""
        self._generation += 1
        self._followed = followed
        if self._newest is not None and self._newest is not self._served:
            self._retire(self._newest)
        self._newest = view
        if self._served is None and view.published() == 0:
            self._served = self._before(path)

    def _before(self, path: Path) -> View | None:
        """The file that was served before this one, which is new, and was not published to yet."""
        try:
            older = live_directory.last_published(self.directory, path)
            if older is None:
                return None
            self._generation += 1
            return View.open(older, self._generation, self._fence)
        except (OSError, ValueError):
            return None  # of another boot, or unlinked a moment ago
