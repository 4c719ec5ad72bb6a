"""Commands that wait for the loop: asked by the side door's threads, done between two cuts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from service import crash
from service.errors import HeadwaterError

Reply = dict[str, Any]
_PATIENCE_S = 60.0


class Refused(HeadwaterError):
    """The command does not fit the learner's state. Caller: read the reason."""


class _Asked:
    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.done = threading.Event()
        self.reply: Reply = {}
        self.error: Exception | None = None
        self.given_up = False


class Commands:
    """A queue with answers. `ask` blocks its caller until the loop has run `obey`."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Asked] = queue.Queue()
        self._open = False

    def open(self) -> None:
        """The loop runs: commands are taken from now on."""
        self._open = True

    def ask(self, request: dict[str, Any]) -> Reply:
        """Have a command done; raises what doing it raised."""
        if not self._open:
            raise Refused(f"{request['command']}: the learner is not ready for commands yet")
        asked = _Asked(request)
        self._waiting.put(asked)
        if not asked.done.wait(_PATIENCE_S):
            asked.given_up = True
            raise Refused(f"{request['command']}: not done within {_PATIENCE_S:g} s")
        if asked.error is not None:
            raise asked.error
        return asked.reply

    def obey(self, do: Callable[[dict[str, Any]], Reply], wait_s: float = 0.0) -> None:
        """Do what is waiting, or comes within `wait_s`. An error goes to whoever asked."""
        while True:
            try:
                asked = self._waiting.get(block=wait_s > 0.0, timeout=wait_s or None)
            except queue.Empty:
                return
            wait_s = 0.0
            if asked.given_up:
                continue  # whoever asked was told that it was not done
            try:
                crash.point("command_taken")
                asked.reply = do(asked.request)
                crash.point("command_done_before_reply")
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                asked.error = error
            asked.done.set()
