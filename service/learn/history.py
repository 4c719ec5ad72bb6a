"""Journal entries: what they do to a learner, and which of them lead to a version.

Every entry takes the next version. An entry normally follows the one before it; one with `base`
follows version `base` instead, and what lies between was given up. A `sealed` entry marks bits
that no replay can prove: the way to later versions begins at a snapshot after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from service.errors import Diverged
from service.learn.learner import Learner, Standing, flat
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State
from service.stream.records import Offsets, Record

Entry = dict[str, Any]
ReadRange = Callable[[Offsets], Sequence[Record]]


class Replayed(msgspec.Struct):
    """How a replay went: entries done, and the first that gave other bits (None: none did)."""

    entries: int = 0
    diverged_at: int | None = None
    reason: str | None = None

    def note(self, version: int, reason: str) -> None:
        """Remember the first divergence."""
        if self.diverged_at is None:
            self.diverged_at = version
            self.reason = reason


def way(entries: Iterable[Entry], start: int, target: int) -> list[Entry] | None:
    """Return the entries that lead from version `start` to `target`, oldest first.

    None when there is no such way: `start` was given up, or an entry is not in the journal.
    """
    known = {entry["version"]: entry for entry in entries if start < entry["version"] <= target}
    path: list[Entry] = []
    version = target
    while version > start:
        entry = known.get(version)
        if entry is None:
            return None
        path.append(entry)
        version = entry.get("base", version - 1)
    return path[::-1] if version == start else None


def redo(learner: Learner, entry: Entry, read: ReadRange, replayed: Replayed) -> Learner:
    """Apply one journaled entry; return the learner that stands at its version."""
    s = learner.standing
    match entry["kind"]:
        case "cut":
            _redo_cut(learner, entry, read, replayed)
        case "partition_added":
            s.cursors[entry["topic"], entry["partition"]] = entry["start"]
            s.topic_ids.update(entry["topic_ids"])
        case "skip":
            s.cursors[entry["topic"], entry["partition"]] = entry["to"]
            s.epochs.pop((entry["topic"], entry["partition"]), None)
            s.topic_ids.update(entry["topic_ids"])
        case "pause":
            s.paused = True
        case "resume":
            s.paused, s.halted = False, None
            s.bad_in_a_row = s.bad_in_window = s.seen_in_window = 0
        case "halt":
            s.halted = entry["reason"]
        case "settings" | "layout":
            recipe = Recipe.from_json(msgspec.json.encode(entry["recipe"]))
            learner = rebuilt(learner, recipe)
        case "environment":
            s.lineage = entry["lineage"]
            s.paused = entry.get("paused", s.paused)
            s.halted = entry.get("halted", s.halted)
            if entry.get("sealed"):
                replayed.note(entry["version"], "the journal marks a divergence here")
        case unknown:
            raise Diverged(f"entry {entry['version']} is of the unknown kind {unknown!r}")
    learner.standing.version = entry["version"]
    replayed.entries += 1
    return learner


def rebuilt(learner: Learner, recipe: Recipe) -> Learner:
    """Return the learner under another recipe: every tensor that fits is kept, by name."""
    state, _ = State.of(Layout(recipe), learner.state.parts())
    state.touch_all()
    return Learner(recipe, state, learner.standing)


def genesis(entry: Entry) -> Learner:
    """Return the learner that a genesis entry describes, before its first event."""
    recipe = Recipe.from_json(msgspec.json.encode(entry["recipe"]))
    standing = Standing(
        version=entry["version"],
        lineage=entry["lineage"],
        cursors=flat(entry["start"]),
        topic_ids=dict(entry["topic_ids"]),
    )
    return Learner.fresh(recipe, standing)


def _redo_cut(learner: Learner, entry: Entry, read: ReadRange, replayed: Replayed) -> None:
    version, next_offsets = entry["version"], flat(entry["next"])
    records = read(next_offsets)
    step = learner.take(records, learner.decode(records), next_offsets)
    if "bad" in entry:
        s = learner.standing
        s.bad_in_a_row, s.bad_in_window, s.seen_in_window = entry["bad"]
    learner.standing.epochs.update(flat(entry.get("epochs", {})))
    if step.keys != entry["keys"]:
        replayed.note(version, f"{step.records} records were read, {entry['records']} journaled")
    elif step.loss != entry["loss"]:
        replayed.note(version, "the loss has other bits than were journaled")
