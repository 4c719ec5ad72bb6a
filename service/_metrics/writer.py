"""The thread that keeps a process's metrics file fresh.

Knows when to write. Does not know what. Writes at once, then every `every_s`, and a
last time when stopped; a full disk is logged once per spell and costs nothing but freshness.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import structlog

_log = structlog.get_logger(__name__)


class Writer:
    """Calls `write` again and again while its context is open; `name` is what logs call it."""

    def __init__(self, write: Callable[[], None], name: str, every_s: float) -> None:
        self._write_once = write
        self._name = name
        self._every_s = every_s
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="metrics-writer", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._write()
            self._stop.wait(self._every_s)
        self._write()

    def _write(self) -> None:
        try:
            self._write_once()
        except OSError as error:
            if not self._failing:
                _log.warning("metrics_file_not_written", file=self._name, error=str(error))
            self._failing = True
        else:
            self._failing = False
