"""How much a JSON text would be in memory, told from its signs before it is decoded.

Knows braces, commas and quotes. Does not know what they mean, nor whether the text is JSON: the
decoder says that. Works in blocks, so it takes a fraction of the text's own size.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

_BLOCK = 262_144
_ESCAPED = re.compile(rb"\\.", re.DOTALL)


class Signs(NamedTuple):
    """What a text holds: objects and lists anywhere, and items of what lies two levels deep."""

    boxes: int
    items: int


def count(text: bytes, depth: int = 2) -> Signs:
    """Count the signs of a text that are not inside of its strings."""
    boxes = commas = level = 0
    quoted = 0
    rest = b""
    for at in range(0, len(text), _BLOCK):
        block = _ESCAPED.sub(b"__", rest + text[at : at + _BLOCK])
        rest = b"\\" if block.endswith(b"\\") else b""
        signs = np.frombuffer(block, dtype=np.uint8)
        quotes = quoted + np.cumsum(signs == ord('"'), dtype=np.int32)
        plain = (quotes & 1) == 0
        opening = plain & ((signs == ord("{")) | (signs == ord("[")))
        closing = plain & ((signs == ord("}")) | (signs == ord("]")))
        levels = level + np.cumsum(opening.view(np.int8) - closing.view(np.int8), dtype=np.int32)
        boxes += int(np.count_nonzero(opening))
        commas += int(np.count_nonzero(plain & (signs == ord(",")) & (levels == depth)))
        quoted, level = int(quotes[-1]), int(levels[-1])
    return Signs(boxes, commas + 1)
