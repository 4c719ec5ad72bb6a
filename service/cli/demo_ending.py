"""What ends a demo: Ctrl-C, SIGTERM, a terminal that was closed. Imports nothing heavy."""

from __future__ import annotations

import signal

INTERRUPTED = 130


class Ending:
    """Hears the signals from when it is made on; they end nothing by themselves.

    So one that comes while something is being started finds everything that must be undone.
    """

    def __init__(self) -> None:
        self.asked = False
        self.interrupted = False
        """Ctrl-C was among them."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)

    @property
    def exit_code(self) -> int:
        """What the process ends with, if nothing went wrong."""
        return INTERRUPTED if self.interrupted else 0

    def _heard(self, number: int, _: object) -> None:
        self.asked = True
        self.interrupted = self.interrupted or number == signal.SIGINT
