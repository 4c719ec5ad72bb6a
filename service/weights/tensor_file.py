"""One part of a state as a safetensors file: written durably, read with every check.

Knows tensors and one file; does not know snapshots. A file holds only finite numbers of the types
below, so a state that would be refused when it is needed is refused when it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from service.weights import durable
from service.weights.digest import Part, flat_array

SUFFIX = ".safetensors"
CHUNK = 1 << 20
_RESERVED = "__metadata__"
DTYPES = (torch.float32, torch.float64, torch.int64, torch.uint8)


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

    The caller flushes the directory. An attempt that was killed leaves a file named `.tmp*`.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in part.items()}
    try:
        # save_file writes from the tensors' own memory; the other ways copy it, holding the GIL
        safetensors.torch.save_file(tensors, path)
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    path.chmod(durable.FILE_MODE)
    durable.flush_path(path)
    return path.stat().st_size, _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, nbytes: int, sha256: str) -> dict[str, torch.Tensor]:
    """The tensors of the file, if it is the very file that was written; otherwise Unusable."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from error
    if len(content) != nbytes:
        raise Unusable(f"has {len(content)} bytes, written were {nbytes}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Unusable("its sha256 is not the one it was written with")
    try:
        tensors: Mapping[str, torch.Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise Unusable(f"is not a safetensors file: {error}") from error
    check(tensors)
    return dict(tensors)
