"""The verifier: what the topics, the journal, the weights and the clients say must be one story.

A process of its own, run when the service has stopped. It reads the topics with its own consumer
and decides by itself what must have become of each record (`events.outcome_of`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from service import settings
from service.learn import history, reach
from service.learn.history import Replayed
from service.learn.learner import Learner
from service.learn.sources import range_reader
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.snapshot_reader import SnapshotReader
from tests.chaos.events import BUCKETS, RATE, TENSOR, bucket_of, hasher, outcome_of
from tests.chaos.reading import Place, read_topic
from tests.e2e.service import CHECKOUT

Entry = dict[str, Any]
Failures = list[str]
_EXCUSED_S = 1.0


class Told:
    """What the round left behind: its settings, the clients' notes, the final reply."""

    def __init__(self, folder: Path) -> None:
        def read(name: str) -> Any:
            return json.loads((folder / name).read_text())

        self.folder = folder
        self.facts: dict[str, Any] = read("round.json")
        self.seen: dict[str, Any] = read("watch.json")
        self.produced: dict[str, Any] = read("produced.json")
        self.config = folder / "headwater.yaml"
        self.settings = settings.load(self.config, environment={})
        self.state_at = settings.state_directory(self.settings)
        self.skipped = {tuple(place) for place in self.facts.get("skipped", [])}


def verify(folder: Path) -> dict[str, Any]:
    """Return {"ok", "failures", and what was counted}."""
    told = Told(folder)
    failures: Failures = []
    topic, dead = told.facts["topic"], told.facts["dead"]
    records = read_topic(told.facts["bootstrap"], topic)
    entries = list(Journal.reader(told.state_at / "journal").read(first_entry(told)))
    counts = conservation(told, records, entries, failures)
    doubles = dead_letters(told, records, read_topic(told.facts["bootstrap"], dead), failures)
    learned = counting(told, records, failures)
    confirmed = bits(told, entries, failures)
    clients(told, entries, failures)
    if told.produced["failed"]:
        failures.append(f"{told.produced['failed']} events were never acknowledged by the broker")
    if any(told.facts["exit_codes"]):
        failures.append(f"a clean stop ended with {told.facts['exit_codes']}")
    return {
        "ok": not failures,
        "failures": failures,
        "records": len(records),
        "learned": learned,
        "outcomes": counts,
        "entries": len(entries),
        "versions_seen": len(told.seen["versions"]),
        "digests_confirmed": confirmed,
        "requests": told.seen["requests"],
        "retried": len(told.seen["retried"]),
        "dead_letter_doubles": doubles,
    }


def first_entry(told: Told) -> int:
    """The oldest version in the journal; 0 unless the round let old segments go."""
    return Journal.reader(told.state_at / "journal").first_version or 0


def due(told: Told, records: dict[Place, bytes | None]) -> Counter[str]:
    """The outcomes that there must be in the end."""
    return Counter(
        "skipped/rollback" if place in told.skipped else outcome_of(value)[0]
        for place, value in records.items()
    )


def _way(entries: list[Entry], target: int) -> list[Entry] | None:
    """The entries that lead from the first one to a version."""
    return history.way(entries[1:], entries[0]["version"], target)


class Ledger:
    """What the journal says became of each record, entry by entry, held against the topic."""

    def __init__(self, told: Told, records: dict[Place, bytes | None], *, whole: bool) -> None:
        self._told = told
        self._records = records
        self._whole = whole  # False: old segments are gone, so the first cuts begin somewhere
        self.cursors: dict[int, int] = {}
        self.total: Counter[str] = Counter()
        self.failures: Failures = []

    def enter(self, entry: Entry) -> None:
        """Follow one entry."""
        if "base" in entry and not self._told.facts["turns"]:
            self.failures.append(f"entry {entry['version']} gives up versions: {entry}")
        match entry["kind"]:
            case "genesis":
                start = entry["start"][self._told.facts["topic"]]
                self.cursors = {int(p): n for p, n in start.items()}
            case "partition_added":
                self.cursors[entry["partition"]] = entry["start"]
            case "skip" if "next" in entry:
                self._leave_out(entry)
            case "skip":
                gone = {(entry["partition"], n) for n in range(entry["start"], entry["to"])}
                if not gone <= self._told.skipped:
                    self.failures.append(f"skipped what is there: {entry}")
                self.cursors[entry["partition"]] = entry["to"]
            case "cut":
                self._cut(entry)

    def _leave_out(self, entry: Entry) -> None:
        """A rollback that does not learn again: what was learned since is skipped instead."""
        self._told.skipped |= {
            place for place in self._passed(entry) if outcome_of(self._records[place])[1]
        }
        self.total += Counter(_merged(entry["counts"]))

    def _passed(self, entry: Entry) -> list[Place]:
        """The records that an entry takes the cursors past."""
        places: list[Place] = []
        for name, following in entry["next"][self._told.facts["topic"]].items():
            partition = int(name)
            start = self.cursors.get(partition, 0 if self._whole else following)
            places += [(partition, offset) for offset in range(start, following)]
            if following < start:
                self.failures.append(f"entry {entry['version']} goes back to {following}")
            self.cursors[partition] = following
        return [place for place in places if place in self._records]

    def _cut(self, entry: Entry) -> None:
        found = Counter(outcome_of(self._records[place])[0] for place in self._passed(entry))
        self.total += found
        said = Counter(_merged(entry["counts"]))
        if self._whole and found != said:
            self.failures.append(f"cut {entry['version']}: {dict(said)}, not {dict(found)}")

    def close(self) -> None:
        """The journal ends where the topic does, with everything in it."""
        ends: dict[int, int] = {}
        for partition, offset in self._records:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        reached = {p: n for p, n in self.cursors.items() if p in ends}
        if reached != ends:
            self.failures.append(f"cursors end at {reached}, the topic at {ends}")
        should = due(self._told, self._records)
        if self._whole and self.total != should:
            self.failures.append(f"the cuts hold {dict(self.total)}, the topic {dict(should)}")


def conservation(
    told: Told, records: dict[Place, bytes | None], entries: list[Entry], failures: Failures
) -> dict[str, int]:
    """Each record is in exactly one cut, with the outcome that it must have."""
    ledger = Ledger(told, records, whole=entries[0]["kind"] == "genesis")
    for at, entry in enumerate(entries):
        if entry["version"] != entries[0]["version"] + at:
            failures.append(f"entry {entry['version']} does not follow the one before it")
    for entry in [entries[0], *(_way(entries, entries[-1]["version"]) or ())]:
        ledger.enter(entry)
    ledger.close()
    failures += ledger.failures[:20]
    should = due(told, records)
    served = Counter(_merged(told.facts["outcomes"]))
    if served != should:
        failures.append(f"the status says {dict(served)}, the topic {dict(should)}")
    return dict(should)


def _merged(counts: dict[str, int]) -> dict[str, int]:
    """Counts by outcome; which reason made a dead letter is not told apart."""
    merged: dict[str, int] = {}
    for name, count in counts.items():
        key = "dead_lettered" if name.startswith("dead_lettered/") else name
        merged[key] = merged.get(key, 0) + count
    return merged


def dead_letters(
    told: Told,
    records: dict[Place, bytes | None],
    letters: dict[Place, Any],
    failures: Failures,
) -> int:
    """Every bad record has its letter, nothing else has one; return how many came twice."""
    should = {place for place, value in records.items() if outcome_of(value)[0] == "dead_lettered"}
    headers = read_topic(told.facts["bootstrap"], told.facts["dead"], headers=True)
    places = [
        (int(h["headwater-partition"]), int(h["headwater-offset"])) for h in headers.values() if h
    ]
    if set(places) != should:
        missing, strange = should - set(places), set(places) - should
        failures.append(f"dead letters: {len(missing)} missing, {len(strange)} of good records")
    if len(letters) != len(places):
        failures.append("a dead letter does not say where it comes from")
    return len(places) - len(set(places))


def counting(told: Told, records: dict[Place, bytes | None], failures: Failures) -> int:
    """The weights count: one for each id learned, nothing anywhere else."""
    hashes, should = hasher(), np.zeros(BUCKETS)
    for place, value in records.items():
        outcome, id = outcome_of(value)
        if outcome == "learned" and id is not None and place not in told.skipped:
            should[bucket_of(hashes, id)] += 1
    reader = SnapshotReader(told.state_at / "snapshots")
    newest = reader.newest_valid()
    if newest is None:
        failures.append("there is no valid snapshot")
        return 0
    if newest.manifest.digest != told.facts["model"]["digest"]:
        failures.append("the last snapshot is not what was served last")
    weights = newest.parts["weights"][TENSOR]
    counted = np.rint(weights.to(torch.float64).numpy().ravel() / (2 * RATE))
    if (wrong := int((counted != should).sum())) > 0:
        at = int(np.flatnonzero(counted != should)[0])
        failures.append(f"{wrong} ids counted wrongly; first {counted[at]:g}, not {should[at]:g}")
    if should.max(initial=0) > 1:
        failures.append("the producer sent an id twice: this round counts nothing")
    return int(counted.sum())


def bits(told: Told, entries: list[Entry], failures: Failures) -> int:
    """Every digest that a client saw comes out of a replay, and the last out of `rebuild`."""
    waiting = {(lineage, version): d for lineage, version, d in told.seen["digests"]}
    confirmed = 0

    def compare(_: object, learner: Learner) -> None:
        nonlocal confirmed
        key = (learner.standing.lineage, learner.standing.version)
        seen = waiting.pop(key, None)
        if seen is None:
            return
        confirmed += 1
        if digest(learner.state.parts()) != seen:
            failures.append(f"version {key} has other bits than a client saw")

    start = _replayed(told, entries, entries[-1]["version"], compare, failures)
    for base, target in _given_up(entries):
        if any(base < version <= target for _, version in waiting):
            _replayed(told, entries, target, compare, failures)
    unproven = [key for key in waiting if key[1] >= start]
    if unproven:
        failures.append(f"{len(unproven)} digests of no version in the journal: {unproven[:3]}")
    _rebuild(told, start, failures)
    return confirmed


def _replayed(
    told: Told,
    entries: list[Entry],
    target: int,
    compare: Callable[[object, Learner], None],
    failures: Failures,
) -> int:
    """Replay from the start up to a version; return where it began."""
    learner, rest = _oldest(told, entries)
    start = learner.standing.version
    path = history.way(rest, start, target)
    if path is None:
        failures.append(f"the journal does not lead from its start to version {target}")
        return start
    replayed = Replayed()
    compare(0.0, learner)
    with range_reader(told.settings) as ranges:
        learner = reach.replay(learner, path, ranges, replayed, compare)
    if replayed.diverged_at is not None:
        failures.append(f"the replay diverged at {replayed.diverged_at}: {replayed.reason}")
    final = digest(learner.state.parts()) == told.facts["model"]["digest"]
    if target == entries[-1]["version"] and not final:
        failures.append("the replay ends with other bits than were served")
    return start


def _given_up(entries: list[Entry]) -> list[tuple[int, int]]:
    """Where each branch began that history turned away from, and its last version."""
    turns = [entry for entry in entries if "base" in entry]
    return [(turn["base"], turn["version"] - 1) for turn in turns]


def _oldest(told: Told, entries: list[Entry]) -> tuple[Learner, list[Entry]]:
    if entries[0]["kind"] == "genesis":
        return history.genesis(entries[0]), entries[1:]
    reader = SnapshotReader(told.state_at / "snapshots")
    listed = [e for e in reader.list() if e.manifest is not None]
    oldest = min(listed, key=lambda e: e.manifest.version if e.manifest else 0)
    return reach.from_snapshot(*reader.load(oldest.id)), entries


def _rebuild(told: Told, start: int, failures: Failures) -> None:
    version = told.facts["model"]["version"]
    base = ["--from", "0"] if start == 0 else []
    done = subprocess.run(
        [sys.executable, "-m", "service", "rebuild", "--config", str(told.config), "--version",
         str(version), *base, "--out", str(told.folder / "rebuilt"), "--json"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        failures.append(f"rebuild ended with {done.returncode}: {done.stderr[-500:]}")
    elif json.loads(done.stdout)["digest"] != told.facts["model"]["digest"]:
        failures.append(f"version {version} rebuilt from {start} has other bits than were served")


def clients(told: Told, entries: list[Entry], failures: Failures) -> None:
    """No failed prediction, no version that goes back, one digest per version, one lineage."""
    seen = told.seen
    last, lineage = entries[-1]["version"], told.facts["model"]["lineage"]
    unknown = [key for key in seen["versions"] if key[0] != lineage or key[1] > last]
    if unknown:
        failures.append(f"{len(unknown)} versions seen that are not in the journal: {unknown[:3]}")
    if len(seen["lineages"]) != 1:
        failures.append(f"the lineage changed: {seen['lineages']}")
    if seen["conflicts"]:
        failures.append(f"versions with two digests: {seen['conflicts'][:3]}")
    if seen["went_back"]:
        failures.append(f"{len(seen['went_back'])} versions went back: {seen['went_back'][:3]}")
    failed = [
        (at, why) for at, why in seen["failed"]
        if not any(a <= at <= b + _EXCUSED_S for a, b in told.facts["down"])
    ]  # fmt: skip
    if failed:
        failures.append(f"{len(failed)} predictions failed: {failed[:3]}")
