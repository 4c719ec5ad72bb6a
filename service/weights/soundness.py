"""Is a state directory whole? Snapshots, journal, and whether the two belong together.

Reads everything, changes nothing; safe beside the learner that writes there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.weights.boot import JOURNAL
from service.weights.journal_reader import Fault, JournalReader, segments
from service.weights.snapshot_reader import Failure, SnapshotReader

SNAPSHOTS = "snapshots"
"""Where in the state directory the snapshots are."""


def nbytes(state: Path) -> int:
    """Return how much `verify` has to read: parts that snapshots share count for each."""
    listed = SnapshotReader(state / SNAPSHOTS).list()
    parts = sum(entry.manifest.nbytes for entry in listed if entry.manifest is not None)
    return parts + JournalReader(state / JOURNAL).nbytes


def verify(state: Path, told: Callable[[int], None] = lambda _: None) -> list[Failure | Fault]:
    """Return what is wrong in this state directory, each with its file; empty if nothing is.

    told: called with how many more bytes were read.
    """
    snapshots, journal = SnapshotReader(state / SNAPSHOTS), JournalReader(state / JOURNAL)
    snapshots.told = told
    found: list[Failure | Fault] = [*snapshots.verify()]
    before = _versions(snapshots)
    if damaged := journal.verify(told):  # what else there is to say follows from that
        return found + damaged
    begins, ends = next(iter(segments(journal.directory)), None), journal.last_version
    # What the owner took away meanwhile needs no journal any more.
    kept = {id: version for id, version in before.items() if id in _versions(snapshots)}
    if kept and (reason := _apart(begins, ends, min(kept.values()), max(before.values()))):
        found.append(Fault(id=None, file=JOURNAL, reason=reason))
    return found


def _versions(snapshots: SnapshotReader) -> dict[str, int]:
    return {e.id: e.manifest.version for e in snapshots.list() if e.manifest is not None}


def _apart(begins: int | None, ends: int | None, oldest: int, newest: int) -> str | None:
    """Return why a journal from `begins` to `ends` is not that of snapshots from `oldest` to
    `newest`: it is flushed before a snapshot, and kept as far back as the oldest."""
    if begins is None or ends is None:
        return f"is missing or empty, but there is a snapshot of version {newest}"
    if ends < newest:
        return f"ends at version {ends}, but there is a snapshot of version {newest}"
    if begins > oldest + 1:
        return f"begins at version {begins}; nothing leads on from the snapshot of {oldest}"
    return None
