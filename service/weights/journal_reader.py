"""Read the journal, next to the process that writes it or after that process is gone.

Knows segments and their order. The end of the newest segment may be in the middle of being
written: reading stops there and can go on later. Anywhere else, a frame that is missing or cannot
be believed raises JournalDamaged naming file and offset; nothing is ever skipped. The writer may
seal the segment that is read, and drop one that is about to be: a segment that another follows is
final, and what was dropped is JournalDamaged too. Changes nothing.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypedDict

from service.errors import JournalDamaged
from service.weights.journal_frames import (
    Entry,
    Framed,
    any_after,
    frame_at,
    frames,
    whole_at,
)

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


class Fault(TypedDict):
    """One place that is wrong; `file` begins with the journal's directory. No snapshot: id null."""

    id: None
    file: str
    reason: str


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
        while (first := next(reversed(segments(self.directory)), None)) is not None:
            try:
                with segment_path(self.directory, first).open("rb") as file:
                    _, following = end_of(file, first)
            except FileNotFoundError:
                if first in segments(self.directory):
                    raise
                continue  # dropped since: there is a newer one
            return following - 1 if following else None
        return None

    def read(self, from_version: int) -> Iterator[Entry]:
        """The entries from this version to the present end, in order."""
        known = segments(self.directory)
        if not known:
            return
        first = max((f for f in known if f <= from_version), default=None)
        if first is None:
            raise self._gone(from_version)
        while first is not None:
            path = segment_path(self.directory, first)
            offset, version, following = 0, first, None
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise self._gone(max(version, from_version)) from None
            with file:
                while True:
                    framed = frame_at(file, offset, version)
                    if framed is None:
                        framed, following = self._look_again(path, offset, version)
                    if framed is None:
                        break
                    if version >= from_version:
                        yield framed.entry
                    offset, version = framed.next_offset, version + 1
            first = following

    @property
    def nbytes(self) -> int:
        """Bytes of all segments that are there."""
        found = 0
        for first in segments(self.directory):
            with contextlib.suppress(FileNotFoundError):  # its owner takes away what is not needed
                found += segment_path(self.directory, first).stat().st_size
        return found

    def verify(self, told: Callable[[int], None] = lambda _: None) -> list[Fault]:
        """Read every segment whole; what is wrong, empty if nothing is.

        An unfinished entry at the very end is not: a learner may be writing it, or died of it.
        told: called with how many more bytes were read.
        """
        known = segments(self.directory)
        return [
            Fault(id=None, file=f"{self.directory.name}/{path.name}", reason=reason)
            for first, following in itertools.zip_longest(known, known[1:])
            if (
                reason := _wrong_in(
                    path := segment_path(self.directory, first), first, following, told
                )
            )
        ]

    def _after(self, first: int) -> int | None:
        return next((f for f in segments(self.directory) if f > first), None)

    def _gone(self, version: int) -> JournalDamaged:
        oldest = next(iter(segments(self.directory)), None)
        left = "nothing is left" if oldest is None else f"the oldest is {oldest}"
        return JournalDamaged(f"entry {version} is not in {self.directory}: {left}")

    def _look_again(
        self, path: Path, offset: int, version: int
    ) -> tuple[Framed | None, int | None]:
        """What stands where no frame was seen; else the segment to go on with, None at the end.

        Asks first for what follows: if anything does, this segment was sealed before we look.
        """
        following = self._after(int(path.stem))
        try:
            file = path.open("rb")  # anew: the other's buffer may hold what was torn and cut
        except FileNotFoundError:  # dropped, with what we have read: so it was sealed
            if following != version:
                raise self._gone(version) from None
            return None, following
        with file:
            more = any_after(file, offset, version)
            # What was half written a moment ago is whole by now if anything follows it.
            framed = frame_at(file, offset, version)
            size = file.seek(0, 2)
        if framed or (following is None and not more):
            return framed, None
        if more or size != offset:
            raise damaged(path, offset, f"entry {version} cannot be read, but later can")
        if following != version:
            raise damaged(path, offset, f"entry {version} is missing; the next file begins later")
        return None, following


def _wrong_in(
    path: Path, first: int, following: int | None, told: Callable[[int], None]
) -> str | None:
    """What is wrong in a segment, and from which byte on; `following` is what the next begins with,
    None: it is the newest, and may be written meanwhile."""
    try:
        file = io.BytesIO(path.read_bytes())  # one look: it may grow
    except FileNotFoundError:
        return None  # dropped by the owner since it was listed
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    end, version = end_of(file, first)
    size = file.seek(0, 2)
    told(size)
    if following is None:
        wrong = whole_at(file, end) or any_after(file, end, version)
    else:
        wrong = end != size
    if wrong:
        return f"damaged at byte {end}: entry {version} cannot be read"
    if following is not None and following != version:
        return (
            f"ends at byte {end}: entry {version} is missing; the next file begins with {following}"
        )
    return None
