"""The nouns of the stream: records, cuts, and what may come instead of a cut.

Knows nothing of Kafka's client. Offsets are always the NEXT offset to read: the first one that is
not contained in what they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

TP = tuple[str, int]
"""(topic, partition)"""

Offsets = dict[TP, int]
"""The next offset of each partition."""

Epochs = dict[TP, int]
"""Per partition the leader epoch of the last record before its cursor. Kept with the cursor, it
shows whether the log was cut off before the cursor and goes on with other records."""

Headers = tuple[tuple[str, bytes | None], ...]

Trigger = Literal["size", "time", "flush"]
"""Why a cut went out: enough records, waited long enough, or it was asked for (a replay)."""

Loss = Literal["retention", "truncated", "recreated", "topic_missing"]
"""Why records are gone: deleted in front, cut off at the end, other topic of that name, no topic."""

_MOST_NAMED = 5


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka message. `timestamp_ms`: -1 where it has none. `value`: None is a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None


class Cut(msgspec.Struct, frozen=True):
    """One micro-batch. It never splits a record."""

    records: list[Record]
    """In row order: (timestamp, topic, partition, offset)."""
    next_offsets: Offsets
    """Where the cursors of the partitions that moved stand afterwards."""
    trigger: Trigger
    selection: list[int]
    """Indices into `records` in the order they were taken (the order of the merge)."""
    epochs: Epochs = {}
    """Leader epochs of the partitions that moved, where the broker tells them."""


class DataLoss(msgspec.Struct, frozen=True):
    """Records at the cursor cannot be read any more. `available_high` is exclusive; in a log that
    was cut off it is where: from there on the records are others, or none."""

    topic: str
    partition: int
    reason: Loss
    wanted: int
    available_low: int
    available_high: int

    def __str__(self) -> str:
        return (
            f"{self.topic}[{self.partition}]: offset {self.wanted} is wanted, "
            f"{self.available_low} to {self.available_high} are there ({self.reason})"
        )


class PartitionAdded(msgspec.Struct, frozen=True):
    """A partition that had no cursor is read from now on, beginning at `start`."""

    topic: str
    partition: int
    start: int


def named(places: Iterable[str]) -> str:
    """Return places in words, five at most: a topic may have thousands of partitions."""
    known = list(places)
    more = f"; and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return "; ".join(known[:_MOST_NAMED]) + more
