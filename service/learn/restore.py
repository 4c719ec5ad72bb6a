"""From a state directory back to a learner: newest valid snapshot, then the journal, exactly.

Returns a learner at the last journaled version, or raises; it never starts empty where there is
something, and never guesses. What the journal must record about the restart itself (a new
lineage, changed settings) is appended here, before anything goes live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec
import structlog

from service import crash
from service.errors import LayoutChanged
from service.learn import history, pretrained, rivals
from service.learn.changes import challengers_changed, compare, modules_changed, serving
from service.learn.environment import differences, mint_lineage
from service.learn.history import Entry, Replayed
from service.learn.learner import Learner
from service.learn.reach import Progress, RangeReader, ReplayStopped, foothold, nothing, replay
from service.learn.standing import GUARD, nested
from service.model.recipe import Recipe
from service.stream.records import Offsets
from service.weights.journal import Journal
from service.weights.snapshots import Snapshots

_log = structlog.get_logger(__name__)


Served = tuple[str, int]
"""(lineage, version)"""


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
    served: Served | None = None
    """What clients are answered with on this machine: it was journaled once."""


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
    matched: pretrained.Matched | None = None,
) -> Learner:
    """Begin a new history: the genesis entry, with the resolved start offsets, is version 0.

    matched: the file whose weights it starts from.
    """
    lineage, recipe = mint_lineage(), recipe.begun(from_file=matched is not None)
    entry: dict[str, Any] = {
        "version": 0,
        "kind": "genesis",
        "at": time.time_ns() // 1_000_000,
        "lineage": lineage,
        "recipe": msgspec.json.decode(recipe.to_json()),
        "start": nested(start),
        "topic_ids": topic_ids,
        "environment": environment,
    }
    if matched is not None:
        entry["pretrained"] = matched.entry()
    learner = history.genesis(entry)  # first: what cannot be made is not journaled
    crash.point("genesis_before_journal")
    journal.append(entry)
    journal.sync()
    crash.point("genesis_before_snapshot")
    return learner


def restore(  # noqa: PLR0913 - the state directory, the settings, and two ways to the outside
    recipe: Recipe,
    journal: Journal,
    snapshots: Snapshots,
    environment: dict[str, str],
    policy: Policy,
    open_reader: Callable[[Learner], RangeReader],
    progress: Progress,
) -> Restored:
    """Return the learner at the last journaled version, under the present settings.

    Raises DataLost when records that the journal speaks of are gone from the topic, unless
    the policy says skip: then what could not be redone is given up, in a new lineage.
    """
    journal_ended = -1 if journal.last_version is None else journal.last_version
    learner, path, saved_environment, notes = foothold(journal, snapshots, journal_ended)
    snapshot_version, snapshot_cursors = learner.standing.version, dict(learner.standing.cursors)
    crash.point("restore_after_weights_before_optim")
    replayed = Replayed()
    journaling = Journaling(journal)
    try:
        learner = replay(learner, path, open_reader, replayed, progress)
    except ReplayStopped as stopped:
        if not policy.skip_lost:
            raise stopped.loss from None
        learner = _give_up(stopped, journaling, path[replayed.entries :])
        notes.append(f"{stopped.loss}; version {learner.standing.version} goes on without it")
    else:
        _finish_rollback(learner, path, journaling)
    for entry in path[: replayed.entries]:
        saved_environment = entry.get("environment", saved_environment)
    reasons = _reasons(journal, snapshots, policy, learner, replayed, journal_ended)
    if changed := differences(saved_environment, environment) if saved_environment else []:
        reasons.insert(0, f"another environment: {', '.join(changed)}")
    sealed = replayed.diverged_at is not None
    if reasons:
        learner.standing.lineage = mint_lineage()
        journaling.append(
            learner, "environment", lineage=learner.standing.lineage, reason="; ".join(reasons),
            environment=environment, sealed=sealed,
        )  # fmt: skip
        notes += [f"new lineage {learner.standing.lineage}: {reason}" for reason in reasons]
    learner = _under(recipe, learner, policy, journaling, notes)
    journal.sync()
    return Restored(learner, replayed, snapshot_version, snapshot_cursors, sealed, notes)


def _reasons(
    journal: Journal,
    snapshots: Snapshots,
    policy: Policy,
    learner: Learner,
    replayed: Replayed,
    journal_ended: int,
) -> list[str]:
    """Return why the history before cannot be proven, the environment apart."""
    reasons = []
    if policy.power_lost:
        reasons.append("the machine went down before the last entries were flushed")
    if journal.damaged_tail:
        reasons.append("the last entry of the journal had wrong bits, and was cut off")
    if lost := _lost_entries(journal_ended, learner.standing.version, snapshots):
        reasons.append(lost)
    lineage, version = policy.served or ("", -1)
    if lineage == learner.standing.lineage and version > journal_ended:
        reasons.append(f"version {version} was served, but the journal ends at {journal_ended}")
    if replayed.diverged_at is not None:
        reasons.append(f"replay diverged at version {replayed.diverged_at}: {replayed.reason}")
    return reasons


def _under(
    recipe: Recipe, learner: Learner, policy: Policy, journaling: Journaling, notes: list[str]
) -> Learner:
    """Return the learner under the present settings, journaled where that changes anything."""
    recipe = recipe.begun(from_file=learner.recipe.from_file)
    change = compare(learner.recipe, recipe, policy.accept_removed)
    if change == "same":
        return learner
    serving(learner.state.serves, recipe)
    if change == "layout" and learner.standing.frozen_by == GUARD:
        raise LayoutChanged(
            f"version {learner.standing.frozen} was frozen by the guard "
            f"({learner.standing.frozen_why}) and cannot be served in another layout. Start with "
            "the fields of before, and `headwater unfreeze` or `headwater rollback` first"
        )
    pairs, told = _both(learner.recipe, recipe), challengers_changed(learner.recipe, recipe)
    learner = history.rebuilt(learner, recipe)
    journaling.append(learner, change, recipe=msgspec.json.decode(recipe.to_json()))
    crash.point("layout_journaled")
    notes.append(f"the settings changed: version {learner.standing.version} is a new {change}")
    notes += told
    for old, new in pairs:
        notes += modules_changed(old, new)
    s = learner.standing
    if change == "layout" and s.frozen is not None:
        why = f"the layout changed: version {s.frozen} cannot be served in it"
        s.frozen = s.frozen_by = s.frozen_why = None
        journaling.append(learner, "unfreeze", by="restart", reason=why)
        notes.append(why)
    return learner


def _both(old: Recipe, new: Recipe) -> list[tuple[Recipe, Recipe]]:
    """Return the recipes of each model that was there before."""
    names = old.challengers.keys() & new.challengers.keys()
    return [(old, new), *((old.challengers[n], new.challengers[n]) for n in sorted(names))]


def _finish_rollback(learner: Learner, path: list[Entry], journaling: Journaling) -> None:
    """The process died between a rollback and the skip that belongs to it: do the skip now."""
    last = path[-1] if path else None
    if last is not None and last["kind"] == "rollback" and last["skip"]:
        skip = {"version": learner.standing.version + 1, "kind": "skip", "reason": "rollback",
                "at": time.time_ns() // 1_000_000} | last["skip"]  # fmt: skip
        journaling.journal.append(skip)
        history.redo(learner, skip, nothing, Replayed())


def _give_up(stopped: ReplayStopped, journaling: Journaling, rest: list[Entry]) -> Learner:
    """Go on from the last version that was redone; what was decided since still holds."""
    learner = stopped.learner
    reached = learner.standing.version
    history.redo_decisions(learner, rest)
    last = journaling.journal.last_version
    assert last is not None, "there was an entry to replay"
    learner.standing.version = last
    learner.standing.lineage = mint_lineage()
    s, answers = learner.standing, history.promoted(rest)
    if answers in {None, learner.state.serves}:
        answers = None
    elif (why := rivals.why_not(learner.state, answers)) is not None:
        _log.warning("promotion_given_up", why=why, answers=learner.state.serves)
        answers = None
    else:
        rivals.change(learner.state, str(answers))
    journaling.append(
        learner, "environment", base=reached, lineage=s.lineage,
        reason=str(stopped.loss), kept=history.kept(s),
        frozen=[s.frozen, s.frozen_by, s.frozen_why],
        **({} if answers is None else {"answers": answers}),
    )  # fmt: skip
    return learner


def _lost_entries(journal_ended: int, version: int, snapshots: Snapshots) -> str | None:
    """Say so where a snapshot knows a version that the journal lost. Snapshots beyond `version`, at
    which history goes on, are set aside: their numbers will name other states from now on."""
    known = [e.manifest.version for e in snapshots.list() if e.manifest is not None]
    newest = max(known, default=-1)
    if newest <= journal_ended:
        return None
    aside = snapshots.set_aside(version)
    why = f"the journal ends at version {journal_ended}, but there is a snapshot of {newest}"
    return f"{why}; set aside: {', '.join(aside)}" if aside else why
