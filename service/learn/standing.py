"""Where a learner stands: what it knows beside its tensors, and how that is kept as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.stream.records import Epochs, Offsets

Spot = tuple[str, int, int]
"""(topic, partition, offset)"""
GUARD, OPERATOR, RULE = "guard", "operator", "rule"
"""Who decides: what is in force by the one is left alone by the other. The rule is `promote`'s."""


@dataclass
class Standing:
    """What a learner knows beside its tensors; saved with every snapshot.

    cursors: next offset per (topic, partition). topic_ids: identity of each topic, so that a
    recreated one is noticed. records: taken per topic. bad_in_a_row, bad_in_window and
    seen_in_window: counts for the dead-letter limit. epochs: leader epochs of the cursors.
    frozen: the version that is served while learning goes on in the shadow; frozen_by ("guard" or
    "operator") and frozen_why belong to it.
    rollbacks: for each rollback of the guard, how many events had been taken. watch: what the
    watch on the loss knows. quarantined: records that killed the process, never decoded again.
    """

    version: int
    lineage: str
    cursors: Offsets
    topic_ids: dict[str, str | None] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    halted: str | None = None
    bad_in_a_row: int = 0
    bad_in_window: int = 0
    seen_in_window: int = 0
    event_time_ms: int | None = None
    epochs: Epochs = field(default_factory=dict)
    quarantined: set[Spot] = field(default_factory=set)
    frozen: int | None = None
    frozen_by: str | None = None
    frozen_why: str | None = None
    rollbacks: list[int] = field(default_factory=list)
    watch: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Standing:
        """Return one that later changes of this one do not reach."""
        return replace(
            self, cursors=dict(self.cursors), topic_ids=dict(self.topic_ids),
            records=dict(self.records), epochs=dict(self.epochs), rollbacks=list(self.rollbacks),
        )  # fmt: skip


def standing_of(meta: dict[str, Any]) -> Standing:
    """Return the standing that `Learner.meta` wrote."""
    frozen, frozen_by, frozen_why = meta.get("frozen", (None, None, None))
    return Standing(
        version=meta["version"],
        lineage=meta["lineage"],
        cursors=flat(meta["cursors"]),
        topic_ids=dict(meta["topic_ids"]),
        records=dict(meta["records"]),
        paused=meta["paused"],
        halted=meta["halted"],
        bad_in_a_row=meta["bad"][0],
        bad_in_window=meta["bad"][1],
        seen_in_window=meta["bad"][2],
        event_time_ms=meta["event_time_ms"],
        epochs=flat(meta.get("epochs", {})),
        frozen=frozen,
        frozen_by=frozen_by,
        frozen_why=frozen_why,
        rollbacks=list(meta.get("rollbacks", [])),
        watch=dict(meta.get("watch", {})),
        quarantined=spots(meta.get("quarantined", ())),
    )


def meta_of(standing: Standing) -> dict[str, Any]:
    """Return what a snapshot keeps of it, as plain JSON values; standing_of reads it."""
    s = standing
    return {
        "version": s.version,
        "lineage": s.lineage,
        "cursors": nested(s.cursors),
        "topic_ids": s.topic_ids,
        "records": s.records,
        "paused": s.paused,
        "halted": s.halted,
        "bad": bad_counts(s),
        "event_time_ms": s.event_time_ms,
        "epochs": nested(s.epochs),
        "frozen": [s.frozen, s.frozen_by, s.frozen_why],
        "rollbacks": s.rollbacks,
        "watch": s.watch,
        "quarantined": [list(spot) for spot in sorted(s.quarantined)],
    }


def bad_counts(standing: Standing) -> list[int]:
    """Return the counts for the dead-letter limit, as snapshots and the journal keep them."""
    return [standing.bad_in_a_row, standing.bad_in_window, standing.seen_in_window]


def nested(offsets: Offsets) -> dict[str, dict[str, int]]:
    """Return {topic: {"0": next offset}}, sorted, as JSON wants it."""
    result: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        result.setdefault(topic, {})[str(partition)] = offset
    return result


def flat(offsets: dict[str, dict[str, int]]) -> Offsets:
    """Return what `nested` nested."""
    return {
        (topic, int(partition)): offset
        for topic, by_partition in offsets.items()
        for partition, offset in by_partition.items()
    }


def spots(places: Sequence[Sequence[str | int]]) -> set[Spot]:
    """Return places that came from JSON."""
    return {(str(topic), int(partition), int(offset)) for topic, partition, offset in places}
