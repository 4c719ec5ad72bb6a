"""What a reply says about the version it was computed from, and about the learner behind it.

Knows the shapes of the "model" and "learner" objects. Does not know files or HTTP. Everything
that is the same for every reply of a version is encoded once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

DOWN_AFTER_S = 3.0
"""A learner whose heartbeat is older than this is down."""

_YEAR_1_MS, _YEAR_9999_MS = -62135596800000, 253402300799999
_LIVELY = frozenset({"learning", "idle"})


class Served:
    """One published version, ready to be put into replies."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta
        self.version = int(meta["version"])
        self.lineage = str(meta["lineage"])
        self.published_at_ns = int(meta["published_at_ns"])
        brief = {key: meta[key] for key in ("name", "version", "lineage", "events_learned")}
        if "answered_by" in meta:  # there are challengers
            brief["answered_by"] = meta["answered_by"]
        full = {**brief, "trained_through": meta["trained_through"]}
        self._brief = msgspec.json.encode(brief)[:-1]
        self._full = msgspec.json.encode(full)[:-1]
        self._headers = [
            (b"x-model-version", str(self.version).encode()),
            (b"x-model-lineage", self.lineage.encode("ascii", "replace")),
        ]

    def age_s(self, now_ns: int) -> float:
        """Return now minus the publish time; a clock that was set back does not make it < 0."""
        return max(0.0, (now_ns - self.published_at_ns) / 1e9)

    def model_json(self, age_s: float, stale: bool, *, brief: bool) -> bytes:
        """Return the "model" object of a reply."""
        known = self._brief if brief else self._full
        flag = b"true" if stale else b"false"
        return b'%b,"age_seconds":%.6f,"stale":%b}' % (known, age_s, flag)

    def model(self, age_s: float, stale: bool) -> dict[str, object]:
        """Return the "model" object, whole, as a dictionary."""
        decoded: dict[str, object] = msgspec.json.decode(self.model_json(age_s, stale, brief=False))
        return decoded

    def headers(self, age_s: float) -> list[tuple[bytes, bytes]]:
        return [*self._headers, (b"x-model-age-seconds", b"%.6f" % age_s)]

    @property
    def published_at(self) -> str:
        return _iso(self.published_at_ns / 1e9)

    @property
    def event_time(self) -> str | None:
        """Time of the newest event in the weights; None where none has one within the calendar."""
        moment = self.meta.get("event_time_ms")
        if moment is None or not _YEAR_1_MS <= moment <= _YEAR_9999_MS:
            return None
        return _iso(moment / 1e3)


class Learner(msgspec.Struct, frozen=True):
    """What the heartbeat in the live file says; "down" is what its silence says."""

    state: str
    reason: str | None
    heartbeat_age_seconds: float | None
    lag_records: int | None
    progress: float | None

    @property
    def up(self) -> bool:
        return self.state != "down"

    @property
    def stale(self) -> bool:
        """Whether versions are known to be behind the topic, or nobody can tell."""
        if self.state in _LIVELY:
            return self.lag_records is None and self.reason is not None
        return self.state in ("down", "frozen") or self.lag_records != 0

    def sentence(self) -> str:
        """Return what the learner is doing, for people."""
        if self.heartbeat_age_seconds is None:
            return "no learner has started yet"
        if not self.up:
            return f"the learner is down, last seen {self.heartbeat_age_seconds:.0f} s ago"
        done = "" if self.progress is None else f" ({self.progress:.0%})"
        why = f": {self.reason}" if self.reason else ""
        return f"the learner is {self.state}{done}{why}"


def learner_seen(heartbeat: dict[str, Any] | None, now_ns: int) -> Learner:
    """Read a heartbeat cell; None when none was ever written.

    One from the future is as old as one from the past: the clock was set back since, and a learner
    that lives gives another in a moment.
    """
    if heartbeat is None:
        return Learner("down", None, None, None, None)
    age_s = abs(now_ns - int(heartbeat["heartbeat_ns"])) / 1e9
    return Learner(
        state="down" if age_s > DOWN_AFTER_S else str(heartbeat["state"]),
        reason=heartbeat.get("reason"),
        heartbeat_age_seconds=age_s,
        lag_records=heartbeat.get("lag_records"),
        progress=heartbeat.get("progress"),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
