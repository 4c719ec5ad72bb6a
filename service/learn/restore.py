"""From a state directory back to a learner: newest valid snapshot, then the journal, exactly.

Returns a learner at the last journaled version, or raises; it never starts empty where there is
something, and never guesses. What the journal must record about the restart itself (a new
lineage, changed settings) is appended here, before anything goes live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec
import structlog

from service.errors import DataLost, SnapshotInvalid
from service.learn import history
from service.learn.changes import compare
from service.learn.environment import differences, mint_lineage
from service.learn.history import Entry, Replayed
from service.learn.learner import Learner, flat, nested, standing_of
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State
from service.stream.records import Epochs, Offsets, Record
from service.weights.journal import Journal
from service.weights.snapshots import Snapshots

_log = structlog.get_logger(__name__)


class RangeReader(Protocol):
    """Reads the records of one journaled cut; its cursors move with it."""

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        """Return every record before these offsets and not yet read, in row order."""

    def expect(self, epochs: Epochs) -> None:
        """Say under which leader epochs the next cut was read, where they had changed."""

    def close(self) -> None:
        """Let go of the broker."""


class Restored(msgspec.Struct):
    """A learner ready to go live, and what happened on the way."""

    learner: Learner
    replayed: Replayed
    snapshot_version: int
    snapshot_cursors: Offsets
    """Where the snapshot stands that this began with."""
    must_save: bool
    """The state cannot be reached by replay: it must be saved before anything is published."""
    notes: list[str]


class Policy(msgspec.Struct):
    """What is known, and what the operator allows."""

    power_lost: bool
    """The machine went down under the run before."""
    skip_lost: bool
    """Go on where records are gone."""
    accept_removed: Collection[str]
    """Fields whose weights may be dropped."""


class Journaling:
    """Appends what restoring decides. Wall time is for people; no replay reads it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def append(self, learner: Learner, kind: str, **rest: Any) -> None:
        """Give the learner's next version to this entry."""
        learner.standing.version += 1
        entry = {"version": learner.standing.version, "kind": kind, "at": time.time_ns() // 1000000}
        self.journal.append(entry | rest)


def begin(
    recipe: Recipe,
    start: Offsets,
    topic_ids: dict[str, str | None],
    journal: Journal,
    environment: dict[str, str],
) -> Learner:
    """Begin a new history: the genesis entry, with the resolved start offsets, is version 0."""
    lineage = mint_lineage()
    entry = {
        "version": 0,
        "kind": "genesis",
        "at": time.time_ns() // 1_000_000,
        "lineage": lineage,
        "recipe": msgspec.json.decode(recipe.to_json()),
        "start": nested(start),
        "topic_ids": topic_ids,
        "environment": environment,
    }
    journal.append(entry)
    journal.sync()
    return history.genesis(entry)


def restore(  # noqa: PLR0913 - the state directory, the settings, and two ways to the outside
    recipe: Recipe,
    journal: Journal,
    snapshots: Snapshots,
    environment: dict[str, str],
    policy: Policy,
    open_reader: Callable[[Learner], RangeReader],
    progress: Callable[[float, Learner], None],
) -> Restored:
    """Return the learner at the last journaled version, under the present settings.

    Raises DataLost when records that the journal speaks of are gone from the topic, unless
    the policy says skip: then what could not be redone is given up, in a new lineage.
    """
    journal_ended = -1 if journal.last_version is None else journal.last_version
    learner, path, saved_environment, notes = _foothold(journal, snapshots)
    snapshot_version, snapshot_cursors = learner.standing.version, dict(learner.standing.cursors)
    replayed = Replayed()
    journaling = Journaling(journal)
    try:
        learner = replay(learner, path, open_reader, replayed, progress)
    except ReplayStopped as stopped:
        if not policy.skip_lost:
            raise stopped.loss from None
        learner = _give_up(stopped, journaling, path[replayed.entries :])
        notes.append(f"{stopped.loss}; version {learner.standing.version} goes on without it")
    for entry in path[: replayed.entries]:
        saved_environment = entry.get("environment", saved_environment)
    changed = differences(saved_environment, environment) if saved_environment else []
    reasons = [f"another environment: {', '.join(changed)}"] if changed else []
    if policy.power_lost:
        reasons.append("the machine went down before the last entries were flushed")
    if journal.damaged_tail:
        reasons.append("the last entry of the journal had wrong bits, and was cut off")
    if lost := _lost_entries(journal_ended, learner.standing.lineage, snapshots):
        reasons.append(lost)
    if replayed.diverged_at is not None:
        reasons.append(f"replay diverged at version {replayed.diverged_at}: {replayed.reason}")
    sealed = replayed.diverged_at is not None
    if reasons:
        learner.standing.lineage = mint_lineage()
        journaling.append(
            learner, "environment", lineage=learner.standing.lineage, reason="; ".join(reasons),
            environment=environment, sealed=sealed,
        )  # fmt: skip
        notes += [f"new lineage {learner.standing.lineage}: {reason}" for reason in reasons]
    change = compare(learner.recipe, recipe, policy.accept_removed)
    if change != "same":
        learner = history.rebuilt(learner, recipe)
        journaling.append(learner, change, recipe=msgspec.json.decode(recipe.to_json()))
        notes.append(f"the settings changed: version {learner.standing.version} is a new {change}")
    journal.sync()
    return Restored(learner, replayed, snapshot_version, snapshot_cursors, sealed, notes)


def replay(
    learner: Learner,
    path: list[Entry],
    open_reader: Callable[[Learner], RangeReader],
    replayed: Replayed,
    progress: Callable[[float, Learner], None],
) -> Learner:
    """Redo the entries in order, reading again what each cut held."""
    reader: RangeReader | None = None
    try:
        for done, entry in enumerate(path):
            if entry["kind"] == "cut" and reader is None:
                reader = open_reader(learner)
            elif entry["kind"] in {"partition_added", "skip"} and reader is not None:
                reader.close()
                reader = None
            read = reader.read_range if reader is not None else _nothing
            if reader is not None:
                reader.expect(flat(entry.get("epochs", {})))
            try:
                learner = history.redo(learner, entry, read, replayed)
            except DataLost as loss:
                raise ReplayStopped(learner, loss) from None
            progress((done + 1) / len(path), learner)
    finally:
        if reader is not None:
            reader.close()
    return learner


class ReplayStopped(Exception):
    """Records of a journaled cut are gone. `learner` stands at the last version that was redone."""

    def __init__(self, learner: Learner, loss: DataLost) -> None:
        super().__init__(str(loss))
        self.learner = learner
        self.loss = loss


def _give_up(stopped: ReplayStopped, journaling: Journaling, rest: list[Entry]) -> Learner:
    """Go on from the last version that was redone; what the operator decided since still holds."""
    learner = stopped.learner
    reached = learner.standing.version
    for entry in rest:
        if entry["kind"] in {"pause", "resume", "halt"}:
            learner = history.redo(learner, entry, _nothing, Replayed())
    last = journaling.journal.last_version
    assert last is not None, "there was an entry to replay"
    learner.standing.version = last
    learner.standing.lineage = mint_lineage()
    journaling.append(
        learner, "environment", base=reached, lineage=learner.standing.lineage,
        reason=str(stopped.loss), paused=learner.standing.paused, halted=learner.standing.halted,
    )  # fmt: skip
    return learner


def _lost_entries(journal_ended: int, lineage: str, snapshots: Snapshots) -> str | None:
    """Say so where a snapshot of this lineage knows a version that the journal lost."""
    known = (e.manifest for e in snapshots.list() if e.manifest is not None)
    newest = max((m.version for m in known if m.lineage == lineage), default=-1)
    if newest <= journal_ended:
        return None
    return f"the journal ends at version {journal_ended}, but there is a snapshot of {newest}"


def from_snapshot(parts: Any, meta: dict[str, Any]) -> Learner:
    """Return the learner that a snapshot holds."""
    recipe = Recipe.from_json(msgspec.json.encode(meta["recipe"]))
    state, lost = State.of(Layout(recipe), parts)
    if lost:
        raise SnapshotInvalid(f"snapshot of version {meta['version']} holds unknown {lost}")
    state.touch_all()
    return Learner(recipe, state, standing_of(meta))


def _foothold(
    journal: Journal, snapshots: Snapshots
) -> tuple[Learner, list[Entry], dict[str, str], list[str]]:
    """Return the newest state that a way leads from, the way, and where it was computed."""
    last = journal.last_version
    if last is None:
        last = -1
    notes: list[str] = []
    newest = last
    while True:
        found = snapshots.newest_valid(max_version=newest if last >= 0 else None)
        if found is None:
            return _from_genesis(journal, notes)
        for failure in found.failures:
            notes.append(f"snapshot {failure['id']} refused: {failure['file']} {failure['reason']}")
        version = found.manifest.version
        entries = list(journal.read(version + 1)) if last > version else []
        path = history.way(entries, version, max(last, version))
        if path is not None:
            learner = from_snapshot(found.parts, found.manifest.meta)
            return learner, path, found.manifest.meta.get("environment", {}), notes
        notes.append(f"snapshot {found.manifest.id} does not lead to the last version {last}")
        newest = version - 1


def _from_genesis(
    journal: Journal, notes: list[str]
) -> tuple[Learner, list[Entry], dict[str, str], list[str]]:
    entries = list(journal.read(0))
    if not entries or entries[0]["kind"] != "genesis":
        raise SnapshotInvalid(
            f"there is no snapshot, and the journal in {journal.directory} does not begin at "
            "version 0; restore the snapshots from a backup"
        )
    path = history.way(entries[1:], 0, entries[-1]["version"])
    assert path is not None, "a journal without gaps leads from its start to its end"
    notes.append("no snapshot: replaying from version 0")
    return history.genesis(entries[0]), path, entries[0]["environment"], notes


def _nothing(_: Offsets) -> list[Record]:
    return []
