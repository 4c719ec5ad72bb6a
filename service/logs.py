"""Logs: one line per unit of work on stderr, with fields instead of sentences.

JSON where stderr is a pipe, columns where it is a terminal. What the standard library logs
(uvicorn, librdkafka, warnings) goes the same way. Fields whose names are those of secrets are
hidden, and tracebacks never show local variables. Nothing is configured at import: each
process says `configure` once, with its own name.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from typing import TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from service.redact import redacted

Logger = structlog.stdlib.BoundLogger

_OWN_HANDLERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "fastapi")
"""Loggers that may have been given handlers of their own; ours is the only one."""


def configure(process: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logs of this process to stderr, whatever that is when a line is written: a progress
    bar takes its place for a while. `process`: learner, api-0, supervisor, ..."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _Named(process),
        _without_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # so that a second configure is obeyed
    )
    handler = logging.StreamHandler(stream or _Stderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(stream or sys.stderr),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _OWN_HANDLERS:
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True


def logger(name: str) -> Logger:
    """Return the logger of a module; it obeys the `configure` that is in force when it logs."""
    return structlog.stdlib.get_logger(name)


def _renderers(stream: TextIO) -> list[Processor]:
    if stream.isatty():
        plain = structlog.dev.plain_traceback  # the rich one shows local variables
        given = os.environ  # noqa: TID251 - of the terminal, no settings of ours
        colors = not given.get("NO_COLOR") and given.get("TERM") != "dumb"
        return [
            _for_people,
            structlog.dev.ConsoleRenderer(
                colors=colors, sort_keys=False, pad_event_to=22, exception_formatter=plain
            ),
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


class _Stderr:
    """stderr as it is at the moment."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Named:
    """Writes the name of the process into every line."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = self._process
        return event


def _for_people(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep what someone at a terminal looks for: the time of day, and which process it is."""
    moment = datetime.fromisoformat(event.pop("timestamp")).astimezone()
    event["logger"] = event.pop("process")
    return {"timestamp": f"{moment:%H:%M:%S}", **event}


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    kept = ("_record", "_from_structlog", "exc_info")  # what structlog itself passes along
    shown = redacted({name: value for name, value in event.items() if name not in kept})
    assert isinstance(shown, dict), "a mapping stays a mapping"
    return {**shown, **{name: event[name] for name in kept if name in event}}
