"""One part of a state as a safetensors file: written durably, read with every check.

Knows tensors and one file; does not know snapshots. A file holds only finite numbers of the types
below, so a state that would be refused when it is needed is refused when it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import safetensors
import safetensors.torch
import torch

from service.weights import durable
from service.weights.digest import Part, flat_array

SUFFIX = ".safetensors"
CHUNK = 1 << 20
_RESERVED = "__metadata__"
PIECE_BYTES = 1 << 23
"""Large, because each piece asks for the interpreter's lock anew, beside a loop that has it."""
_NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}
DTYPES = tuple(_NAMES)


class _Placed(msgspec.Struct):
    """What the header says of one tensor."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class Unusable(Exception):
    """This file, or this part, cannot be trusted; the text says why."""


def check(part: Part) -> None:
    """Raise Unusable for a type that is not kept, or a number that is not finite."""
    if _RESERVED in part:
        raise Unusable(f"tensor {_RESERVED!r} has a name that the format keeps for itself")
    for name, tensor in part.items():
        if tensor.dtype not in DTYPES:
            raise Unusable(f"tensor {name!r} has type {tensor.dtype}, which is not kept")
        if tensor.dtype.is_floating_point and not _is_finite(tensor):
            raise Unusable(f"tensor {name!r} holds a number that is not finite")


def _is_finite(tensor: torch.Tensor) -> bool:
    flat = flat_array(tensor)  # in pieces: a mask as long as the table would double the memory
    return all(np.isfinite(flat[at : at + CHUNK]).all() for at in range(0, flat.size, CHUNK))


def write(part: Part, path: Path) -> tuple[int, str]:
    """Write a part that was checked as a new, flushed file; its size and sha256.

    The caller flushes the directory. An attempt that failed leaves no file, one that was killed
    leaves one named `.tmp*`.
    """
    total, nbytes = hashlib.sha256(), 0
    fd = durable.create(path)
    try:
        for piece in _pieces(part):
            durable.append_all(fd, piece)
            total.update(piece)
            nbytes += len(piece)
        durable.flush(fd)
    finally:
        durable.close(fd)
    return nbytes, total.hexdigest()


def _pieces(part: Part) -> Iterator[memoryview]:
    """The bytes of a safetensors file, from the tensors' own memory.

    As the library writes it: the length of the header (u64), the header as JSON, padded to 8
    bytes, then the tensors, those with the widest type first, so that each lies aligned. The
    library's own `save_file` can be neither watched nor made to fail by a test of power cuts.
    """
    names = sorted(part, key=lambda name: (-part[name].element_size(), name))
    header: dict[str, _Placed] = {}
    at = 0
    for name in names:
        tensor = part[name]
        ends = at + tensor.numel() * tensor.element_size()
        header[name] = _Placed(_NAMES[tensor.dtype], list(tensor.shape), (at, ends))
        at = ends
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for name in names:
        flat = flat_array(part[name]).view(np.uint8).data
        for start in range(0, len(flat), PIECE_BYTES):
            yield flat[start : start + PIECE_BYTES]


def read(
    path: Path, nbytes: int, sha256: str, told: Callable[[int], None] = lambda _: None
) -> dict[str, torch.Tensor]:
    """The tensors of the file, if it is the very file that was written; otherwise Unusable.

    told: called with how many more bytes were gone through.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from error
    if len(content) != nbytes:
        raise Unusable(f"has {len(content)} bytes, written were {nbytes}")
    total = hashlib.sha256()
    for start in range(0, nbytes, PIECE_BYTES):
        piece = memoryview(content)[start : start + PIECE_BYTES]
        total.update(piece)
        told(len(piece))
    if total.hexdigest() != sha256:
        raise Unusable("its sha256 is not the one it was written with")
    try:
        tensors: Mapping[str, torch.Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise Unusable(f"is not a safetensors file: {error}") from error
    check(tensors)
    return dict(tensors)
