"""Read the journal, next to the process that writes it or after that process is gone.

Knows segments and their order. The end of the newest segment may be in the middle of being
written: reading stops there and can go on later. Anywhere else, a frame that is missing or cannot
be believed raises JournalDamaged naming file and offset; nothing is ever skipped. Changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from service.errors import JournalDamaged
from service.weights.journal_frames import Entry, Framed, any_after, frame_at, frames

_SEGMENT = re.compile(r"([0-9]{20})\.hwj")


def segment_path(directory: Path, first_version: int) -> Path:
    """The file whose first entry has this version."""
    return directory / f"{first_version:020d}.hwj"


def segments(directory: Path) -> list[int]:
    """The first version of each segment, ascending."""
    if not directory.is_dir():
        return []
    names = (_SEGMENT.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(name[1]) for name in names if name)


def end_of(file: BinaryIO, first_version: int) -> tuple[int, int]:
    """Where the believable frames end, and the version that would come next."""
    offset, version = 0, first_version
    for framed in frames(file, first_version):
        offset, version = framed.next_offset, version + 1
    return offset, version


def damaged(path: Path, offset: int, reason: str) -> JournalDamaged:
    """The error for a place in a segment."""
    return JournalDamaged(f"{path} is damaged at byte {offset}: {reason}")


class JournalReader:
    """The entries in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def first_version(self) -> int | None:
        """The oldest version that can still be read; None without entries."""
        first = next(iter(segments(self.directory)), None)
        last = self.last_version
        return None if first is None or last is None or last < first else first

    @property
    def last_version(self) -> int | None:
        """The newest version; None if there never was one. Reads the newest segment."""
        first = next(reversed(segments(self.directory)), None)
        if first is None:
            return None
        with segment_path(self.directory, first).open("rb") as file:
            _, following = end_of(file, first)
        return following - 1 if following else None

    def read(self, from_version: int) -> Iterator[Entry]:
        """The entries from this version to the present end, in order."""
        known = segments(self.directory)
        if not known:
            return
        first = max((f for f in known if f <= from_version), default=None)
        if first is None:
            raise JournalDamaged(
                f"entry {from_version} is not in {self.directory}: the oldest is {known[0]}"
            )
        while first is not None:
            path = segment_path(self.directory, first)
            with path.open("rb") as file:
                offset, version = 0, first
                while framed := self._frame(file, path, offset, version):
                    if version >= from_version:
                        yield framed.entry
                    offset, version = framed.next_offset, version + 1
            first = self._after(first)

    def _after(self, first: int) -> int | None:
        return next((f for f in segments(self.directory) if f > first), None)

    def _frame(self, file: BinaryIO, path: Path, offset: int, version: int) -> Framed | None:
        return frame_at(file, offset, version) or self._frame_at_end(path, offset, version)

    def _frame_at_end(self, path: Path, offset: int, version: int) -> Framed | None:
        following = self._after(int(path.stem))
        with path.open("rb") as file:  # anew: the other's buffer may hold what was torn and cut
            more = any_after(file, offset, version)
            # What was half written a moment ago is whole by now if anything follows it.
            framed = frame_at(file, offset, version)
            size = file.seek(0, 2)
        if framed or (following is None and not more):
            return framed
        if more or size != offset:
            raise damaged(path, offset, f"entry {version} cannot be read, but later can")
        if following != version:
            raise damaged(path, offset, f"entry {version} is missing; the next file begins later")
        return None
