"""What the learner has in hand, and which ranges of records it died on.

`InHand` is a small memory-mapped file: before records are decoded, learned or replayed their range
is written there, and taken off afterwards. The kernel keeps the pages of a process that dies, so
the next learner reads what the one before had in hand. `Suspects` counts deaths by range, in a
JSON beside it: a range that got through (the cursors have passed it) is a suspect no more.

After a power loss nothing is counted: a machine that goes down accuses no event.
"""

from __future__ import annotations

import mmap
import secrets
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from service.stream.records import Offsets, named
from service.weights import durable

_log = structlog.get_logger(__name__)

FILE, COUNTS = "in-hand", "suspects.json"
DECODING, LEARNING = 0, 1
"""Cells: the thread that reads ahead writes one, the loop (or the replay) the other."""
DEATHS_TO_EXAMINE = 3
DEATHS_TO_HALT = 6

Phase = Literal["live", "replay"]
Place = tuple[str, int, int, int]
"""(topic, partition, first offset, next offset)"""

_MAGIC = b"HWHAND1\n"
_RUN_BYTES = 16
_CELLS_AT = 64
_CELL_BYTES = 1 << 16
_HEAD = struct.Struct("<II")  # length and CRC-32 of what follows; length 0: nothing in hand
_NOTHING = bytes(4)
_BYTES = _CELLS_AT + 2 * _CELL_BYTES


class Held(msgspec.Struct, array_like=True):
    """What was in a cell."""

    phase: Phase
    places: list[Place]


class InHand:
    """The two cells of the running learner. A write costs about 2 us and reaches no disk."""

    def __init__(self, path: Path) -> None:
        """Map the file, made anew if it is missing or of another kind. Raises OSError."""
        if not path.exists() or path.stat().st_size != _BYTES:
            # real zeros: a hole in a mapped file would be SIGBUS on a full disk
            durable.write_file(path, (_MAGIC + b"-" * _RUN_BYTES).ljust(_BYTES, b"\0"))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _BYTES)
        self._encode = msgspec.json.Encoder().encode

    @property
    def run(self) -> str:
        """The name of the run that wrote the cells."""
        return self._memory[len(_MAGIC) : len(_MAGIC) + _RUN_BYTES].decode("ascii", "replace")

    def begin(self) -> None:
        """Empty the cells, under the name of a new run."""
        for cell in (DECODING, LEARNING):
            self.release(cell)
        self._memory[: len(_MAGIC) + _RUN_BYTES] = _MAGIC + secrets.token_hex(8).encode()

    def hold(self, cell: int, phase: Phase, places: list[Place]) -> None:
        """Say what comes under the hands of this cell's thread now."""
        raw = self._encode((phase, places))
        while len(raw) > _CELL_BYTES - _HEAD.size:  # some of a thousand partitions say enough
            places = places[: len(places) // 2]
            raw = self._encode((phase, places))
        start = _CELLS_AT + cell * _CELL_BYTES
        head = _HEAD.pack(len(raw), zlib.crc32(raw))
        self._memory[start : start + _HEAD.size + len(raw)] = head + raw

    def learn(self, cursors: Mapping[tuple[str, int], int], next_offsets: Offsets) -> None:
        """Say that what lies between is being learned."""
        self.hold(LEARNING, "live", between(cursors, next_offsets))

    def release(self, cell: int) -> None:
        """Say that it got through."""
        start = _CELLS_AT + cell * _CELL_BYTES
        self._memory[start : start + 4] = _NOTHING

    def left(self) -> list[Held]:
        """Return what the cells hold; one that was not written to its end holds nothing."""
        cells = (self._cell(_CELLS_AT + cell * _CELL_BYTES) for cell in (DECODING, LEARNING))
        return [held for held in cells if held is not None and held.places]

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def _cell(self, start: int) -> Held | None:
        length, crc = _HEAD.unpack_from(self._memory, start)
        raw = self._memory[start + _HEAD.size : start + _HEAD.size + length]
        if not 0 < length <= _CELL_BYTES - _HEAD.size or zlib.crc32(raw) != crc:
            return None
        try:
            return msgspec.json.decode(raw, type=Held)
        except msgspec.DecodeError:
            return None


class Suspect(msgspec.Struct):
    """A range, and how often in a row the learner died with it in hand."""

    phase: Phase
    places: list[Place]
    deaths: int

    def __str__(self) -> str:
        return named(
            f"{topic}, partition {partition}, offsets {start} to {end - 1}"
            for topic, partition, start, end in self.places
        )

    def passed(self, cursors: Mapping[tuple[str, int], int]) -> bool:
        """Whether all of it is behind these cursors."""
        return all(cursors.get((t, p), 0) >= end for t, p, _, end in self.places)


class _Counts(msgspec.Struct):
    schema: str
    run: str
    """The run whose death was counted last; so none is counted twice."""
    suspects: list[Suspect]


class Suspects:
    """The ranges that the learner died on, counted when it starts."""

    def __init__(self, directory: Path, *, power_lost: bool = False) -> None:
        """Count the death of the run before, if it had anything in hand. Raises OSError."""
        self.path = directory / COUNTS
        self.in_hand = InHand(directory / FILE)
        self._counts = self._read()
        left, run = self.in_hand.left(), self.in_hand.run
        if left and run != self._counts.run and not power_lost:
            count(self._counts.suspects, left)
            self._counts.run = run
            try:
                self._write()
            except OSError as error:  # a full disk; what was counted is known to this run alone
                _log.warning("suspects_not_saved", file=str(self.path), why=str(error))
        self.in_hand.begin()

    def drop_passed(self, cursors: Offsets) -> None:
        """Forget what got through. Asked when a replay has ended: none of it is suspect now."""
        self.forget([s for s in self._counts.suspects if s.phase == "replay" or s.passed(cursors)])

    def live(self, at_least: int) -> list[Suspect]:
        """Return the suspects among what is still to be learned, with so many deaths."""
        return [s for s in self._counts.suspects if s.phase == "live" and s.deaths >= at_least]

    def deaths(self, cursors: Mapping[tuple[str, int], int]) -> int:
        """Return the most deaths of one range that has not got through."""
        alive = [s.deaths for s in self._counts.suspects if not s.passed(cursors)]
        return max(alive, default=0)

    def take_up(self, suspect: Suspect) -> None:
        """Suspect a range, as if the learner had died there."""
        self._counts.suspects.append(suspect)
        self._write()

    def forget(self, suspects: Sequence[Suspect]) -> None:
        """Suspect these no more."""
        if suspects:
            kept = [s for s in self._counts.suspects if all(s is not gone for gone in suspects)]
            self._counts.suspects = kept
            self._write()

    def in_replay(self, places: list[Place]) -> Suspect | None:
        """Return what is known of a journaled range whose replay killed again and again."""
        for suspect in self._counts.suspects:
            killed = suspect.phase == "replay" and suspect.deaths >= DEATHS_TO_EXAMINE
            if killed and overlap(suspect.places, places):
                return suspect
        return None

    def close(self) -> None:
        """Let go of the file."""
        self.in_hand.close()

    def _read(self) -> _Counts:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_Counts)
        except FileNotFoundError:
            pass
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("suspects_forgotten", file=str(self.path), why=str(error))
        return _Counts("headwater.suspects/1", "", [])

    def _write(self) -> None:
        durable.write_file(self.path, msgspec.json.encode(self._counts))


def between(cursors: Mapping[tuple[str, int], int], next_offsets: Offsets) -> list[Place]:
    """Return the range from the cursors to these offsets."""
    return [(*at, cursors.get(at, 0), end) for at, end in next_offsets.items()]


def overlap(some: Iterable[Place], others: Sequence[Place]) -> bool:
    """Whether two ranges share an offset of a partition."""
    return any(
        topic == t and partition == p and start < e and s < end
        for topic, partition, start, end in some
        for t, p, s, e in others
    )


def count(suspects: list[Suspect], left: list[Held]) -> None:
    """Count one death for each range that was in hand; what overlaps is the same suspect."""
    hit: list[Suspect] = []
    for held in left:
        same = next(
            (s for s in suspects if s.phase == held.phase and overlap(s.places, held.places)), None
        )
        if same is None:
            same = Suspect(held.phase, held.places, 0)
            suspects.append(same)
        same.places = _hull([*same.places, *held.places])
        if all(same is not other for other in hit):
            hit.append(same)
    for suspect in hit:
        suspect.deaths += 1
        _log.warning("died_with_records_in_hand", range=str(suspect), phase=suspect.phase,
                     deaths=suspect.deaths)  # fmt: skip


def _hull(places: list[Place]) -> list[Place]:
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    for topic, partition, start, end in places:
        s, e = ends.get((topic, partition), (start, end))
        ends[topic, partition] = (min(s, start), max(e, end))
    found: Any = [(*at, *span) for at, span in sorted(ends.items())]
    return list(found)
