"""Commands for the running learner, and what it says of itself: for the CLI and /v1/admin alike.

Knows the runtime directory: the side door's socket, and the live file beside it. Does not know
what a command means. Whoever waits for a long command waits as long as the learner gives signs of
life; what the learner refuses is raised under the learner's own code.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service import control
from service.errors import HeadwaterError, LearnerAway
from service.serve.served import learner_seen
from service.weights.live import LiveReader

PATIENCE_S = 60.0
"""How long a learner may neither answer nor give a sign of life while a command is under way."""
STATUS_PATIENCE_S = 5.0

_SHAPE: dict[str, Any] = {
    "name": None, "state": None, "reason": None, "heartbeat_age_seconds": None, "progress": None,
    "version": None, "published_version": None, "frozen_version": None, "frozen_twin": None, "lag_records": None,
    "shed": None,
    "pid": None, "uptime_seconds": None, "lineage": None, "events_learned": None, "records": {},
    "outcomes": {}, "partitions": [], "snapshot": {"version": None, "age_seconds": None}, "trained_through": {},
    "published": None, "challengers": {},
}  # fmt: skip
"""Every key of a status, whoever gives it; what is not known is null or empty."""
STATUS_KEYS = frozenset(_SHAPE)


class CommandRefused(HeadwaterError):
    """The learner will not do it. Caller: read the reason; nothing was changed."""

    def __init__(self, command: str, code: str, why: str) -> None:
        super().__init__(f"the learner refused {command!r}: {why}")
        self.code = code
        self.why = why
        self.exit_code = _EXIT_CODES.get(code, HeadwaterError.exit_code)


def tell(
    directory: Path, command: str, by: str, limit_s: float | None = None, **arguments: Any
) -> control.Reply:
    """Give the learner of this runtime directory a command and return its reply.

    by: who asks, for the audit log. limit_s: give up waiting then, in seconds; the learner may do
    the command all the same. Raises CommandRefused, or LearnerAway when nobody answers.
    """
    began = time.monotonic()
    first_s = PATIENCE_S if limit_s is None else min(PATIENCE_S, limit_s)

    def alive() -> bool:
        in_time = limit_s is None or time.monotonic() - began < limit_s
        return in_time and _heard_of(directory)

    reply = control.ask(
        directory / "control.sock", command, first_s, alive=alive, by=by, **arguments
    )
    if not reply.pop("ok"):
        raise CommandRefused(command, reply["code"], reply["error"])
    return reply


def status(directory: Path) -> dict[str, Any]:
    """Return what the learner says of itself, or what was last known of one that is down.

    The keys are the same in both cases.
    """
    known = _last_known(directory)
    try:
        said = control.ask(directory / "control.sock", "status", STATUS_PATIENCE_S)
    except LearnerAway as away:
        return known | {"reason": known["reason"] or str(away)}
    if not said.pop("ok"):
        return known | {"reason": said["error"]}
    return known | said


def _heard_of(directory: Path) -> bool:
    """Whether the learner gave a sign of life within PATIENCE_S."""
    reader = LiveReader(directory)
    try:
        age_s = learner_seen(reader.heartbeat(), time.time_ns()).heartbeat_age_seconds
    finally:
        reader.close()
    return age_s is not None and age_s < PATIENCE_S


def _last_known(directory: Path) -> dict[str, Any]:
    """Read the live file: the learner may be busy, or gone with its weights still served."""
    reader = LiveReader(directory)
    try:
        beat = reader.heartbeat()
        with reader.pinned() as slot:
            served = dict(slot.meta) if slot is not None else None
    finally:
        reader.close()
    learner = learner_seen(beat, time.time_ns())
    published = served or {}
    return _SHAPE | {
        "name": published.get("name"),
        "state": learner.state,
        "reason": learner.reason,
        "heartbeat_age_seconds": learner.heartbeat_age_seconds,
        "progress": learner.progress,
        "version": (beat or {}).get("version"),
        "published_version": published.get("version"),
        "lag_records": learner.lag_records,
        "pid": (beat or {}).get("pid") if learner.up else None,
        "lineage": published.get("lineage"),
        "events_learned": published.get("events_learned"),
        "trained_through": published.get("trained_through", {}),
        "published": served,
    }


def _family(error: type[HeadwaterError]) -> Iterator[type[HeadwaterError]]:
    yield error
    for inner in error.__subclasses__():
        yield from _family(inner)


_EXIT_CODES = {control.code_of(error): error.exit_code for error in _family(HeadwaterError)}
