"""From a version in the journal back to its bits: the newest state that leads there, then entries.

Reads journal, snapshots and topics; changes nothing. A replay says when it gave other bits than
were journaled, and stops where records are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from service import crash
from service.errors import DataLost, LayoutChanged, SnapshotInvalid
from service.learn import history
from service.learn.busy import busy
from service.learn.environment import differences
from service.learn.history import Entry, Replayed
from service.learn.learner import Learner
from service.learn.standing import flat, standing_of
from service.model.layout import Layout
from service.model.recipe import LAYOUT, Recipe
from service.model.state import State
from service.progress import Pace
from service.stream.records import Epochs, Offsets, Record
from service.weights.journal import Journal
from service.weights.snapshot_reader import Found
from service.weights.snapshots import Snapshots


class RangeReader(Protocol):
    """Reads the records of one journaled cut; its cursors move with it."""

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        """Return every record before these offsets and not yet read, in row order."""

    def expect(self, epochs: Epochs) -> None:
        """Say under which leader epochs the next cut was read, where they had changed."""

    def close(self) -> None:
        """Let go of the broker."""


class Redone(NamedTuple):
    """How much of a way through the journal is done."""

    entries: int
    of_entries: int
    records: int
    of_records: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        if self.of_records:
            return self.records / self.of_records
        return self.entries / self.of_entries


Progress = Callable[[Redone, Learner], None]
"""Told after each entry how much is done, and the learner that stands there."""


def reach(
    version: int,
    journal: Journal,
    snapshots: Snapshots,
    open_reader: Callable[[Learner], RangeReader],
    progress: Progress,
    environment: dict[str, str],
) -> Learner:
    """Return the learner at a version of the journal, made from a snapshot and the entries between.

    Raises SnapshotInvalid when nothing leads there, the replay gives other bits than were
    journaled, or it would have to be done in another environment than the first time (a cut's
    loss does not prove the step after it); DataLost when records are gone.
    """
    last = -1 if journal.last_version is None else journal.last_version
    if not 0 <= version <= last:
        raise SnapshotInvalid(f"version {version} is not in the journal, which ends at {last}")
    learner, path, made_in, _ = foothold(journal, snapshots, version)
    for entry in path:
        made_in = entry.get("environment", made_in)
        changed = differences(made_in, environment) if made_in else []
        if entry["kind"] == "cut" and changed:
            raise SnapshotInvalid(
                f"version {version} would have to be learned again from version "
                f"{learner.standing.version} on, in another environment: {', '.join(changed)}"
            )
    replayed = Replayed()
    try:
        learner = replay(learner, path, open_reader, replayed, progress)
    except ReplayStopped as stopped:
        raise stopped.loss from None
    if replayed.diverged_at is not None:
        raise SnapshotInvalid(
            f"version {version} cannot be made again: {replayed.reason} "
            f"(version {replayed.diverged_at})"
        )
    return learner


def replay(
    learner: Learner,
    path: list[Entry],
    open_reader: Callable[[Learner], RangeReader],
    replayed: Replayed,
    progress: Progress,
) -> Learner:
    """Redo the entries in order, reading again what each cut held."""
    reader: RangeReader | None = None
    records, of_records = 0, sum(map(_records, path))
    try:
        for done, entry in enumerate(path):
            if entry["kind"] == "cut" and reader is None:
                reader = open_reader(learner)
            elif entry["kind"] in {"partition_added", "skip"} and reader is not None:
                reader.close()
                reader = None
            read = reader.read_range if reader is not None else nothing
            if reader is not None and "epochs" in entry:
                reader.expect(flat(entry["epochs"]))
            try:
                learner = history.redo(learner, entry, read, replayed)
            except DataLost as loss:
                raise ReplayStopped(learner, loss) from None
            crash.point("restore_mid_replay")
            records += _records(entry)
            progress(Redone(done + 1, len(path), records, of_records), learner)
    finally:
        if reader is not None:
            reader.close()
    return learner


def _records(entry: Entry) -> int:
    return int(entry["records"]) if entry["kind"] == "cut" else 0


class ReplayStopped(Exception):
    """Records of a journaled cut are gone. `learner` stands at the last version that was redone."""

    def __init__(self, learner: Learner, loss: DataLost) -> None:
        super().__init__(str(loss))
        self.learner = learner
        self.loss = loss


def from_snapshot(parts: Any, meta: dict[str, Any]) -> Learner:
    """Return the learner that a snapshot holds. Raises LayoutChanged where another release wrote it
    that had other experts."""
    recipe = Recipe.from_json(msgspec.json.encode(meta["recipe"]))
    state, lost = State.of(Layout(recipe), parts)
    if lost and (number := meta["recipe"]["layout"]) != LAYOUT:
        raise LayoutChanged(
            f"the state is laid out as number {number}, and its experts remember in other shapes in this "
            "release; use the release that wrote it, or start anew in another state directory"
        )
    if lost:
        raise SnapshotInvalid(f"snapshot of version {meta['version']} holds unknown {lost}")
    state.touch_all()
    return Learner(recipe, state, standing_of(meta))


def foothold(
    journal: Journal, snapshots: Snapshots, target: int
) -> tuple[Learner, list[Entry], dict[str, str], list[str]]:
    """Return the newest state that a way leads from to version `target` (-1: the journal has no
    entry at all), the way, and where it was computed."""
    notes: list[str] = []
    newest = target
    while True:
        there = target < 0 or snapshots.has_up_to(newest)
        found = _read(snapshots, newest if target >= 0 else None) if there else None
        if found is None:
            return _from_genesis(journal, target, notes)
        for failure in found.failures:
            notes.append(f"snapshot {failure['id']} refused: {failure['file']} {failure['reason']}")
        version = found.manifest.version
        entries = list(journal.read(version + 1)) if target > version else []
        path = history.way(entries, version, max(target, version))
        if path is not None:
            learner = from_snapshot(found.parts, found.manifest.meta)
            return learner, path, found.manifest.meta.get("environment", {}), notes
        notes.append(f"snapshot {found.manifest.id} does not lead to version {target}")
        newest = version - 1


def _read(snapshots: Snapshots, newest: int | None) -> Found | None:
    """Return the newest state up to this version, telling how much of it is read."""
    listed = (e.manifest for e in snapshots.list() if e.manifest is not None)
    nbytes = next((m.nbytes for m in listed if newest is None or m.version <= newest), None)
    pace = Pace("bytes", nbytes)
    with busy("reading_snapshot", pace):
        snapshots.told = pace.add
        try:
            return snapshots.newest_valid(newest)
        finally:
            snapshots.told = lambda _: None


def _from_genesis(
    journal: Journal, target: int, notes: list[str]
) -> tuple[Learner, list[Entry], dict[str, str], list[str]]:
    entries = list(journal.read(0)) if journal.first_version == 0 else []
    if not entries or entries[0]["kind"] != "genesis":
        raise SnapshotInvalid(
            f"there is no snapshot that leads to version {target}, and the journal in "
            f"{journal.directory} does not begin at version 0; restore the snapshots from a backup"
        )
    path = history.way(entries[1:], 0, target)
    assert path is not None, "a journal without gaps leads from its start to any of its versions"
    notes.append("no snapshot: replaying from version 0")
    return history.genesis(entries[0]), path, entries[0]["environment"], notes


def nothing(_: Offsets) -> list[Record]:
    """For entries that read no records."""
    return []
