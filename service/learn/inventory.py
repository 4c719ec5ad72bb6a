"""What lies in the state directory, for `headwater snapshots list`. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from service.errors import BrokerAway, TopicMissing
from service.learn.standing import flat
from service.settings import Settings, state_directory
from service.stream.kafka import KafkaBroker
from service.stream.records import TP
from service.weights.journal import Journal
from service.weights.snapshot_reader import Listed, SnapshotReader


def inventory(
    settings: Settings, told: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Return the snapshots, newest first, in the shape of `snapshots list --json`.

    replayable: the journal goes on from it and the topic still has the records after it; null
    when the broker does not answer. told: called with how many more bytes were read.
    """
    state_at = state_directory(settings)
    reader = SnapshotReader(state_at / "snapshots")
    reader.told = told
    listed = reader.list()
    damaged = {failure["id"]: failure["reason"] for failure in reader.verify()}
    lows = _low_watermarks(settings, listed)
    first = Journal.reader(state_at / "journal").first_version
    return [
        _shown(entry, first, lows)
        | {"changed": _changed(entry, listed[at + 1 :])}
        | ({"valid": False, "reason": damaged[entry.id]} if entry.id in damaged else {})
        for at, entry in enumerate(listed)
    ]


def _shown(entry: Listed, first: int | None, lows: dict[TP, int] | None) -> dict[str, Any]:
    manifest = entry.manifest
    if manifest is None:
        return {
            "id": entry.id, "version": None, "lineage": None, "created_at": None, "bytes": 0,
            "valid": False, "reason": entry.reason, "pinned": entry.pinned, "replayable": False,
            "offsets": {}, "digest": {}, "metrics": {}, "fading": {},
            "held_out": {}, "learning_rate": None, "events_learned": None,
        }  # fmt: skip
    meta = manifest.meta
    in_journal = first is not None and first <= manifest.version + 1
    kept = None
    if lows is not None:
        kept = all(lows.get(tp, 0) <= offset for tp, offset in flat(meta["cursors"]).items())
    return {
        "id": entry.id,
        "version": manifest.version,
        "lineage": manifest.lineage,
        "created_at": manifest.created_at,
        "bytes": manifest.nbytes,
        "valid": True,
        "pinned": entry.pinned,
        "replayable": in_journal and kept
        if kept is not None
        else (False if not in_journal else None),
        "offsets": meta["cursors"],
        "digest": manifest.digest,
        "metrics": {t: r["metrics"] for t, r in meta["targets"].items()},
        "fading": {t: r["fading"] for t, r in meta["targets"].items()},
        "held_out": {t: r.get("held_out") for t, r in meta["targets"].items()},
        "learning_rate": meta.get("learning_rate"),
        "events_learned": meta["events_learned"],
    }


def _changed(entry: Listed, older: list[Listed]) -> dict[str, list[Any]]:
    """Return {setting: [before, after]}: what the settings say since the snapshot before this one.
    Of a snapshot that an older release took, what decides the weights."""
    before = next((e.manifest.meta for e in older if e.manifest is not None), None)
    if entry.manifest is None or before is None:
        return {}
    after = entry.manifest.meta
    key = "settings" if before.get("settings") and after.get("settings") else "recipe"
    old, new = dict(_flat(before[key])), dict(_flat(after[key]))
    return {
        name: [old.get(name), new.get(name)]
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _low_watermarks(settings: Settings, listed: list[Listed]) -> dict[TP, int] | None:
    places = {
        place
        for e in listed
        if e.manifest is not None
        for place in flat(e.manifest.meta["cursors"])
    }
    if settings.kafka.bootstrap_servers == "embedded":
        return None
    kafka = settings.kafka
    broker = KafkaBroker(
        kafka.bootstrap_servers, name=settings.name, client=kafka.client, timeout_s=3.0
    )
    try:
        return {place: broker.watermarks(place)[0] for place in places}
    except (BrokerAway, TopicMissing):
        return None
    finally:
        broker.close()
