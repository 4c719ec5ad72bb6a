"""What the demo waits for: a service that comes up, and one that was killed and still ends."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.error
from collections.abc import Iterable, Iterator

import msgspec

_LOOK_S = 0.05
_ENDS_WITH = "headwater: "
"""So a command begins the line that says why it cannot go on."""


class _Said(msgspec.Struct):
    """A line of the service's log."""

    event: str = ""
    pid: int = 0


class _Learner(msgspec.Struct):
    reason: str | None = None


class _NotReady(msgspec.Struct):
    """What a reply of 503 says of the learner."""

    learner: _Learner = msgspec.field(default_factory=_Learner)


def started_in(log: str) -> Iterator[int]:
    """Yield the processes that a supervisor says it has started.

    >>> list(started_in('{"event": "child_started", "pid": 7}\\nFAIL\\n{"event": "answering", "pid": 8}'))
    [7]
    """
    for line in log.splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            said = msgspec.json.decode(line, type=_Said)
            if said.event == "child_started":
                yield said.pid


def troubles_in(log: str) -> list[str]:
    """Return what parts of a service said as they ended.

    >>> troubles_in('{"event": "compiling"}\\nheadwater: no room\\n')
    ['no room']
    """
    return [
        line.removeprefix(_ENDS_WITH) for line in log.splitlines() if line.startswith(_ENDS_WITH)
    ]


def wait_for_end(pids: Iterable[int], at_most_s: float) -> None:
    """Wait until none of these processes is there any more."""
    deadline = time.monotonic() + at_most_s
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(_LOOK_S)


def reason_in(error: Exception) -> str | None:
    """Return what the learner does instead of answering, where a reply says so."""
    if not isinstance(error, urllib.error.HTTPError):
        return None
    try:
        found = msgspec.json.decode(error.read(), type=_NotReady)
    except (msgspec.DecodeError, OSError):
        return None
    return found.learner.reason


def waiting(reason: str | None, for_s: float) -> str:
    """Say what is waited for, for a person.

    >>> waiting("compiling", 7.2)
    'compiling the model, once for this installation: that takes up to a minute (7 s so far) ...'
    """
    if reason == "compiling":  # as the learner calls it while it does (process.py)
        what = "compiling the model, once for this installation: that takes up to a minute"
    else:
        what = f"waiting for the learner{f': {reason}' if reason else ''}"
    return f"{what} ({for_s:.0f} s so far) ..."
