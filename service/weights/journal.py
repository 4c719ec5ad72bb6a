"""What happened to the state, one entry per version, in the order it happened.

Append-only segments named by their first version. Knows bytes and version numbers; an entry's other
fields are the learner's. One process appends (the holder of the state directory's lock); any may
read, through `Journal.reader`.

`append` hands the entry to the kernel in one write: it survives the death of this process, and a
power cut only after `sync`. A frame torn at the very end (a crash while writing) is cut off when
the journal is opened, and reported; a bad frame with good ones after it is damage, and an error.
When a flush fails, this journal says so to `on_failure` and refuses to go on: the kernel may have
dropped what it could not write, and a second flush would not say so. Sealed segments are checked
when they are read.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from service import crash
from service.weights import durable, journal_frames
from service.weights.journal_frames import Entry
from service.weights.journal_reader import (
    JournalReader,
    damaged,
    end_of,
    segment_path,
    segments,
)

__all__ = ["Entry", "Journal", "JournalReader"]


def _nothing() -> None:
    """Nobody else writes here, or wants to know."""


class Journal:
    """The writer's side. `sync` may be called from another thread than the rest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.torn_bytes = 0
        """Bytes of an unfinished entry that opening cut off."""
        self.damaged_tail = False
        """What was cut off was no unfinished entry, but a whole one with wrong bits: it may have
        been seen, so whoever goes on from here needs a new lineage."""
        self._fd: int | None = None
        self._first = 0  # version the open segment begins with
        self._next: int | None = None  # version to append; None: any, nothing was ever written
        self._size = 0
        self._synced: int | None = None  # all versions below are known to be on the medium
        self._failure: OSError | None = None
        self._closed = False
        self._syncing = threading.Lock()
        self._still_ours: Callable[[], None] = _nothing
        self._on_failure: Callable[[], None] = _nothing

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        after_power_loss: bool = False,
        still_ours: Callable[[], None] = _nothing,
        on_failure: Callable[[], None] = _nothing,
    ) -> Self:
        """Continue the journal in this directory, or begin one.

        After a power loss the unflushed end may have holes: then the newest segment is cut at its
        first bad frame even if good ones follow, and what is left is written anew: after a failed
        flush another one of the same file proves nothing. Only for a caller who mints a new
        lineage.

        still_ours: asked right before each entry; raises when another process may write here.
        on_failure: told at once when what was handed to the kernel may never reach the medium.
        """
        durable.make_directory(directory)
        for unfinished in directory.glob(f"{durable.TEMPORARY}*"):
            durable.unlink(unfinished)
        journal = cls(directory)
        journal._still_ours, journal._on_failure = still_ours, on_failure
        known = segments(directory)
        if known:
            journal._resume(known[-1], after_power_loss)
        return journal

    @staticmethod
    def reader(directory: Path) -> JournalReader:
        """Read-only, for any process at any time."""
        return JournalReader(directory)

    @property
    def last_version(self) -> int | None:
        """The version of the newest entry; None if there never was one."""
        return self._next - 1 if self._next else None

    @property
    def synced_version(self) -> int | None:
        """The newest version that a power cut cannot take away, as far as this process knows."""
        return self._synced - 1 if self._synced else None

    def append(self, entry: Entry) -> None:
        """Write the entry whose "version" follows the last one."""
        self._refuse_if_unusable()
        version = entry["version"]
        if self._next is not None and version != self._next:
            raise ValueError(f"entry {version} does not follow {self.last_version}")
        frame = journal_frames.encode(entry)
        crash.point("journal_before_append")
        if self._fd is None:
            self._begin(version)
        assert self._fd is not None
        self._still_ours()
        try:
            self._write(frame)
        except OSError as error:
            self._take_back(error)
            raise
        self._size += len(frame)
        self._next = version + 1
        crash.point("journal_after_append")

    def sync(self) -> None:
        """Flush all entries; cheap if there are no new ones."""
        with self._syncing:
            self._flush()

    def rotate(self) -> None:
        """Seal the open segment; the next entry begins another."""
        self._still_ours()
        with self._syncing:
            self._flush()
            if self._fd is None or self._next is None or self._next == self._first:
                return
            durable.close(self._fd)
            self._fd = None
            crash.point("journal_mid_rotate")
            self._begin(self._next)

    def drop_before(self, version: int) -> None:
        """Remove sealed segments with nothing but entries older than this version.

        Oldest first, each for good before the next: a power cut leaves no gap.
        """
        self._still_ours()
        known = segments(self.directory)
        for first, following in itertools.pairwise(known):
            if following <= version:
                durable.unlink(segment_path(self.directory, first))
                crash.point("journal_mid_drop")
                durable.flush_directory(self.directory)

    def read(self, from_version: int) -> Iterator[Entry]:
        """The entries from this version to the present end, in order."""
        return JournalReader(self.directory).read(from_version)

    @property
    def first_version(self) -> int | None:
        """The oldest version that can still be read; None without entries."""
        return JournalReader(self.directory).first_version

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        with self._syncing:
            if self._closed:
                return
            try:
                if self._failure is None:
                    self._flush()
            finally:
                self._closed = True
                if self._fd is not None:
                    durable.close(self._fd)
                    self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _resume(self, first: int, after_power_loss: bool) -> None:
        path = segment_path(self.directory, first)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            end, following = end_of(file, first)
            if not after_power_loss and journal_frames.any_after(file, end, following):
                raise damaged(path, end, f"entry {following} cannot be read, but later can")
            self.damaged_tail = journal_frames.whole_at(file, end)
            file.seek(0)
            content = file.read(end) if after_power_loss else b""
        if after_power_loss:
            durable.write_file(path, content)
        self._fd, self._first = durable.reopen(path), first
        self._flush_name()  # who made it may have died before that
        self.torn_bytes = size - end
        if size > end and not after_power_loss:
            durable.truncate(self._fd, end)
            self._flush_file(self._fd)
        self._size, self._next = end, following
        self._synced = first  # what a process before us wrote may still be with the kernel

    def _begin(self, first: int) -> None:
        self._fd, self._first = durable.create(segment_path(self.directory, first)), first
        self._size, self._next, self._synced = 0, first, first
        crash.point("journal_segment_begun")
        self._flush_name()

    def _flush(self) -> None:
        self._refuse_if_unusable()
        following = self._next
        if self._fd is None or following == self._synced:
            return
        crash.point("journal_before_sync")
        self._flush_file(self._fd)
        self._synced = following
        crash.point("journal_after_sync")

    def _write(self, frame: bytes) -> None:
        fd = self._fd
        assert fd is not None
        crash.point("journal_half_written", lambda: durable.append(fd, frame[: len(frame) // 2]))
        if durable.append(fd, frame) < len(frame):  # one call: readers see no half for long
            raise OSError(errno.ENOSPC, "no room for another entry", str(self.directory))

    def _take_back(self, error: OSError) -> None:
        assert self._fd is not None
        if durable.size(self._fd) == self._size:
            return  # nothing of it was written: a disk that is read-only by now, say
        self._failure = error  # stands if the next line fails: half a frame would be in the middle
        try:
            durable.truncate(self._fd, self._size)
        except OSError:
            self._on_failure()
            raise
        self._failure = None

    def _flush_file(self, fd: int) -> None:
        try:
            durable.flush(fd)
        except OSError as error:
            self._fail(error)
            raise

    def _flush_name(self) -> None:
        try:
            durable.flush_directory(self.directory)
        except OSError as error:
            self._fail(error)
            raise

    def _fail(self, error: OSError) -> None:
        self._failure = error
        self._on_failure()

    def _refuse_if_unusable(self) -> None:
        if self._closed:
            raise ValueError(f"the journal in {self.directory} is closed")
        if self._failure is not None:
            raise OSError(
                errno.EIO, f"not used again after an error ({self._failure})", str(self.directory)
            )
