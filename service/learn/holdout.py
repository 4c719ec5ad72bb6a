"""Which events are set aside: scored, never learned. Decided by the event alone, so for ever."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.events.decode import Decoded
from service.stream.records import Record

_MIX = np.uint64(0x9E3779B97F4A7C15)


def held_out(share: float, records: Sequence[Record], decoded: Decoded) -> NDArray[np.bool_]:
    """Return [N]: which events of a cut are held out, about this share of all. By the event's id
    where it has one, else by its place in the topic."""
    n = len(decoded.columns)
    if share <= 0.0:
        return np.zeros(n, dtype=np.bool_)
    places = np.fromiter(
        (
            zlib.crc32(f"{r.topic}/{r.partition}/{r.offset}/{row}".encode())
            for r, row in zip(
                (records[i] for i in decoded.record), decoded.row.tolist(), strict=True
            )
        ),
        np.uint64,
        n,
    )
    keys = np.where(decoded.columns.keys == 0, places, decoded.columns.keys)
    mixed = (keys ^ (keys >> np.uint64(31))) * _MIX
    held: NDArray[np.bool_] = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 < share
    return held
