"""Make a version again from an older snapshot and the journal, beside a running learner.

Reads only; what it makes goes to a directory of its own, laid out like the state's snapshots.
Every replayed entry is held against the loss and the record keys that the journal has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.errors import BadSettings, DataLost, Diverged, SnapshotInvalid
from service.learn import history, reach, warm
from service.learn.history import Entry, Replayed
from service.learn.learner import Learner
from service.learn.reach import RangeReader, Redone, ReplayStopped
from service.model.kinds import module_code
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.journal_reader import JournalReader
from service.weights.snapshot_reader import SnapshotReader
from service.weights.snapshots import Keep, Snapshots


def rebuild(
    state_at: Path,
    version: int,
    out: Path,
    open_reader: Callable[[Learner], RangeReader],
    *,
    base: int | None = None,
    progress: Callable[[Redone], None] = lambda _: None,
) -> dict[str, Any]:
    """Rebuild `version` into `out`; return what `headwater rebuild` prints.

    Starts from the newest snapshot below `version` that leads there, or from version `base`.
    Raises SnapshotInvalid when nothing leads there, Diverged when the replay gives other bits
    than the journal says, DataLost when records are gone.
    """
    snapshots = SnapshotReader(state_at / "snapshots")
    journal = Journal.reader(state_at / "journal")
    last = journal.last_version
    if last is None:
        raise SnapshotInvalid(
            f"there is no journal in {state_at}: nothing was learned with these settings yet, or "
            "they name another state.directory or name than the learner's"
        )
    if version > last:
        raise SnapshotInvalid(f"version {version} is not in the journal, which ends at {last}")
    learner, path, source = _foothold(snapshots, journal, version, base)
    warm.compile_passes(learner.recipe)
    other = _other_code(learner)
    replayed = Replayed()
    try:
        learner = reach.replay(learner, path, open_reader, replayed, lambda done, _: progress(done))
    except ReplayStopped as stopped:
        raise DataLost(str(stopped)) from None
    if replayed.diverged_at is not None:
        raise Diverged(f"version {replayed.diverged_at}: {replayed.reason}{other}")
    written = Snapshots(out, Keep(1, 0, 0)).write(learner.state.parts(), learner.meta())
    return {
        "version": learner.standing.version,
        "lineage": learner.standing.lineage,
        "digest": digest(learner.state.parts()),
        "from_snapshot": source,
        "entries_replayed": replayed.entries,
        "verified": True,
        "snapshot": written.id,
    }


def _other_code(learner: Learner) -> str:
    """Return what to add to a reason where classes of the user's own are not those of then."""
    found = set()
    for reference, code in (pair for of in learner.recipe.models for pair in of.codes.items()):
        try:
            now = module_code.source_of(reference)
        except BadSettings:
            now = "gone"
        if now != code.source:
            found.add(reference)
    return f". The code of {', '.join(sorted(found))} is not that of then" if found else ""


def _foothold(
    snapshots: SnapshotReader, journal: JournalReader, version: int, base: int | None
) -> tuple[Learner, list[Entry], str]:
    """Return a state that leads to `version`, the entries between, and its name."""
    refused: list[str] = []
    listed = [e for e in snapshots.list() if e.manifest is not None]
    versions = {e.id: e.manifest.version for e in listed if e.manifest is not None}
    if base is None:
        # Below first, so that there is something to prove; the version's own snapshot last.
        order = [e for e in listed if versions[e.id] < version]
        order += [e for e in listed if versions[e.id] == version]
    else:
        order = [e for e in listed if versions[e.id] == base]
    for entry in order:
        start = versions[entry.id]
        path = history.way(journal.read(start + 1), start, version) if version > start else []
        if path is None or any(e.get("sealed") for e in path):
            continue
        try:
            learner = reach.from_snapshot(*snapshots.load(entry.id))
        except SnapshotInvalid as error:
            refused.append(str(error))
            continue
        return learner, path, entry.id
    if base in (None, 0) and journal.first_version == 0:
        entries = list(journal.read(0))
        path = history.way(entries[1:], 0, version)
        if path is not None and entries[0]["kind"] == "genesis":
            return history.genesis(entries[0]), path, "genesis"
    why = "; ".join(refused) or "no snapshot leads there"
    raise SnapshotInvalid(f"version {version} cannot be rebuilt: {why}")
