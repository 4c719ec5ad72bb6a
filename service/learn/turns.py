"""Turns of history: freeze, unfreeze, roll back. Each is journal entries and the states they make.

A freeze is two entries: `freeze`, whose base is the version to be served (so its number names
those very weights), and `shadow`, whose base is where learning stood: it goes on there. A rollback's
base is the version that it goes back to; what lies between is given up. With `skip`, a second entry
moves the cursors past what was given up, so that it is not learned again. States are made by
`history.redo`, the same as in a replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service import crash
from service.learn import history
from service.learn.changes import compare, serving
from service.learn.history import Entry, Replayed
from service.learn.learner import Learner
from service.learn.standing import nested
from service.model.prequential import OUTCOMES
from service.stream.records import Offsets, Record

Append = Callable[[Entry], None]
SKIPPED = ("skipped", "rollback")
_STAY = {"filtered", "dead_lettered", "quarantined"}
"""Outcomes that a rollback does not take back: such events did end there."""


class Skip(msgspec.Struct):
    """What a rollback does not learn again: where to go on, and what that is counted as."""

    next: Offsets
    counts: dict[str, int]
    records: dict[str, int]
    topic_ids: dict[str, str | None]
    """Identities of the topics that these offsets are of."""

    def entry(self) -> dict[str, Any]:
        """Return it as a journal entry has it."""
        return {
            "next": nested(self.next),
            "counts": self.counts,
            "records": self.records,
            "topic_ids": self.topic_ids,
        }


def freeze(learner: Learner, to: Learner | None, by: str, why: str, append: Append) -> Learner:
    """Journal that `to` (None: the present state) is served from now on; return what is served.

    `learner` goes on as the shadow.
    """
    base = to or learner
    served = base.copy()
    entry = _entry(learner, "freeze", base=base.standing.version, by=by, reason=why)
    entry["kept"] = history.kept(learner.standing)
    append(entry)
    crash.point("freeze_before_shadow")
    shadow = entry | {"version": entry["version"] + 1, "kind": "shadow",
                      "base": learner.standing.version, "frozen": entry["version"]}  # fmt: skip
    _redo(served, entry)
    append(shadow)
    _redo(learner, shadow)
    return served


def unfreeze(learner: Learner, by: str, why: str, append: Append) -> None:
    """Journal that what is learned is served again."""
    entry = _entry(learner, "unfreeze", by=by, reason=why)
    append(entry)
    _redo(learner, entry)
    learner.state.touch_all()


def promote(learner: Learner, name: str, by: str, why: str, append: Append) -> None:
    """Journal that another model answers from now on."""
    was = learner.state.serves
    entry = _entry(learner, "promote", name=name, by=by, reason=why) | {"from": was}
    append(entry)
    _redo(learner, entry)


def roll_back(
    learner: Learner, to: Learner, skip: Skip | None, by: str, why: str, append: Append
) -> Learner:
    """Journal that history goes on from the state of `to`; return it under the present recipe.

    Raises LayoutChanged, before anything is journaled, when that state does not fit the recipe.
    """
    compare(to.recipe, learner.recipe, _gone(to, learner))
    serving(to.state.serves, learner.recipe)
    version = to.standing.version
    entry = _entry(learner, "rollback", base=version, to=version, by=by, reason=why)
    entry["kept"] = history.kept(learner.standing)
    entry["skip"] = skip.entry() if skip else None
    entry["recipe"] = msgspec.json.decode(learner.recipe.to_json())
    append(entry)
    back = history.redo(to.copy(), entry, _nothing, Replayed())
    if skip is not None:
        crash.point("rollback_before_skip")
        entry = _entry(back, "skip", reason="rollback", **skip.entry())
        append(entry)
        _redo(back, entry)
    back.state.touch_all()
    return back


def skip_all(learner: Learner, to: Learner) -> Skip:
    """Return what lies between `to` and where `learner` stands.

    Both count every event before their cursors once, so the difference is the events between.
    """
    counts = _counts(learner.state.outcomes - to.state.outcomes)
    ours, theirs = learner.standing.records, to.standing.records
    records = {topic: n - theirs.get(topic, 0) for topic, n in ours.items()}
    s = learner.standing
    return Skip(dict(s.cursors), counts, records, dict(s.topic_ids))


def _counts(apart: NDArray[np.int64]) -> dict[str, int]:
    """Return counts by name: what stays as it ended, and all else as skipped."""
    counts: dict[str, int] = {}
    for (outcome, reason), n in zip(OUTCOMES, apart.tolist(), strict=True):
        if outcome in _STAY and n > 0:
            counts[f"{outcome}/{reason}"] = n
    skipped = int(apart.sum()) - sum(counts.values())
    return counts | {"/".join(SKIPPED): skipped} if skipped else counts


def _gone(old: Learner, new: Learner) -> set[str]:
    """Fields that were removed since: their removal was accepted then."""
    before = {*old.recipe.event.features, *old.recipe.event.targets}
    return before - {*new.recipe.event.features, *new.recipe.event.targets}


def _entry(learner: Learner, kind: str, **rest: Any) -> Entry:
    version = learner.standing.version + 1
    if kind in {"freeze", "rollback"}:
        assert rest["base"] < version
    return {"version": version, "kind": kind, "at": time.time_ns() // 1_000_000} | rest


def _redo(learner: Learner, entry: Entry) -> None:
    history.redo(learner, entry, _nothing, Replayed())


def _nothing(_: Offsets) -> list[Record]:
    return []
