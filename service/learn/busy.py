"""Lines of the log while something goes on that takes longer than a moment, and then is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.progress import Lines, Pace, looking

_log = structlog.get_logger(__name__)
_AFTER_S = 2.0


@contextmanager
def busy(what: str, pace: Pace | None = None, **fields: object) -> Iterator[None]:
    """Say after two seconds, and every five from then on, that the block goes on, and how far it is
    where a pace tells."""
    began_s = time.monotonic()

    def say(now: Pace) -> None:
        figures = {"for_s": round(time.monotonic() - began_s)} if pace is None else now.figures()
        _log.info(what, **figures, **fields)

    with looking(Lines(pace or Pace(""), say, after_s=_AFTER_S).look):
        yield
