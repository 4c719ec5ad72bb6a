"""A fingerprint of tensors: the same names, types, shapes and bytes give the same text.

sha256 over the tensors in the order of their names. Each contributes the text
"name\\0float32\\0[2, 3]\\0" and its bytes, row-major and little-endian. The model computes the same
from its image without making tensors; a golden value in the tests holds the two together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

Part = Mapping[str, torch.Tensor]


def digest(parts: Mapping[str, Part]) -> dict[str, str]:
    """The fingerprint of each part, as hexadecimal."""
    return {name: part_digest(part) for name, part in parts.items()}


def part_digest(part: Part) -> str:
    """The fingerprint of one part."""
    total = hashlib.sha256()
    for name in sorted(part):
        tensor = part[name]
        values = flat_array(tensor)
        total.update(f"{name}\0{values.dtype}\0{list(tensor.shape)}\0".encode())
        total.update(values.view(np.uint8).data)
    return total.hexdigest()


def flat_array(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The tensor's own memory as a flat array (a copy only where it is not contiguous)."""
    array: NDArray[np.generic] = tensor.detach().contiguous().reshape(-1).numpy()
    return array
