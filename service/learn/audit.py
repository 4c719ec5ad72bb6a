"""The audit log: who had what done, and what became of it. One JSON object a line, only appended.

Knows one file, `audit.jsonl` in the state directory, readable by its owner alone. Each line is on
the medium before the call returns. A line that a crash tore stays as it is, and the next begins
below it. A disk that takes no more costs the line, which is counted and logged loudly, never the
command: learning and serving go on. The file is opened for each line, so it may be moved away.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from service.errors import HeadwaterError
from service.redact import redacted
from service.weights import durable

NAME = "audit.jsonl"
READINGS = frozenset({"status", "snapshots"})
"""Commands that change nothing, and are not recorded."""

_MODE = 0o600
_LONGEST_TEXT = 2000
_LONGEST_ARGUMENTS = 8000
_log = structlog.get_logger(__name__)

Reply = dict[str, Any]
Place = Callable[[], tuple[int | None, str | None]]


def _nowhere() -> tuple[None, None]:
    return None, None


class Audit:
    """The audit log of one state directory. Every method may be called from any thread.

    `place` says the present version and lineage, for what has none of its own; `failed` is called for each line that could not
    be written.
    """

    def __init__(
        self, directory: Path, failed: Callable[[], None] | None = None, place: Place = _nowhere
    ) -> None:
        self.path = directory / NAME
        self.place = place
        self.failures = 0
        """Lines that could not be written since this process began."""
        self._failed = failed
        self._lock = threading.Lock()

    def of(self, request: dict[str, Any], do: Callable[[dict[str, Any]], Reply]) -> Reply:
        """Have a command done and record what became of it; raises what doing it raised."""
        command = request["command"]
        if command in READINGS:
            return do(request)
        by = request.get("by")
        arguments = {name: value for name, value in request.items() if name not in _NOT_ARGUMENTS}
        told = (by if isinstance(by, str) else "unknown", command, arguments)
        try:
            reply = do(request)
        except HeadwaterError as refusal:
            self.note(*told, "refused", str(refusal))
            raise
        except Exception as bug:
            self.note(*told, "failed", f"{type(bug).__name__}: {bug}")
            raise
        version, lineage = reply.get("version"), reply.get("lineage")
        known = isinstance(version, int) and isinstance(lineage, str)
        self.note(*told, "ok", place=(version, lineage) if known else None)
        return reply

    def note(
        self,
        by: str,
        command: str,
        arguments: dict[str, Any] | None = None,
        outcome: str = "ok",
        detail: str | None = None,
        place: tuple[int | None, str | None] | None = None,
    ) -> None:
        """Record one thing that was done. by: "cli:<user>", "admin:<address>" or "guard".

        outcome: ok, refused or failed. place: the version and lineage that it made; None: the
        present ones. Never raises: what cannot be written is counted and logged.
        """
        version, lineage = place or self.place()
        line: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "by": _short(by),
            "command": _short(command),
            "arguments": {},
            "outcome": outcome,
            "detail": None if detail is None else _short(detail),
            "version": version,
            "lineage": lineage,
        }
        try:
            line["arguments"] = _bounded(arguments or {})
            text = msgspec.json.encode(line) + b"\n"
            with self._lock:
                self._append(text)
        except (OSError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self.failures += 1
            if self._failed is not None:
                self._failed()
            _log.error("audit_not_written", path=str(self.path), error=str(error), lost=line)

    def _append(self, line: bytes) -> None:
        is_new = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path, flags, _MODE)
        try:
            os.fchmod(fd, _MODE)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # the last one was torn
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(fd, rest) :]
            durable.flush(fd)
        finally:
            os.close(fd)
        if is_new:
            durable.flush_directory(self.path.parent)


_NOT_ARGUMENTS = frozenset({"command", "by"})


def _short(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()  # lone surrogates fit into no file
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _bounded(arguments: dict[str, Any]) -> object:
    """Return the arguments without secrets; as a text cut short where they are beyond reason."""
    shown = redacted(arguments)
    text = msgspec.json.encode(shown)
    return (
        shown
        if len(text) <= _LONGEST_ARGUMENTS
        else text[:_LONGEST_ARGUMENTS].decode(errors="replace")
    )
