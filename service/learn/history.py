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
from service.learn import pretrained, quarantine, rivals
from service.learn.learner import Learner
from service.learn.standing import Standing, flat, spots
from service.model.layout import Layout
from service.model.prequential import OUTCOMES
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
    kind = entry["kind"]
    if kind == "cut":
        _redo_cut(learner, entry, read, replayed)
    elif kind in {"settings", "layout"} or kind in _REDO:
        if kind in _REDO:
            _REDO[kind](learner, entry)
        if "recipe" in entry:
            recipe = Recipe.from_json(msgspec.json.encode(entry["recipe"]))
            learner = learner if learner.recipe == recipe else rebuilt(learner, recipe)
    else:
        raise Diverged(f"entry {entry['version']} is of the unknown kind {kind!r}")
    if entry.get("sealed"):
        replayed.note(entry["version"], "the journal marks a divergence here")
    learner.standing.version = entry["version"]
    replayed.entries += 1
    return learner


def kept(standing: Standing) -> Entry:
    """Return what does not go back when the weights do, as an entry holds it."""
    return {
        "lineage": standing.lineage,
        "paused": standing.paused,
        "halted": standing.halted,
        "rollbacks": list(standing.rollbacks),
        "quarantined": [list(spot) for spot in sorted(standing.quarantined)],
    }


def restore_kept(standing: Standing, values: Entry) -> None:
    """Take over what `kept` returned."""
    standing.lineage = values["lineage"]
    standing.paused = values["paused"]
    standing.halted = values["halted"]
    standing.rollbacks = list(values["rollbacks"])
    standing.quarantined = spots(values.get("quarantined", ()))


def redo_decisions(learner: Learner, entries: Iterable[Entry]) -> None:
    """Apply what was decided in entries that are given up: pauses, halts, freezes, what was set
    aside. Weights and offsets stay as they are."""
    for entry in entries:
        kind, version = entry["kind"], learner.standing.version
        if kind in {"freeze", "rollback"}:
            restore_kept(learner.standing, entry["kept"])
            _serve(learner, None, None, None)  # a freeze is followed by its shadow
        elif kind == "environment" and "kept" in entry:  # it gave up others before
            restore_kept(learner.standing, entry["kept"])
            _serve(learner, *entry["frozen"])
        elif kind in _DECISIONS:
            _REDO[kind](learner, entry)
        learner.standing.version = version


def promoted(entries: Iterable[Entry]) -> str | None:
    """Return which model was to answer by entries that are given up; None where they say nothing of
    it. What a rollback took back is not among them."""
    name = None
    for entry in entries:
        name = entry.get("name" if entry["kind"] == "promote" else "answers", name)
    return name


def rebuilt(learner: Learner, recipe: Recipe) -> Learner:
    """Return the learner under another recipe: every tensor that fits is kept, by name."""
    again = under(recipe, learner)
    for old, new in rivals.pairs(learner.state, again.state):
        new.layout.kind.inherit(old.layout.kind, old.named(), new.named())
    if again.state.rivals and recipe.promote != learner.recipe.promote:
        rivals.begin_rule_anew(again.state)
    return again


def under(recipe: Recipe, learner: Learner) -> Learner:
    """Return the learner under another recipe, as it is: a version that goes on being served keeps
    its bits where the tensors are the same."""
    state, _ = State.of(Layout(recipe), learner.state.parts())
    state.touch_all()
    return Learner(recipe, state, learner.standing)


def genesis(entry: Entry) -> Learner:
    """Return the learner that a genesis entry describes, before its first event.

    Raises SnapshotInvalid where it was made of a file that is not as it was.
    """
    recipe = Recipe.from_json(msgspec.json.encode(entry["recipe"]))
    standing = Standing(
        version=entry["version"],
        lineage=entry["lineage"],
        cursors=flat(entry["start"]),
        topic_ids=dict(entry["topic_ids"]),
    )
    learner = Learner.fresh(recipe, standing)
    if "pretrained" in entry:
        pretrained.start_from(learner.state, entry["pretrained"])
    return learner


def _add_partition(learner: Learner, entry: Entry) -> None:
    s = learner.standing
    s.cursors[entry["topic"], entry["partition"]] = entry["start"]
    s.topic_ids.update(entry["topic_ids"])


def _skip(learner: Learner, entry: Entry) -> None:
    s = learner.standing
    if "next" not in entry:  # records that are gone; else: events that a rollback does not repeat
        s.cursors[entry["topic"], entry["partition"]] = entry["to"]
        s.epochs.pop((entry["topic"], entry["partition"]), None)
        s.topic_ids.update(entry["topic_ids"])
        if entry.get("reason") == "recreated":
            quarantine.forget(s, entry["topic"])
        return
    for place, offset in flat(entry["next"]).items():
        s.cursors[place] = offset
        s.epochs.pop(place, None)  # of an earlier offset; the next cut says it again
    s.topic_ids.update(entry["topic_ids"])
    for key, n in entry["counts"].items():
        outcome, _, reason = key.partition("/")
        learner.state.outcomes[OUTCOMES.index((outcome, reason))] += n
    for topic, n in entry["records"].items():
        s.records[topic] = s.records.get(topic, 0) + n


def _shed(learner: Learner, entry: Entry) -> None:
    learner.shed(entry["level"])


def _pause(learner: Learner, _: Entry) -> None:
    learner.standing.paused = True


def _resume(learner: Learner, _: Entry) -> None:
    s = learner.standing
    s.paused, s.halted = False, None
    s.bad_in_a_row = s.bad_in_window = s.seen_in_window = 0


def _halt(learner: Learner, entry: Entry) -> None:
    learner.standing.halted = entry["reason"]


def _quarantine(learner: Learner, entry: Entry) -> None:
    quarantine.set_aside(learner.standing, entry["places"])


def _environment(learner: Learner, entry: Entry) -> None:
    s = learner.standing
    s.lineage = entry["lineage"]
    if "kept" in entry:
        restore_kept(s, entry["kept"])
    if "frozen" in entry:
        _serve(learner, *entry["frozen"])
    if "answers" in entry:
        _promote(learner, {"name": entry["answers"]})


def _freeze(learner: Learner, entry: Entry) -> None:
    restore_kept(learner.standing, entry["kept"])
    _serve(learner, entry["version"], entry["by"], entry["reason"])


def _shadow(learner: Learner, entry: Entry) -> None:
    _serve(learner, entry["frozen"], entry["by"], entry["reason"])


def _unfreeze(learner: Learner, _: Entry) -> None:
    _serve(learner, None, None, None)


def _promote(learner: Learner, entry: Entry) -> None:
    rivals.change(learner.state, entry["name"])


def _roll_back(learner: Learner, entry: Entry) -> None:
    restore_kept(learner.standing, entry["kept"])
    _serve(learner, None, None, None)


def _serve(learner: Learner, version: int | None, by: str | None, why: str | None) -> None:
    s = learner.standing
    s.frozen, s.frozen_by, s.frozen_why = version, by, why


_REDO: dict[str, Callable[[Learner, Entry], None]] = {
    "partition_added": _add_partition,
    "skip": _skip,
    "pause": _pause,
    "resume": _resume,
    "halt": _halt,
    "quarantine": _quarantine,
    "environment": _environment,
    "freeze": _freeze,
    "shadow": _shadow,
    "unfreeze": _unfreeze,
    "rollback": _roll_back,
    "promote": _promote,
    "shed": _shed,
}
"""What an entry of each kind does, but for those that read records or change the layout."""

_DECISIONS = {"pause", "resume", "halt", "shadow", "unfreeze", "quarantine"}


def _redo_cut(learner: Learner, entry: Entry, read: ReadRange, replayed: Replayed) -> None:
    version, next_offsets = entry["version"], flat(entry["next"])
    records = read(next_offsets)
    failed = entry.get("challengers", {})
    step = learner.take(records, learner.decode(records), next_offsets, failed)
    if "bad" in entry:
        s = learner.standing
        s.bad_in_a_row, s.bad_in_window, s.seen_in_window = entry["bad"]
    learner.standing.epochs.update(flat(entry.get("epochs", {})))
    if step.keys != entry["keys"]:
        replayed.note(version, f"{step.records} records were read, {entry['records']} journaled")
    elif step.loss != entry["loss"]:
        replayed.note(version, "the loss has other bits than were journaled")
    elif step.failed != failed:
        said = f"challengers that failed are {step.failed}, {failed} were journaled"
        replayed.note(version, said)
    elif step.rate != entry.get("rate", step.rate):
        replayed.note(version, f"the rate is {step.rate}, {entry['rate']} was journaled")
