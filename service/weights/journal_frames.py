"""How a journal entry lies in a file, and where a file of them ends.

A frame is the payload's length (u32), its crc32 (u32), and the payload: the entry as JSON with its
`version`. Knows bytes; opens no file. A frame is believed only if length, checksum and version fit,
so a run of zeros, which a power cut can leave behind, is never taken for entries.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import msgspec

HEADER = struct.Struct("<II")
MOST_BYTES = 1 << 26
_OPENING = b'{"'  # how every payload begins: an entry is an object and not empty

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])

Entry = dict[str, Any]


class Framed(NamedTuple):
    """One entry and where the frame after it begins."""

    entry: Entry
    next_offset: int


def encode(entry: Entry) -> bytes:
    """The frame of an entry."""
    payload = _encoder.encode(entry)
    if len(payload) > MOST_BYTES:
        raise ValueError(f"a journal entry of {len(payload)} bytes is too long")
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def frame_at(file: BinaryIO, offset: int, version: int) -> Framed | None:
    """The frame at this offset, if it is whole and holds this very version."""
    file.seek(offset)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, checksum = HEADER.unpack(header)
    if not 0 < length <= MOST_BYTES:
        return None
    payload = file.read(length)
    entry = _entry(payload, length, checksum)
    if entry is None or entry.get("version") != version:
        return None
    return Framed(entry, offset + HEADER.size + length)


def frames(file: BinaryIO, first_version: int) -> Iterator[Framed]:
    """The frames from the start of the file, up to the first that cannot be believed."""
    offset, version = 0, first_version
    while framed := frame_at(file, offset, version):
        yield framed
        offset, version = framed.next_offset, version + 1


def any_after(file: BinaryIO, offset: int, version: int) -> bool:
    """Whether a believable frame of a version from `version` on begins anywhere after `offset`.

    This tells damage in the middle, which is an error, from a torn end, which is cut off.
    """
    file.seek(offset)
    rest = file.read()
    body = rest.find(_OPENING, HEADER.size + 1)
    while body >= 0:
        length, checksum = HEADER.unpack_from(rest, body - HEADER.size)
        if 0 < length <= MOST_BYTES:
            entry = _entry(rest[body : body + length], length, checksum)
            if entry is not None and entry.get("version", -1) >= version:
                return True
        body = rest.find(_OPENING, body + 1)
    return False


def whole_at(file: BinaryIO, offset: int) -> bool:
    """Whether as many bytes follow as the header here promises: a killed writer leaves fewer."""
    size = file.seek(0, 2)
    file.seek(offset)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return False
    length: int = HEADER.unpack(header)[0]
    return 0 < length <= size - offset - HEADER.size


def _entry(payload: bytes, length: int, checksum: int) -> Entry | None:
    if len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError:
        return None
