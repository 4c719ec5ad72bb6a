"""Commands that wait for the loop: asked by the side door's threads, done between two cuts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from service import crash
from service.errors import HeadwaterError, Locked

Reply = dict[str, Any]
_PATIENCE_S = 60.0


class Refused(HeadwaterError):
    """The command does not fit the learner's state. Caller: read the reason."""


class Later:
    """An answer that is not ready yet: the loop goes on meanwhile, and looks between two cuts.

    ready: returns the reply, None for not yet; raises why there is none. stopping: the same when
    the loop ends, and must not return None.
    """

    def __init__(self, ready: Callable[[], Reply | None], stopping: Callable[[], Reply]) -> None:
        self.ready = ready
        self.stopping = stopping


class _Asked:
    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.done = threading.Event()
        self.reply: Reply = {}
        self.error: Exception | None = None
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Either the loop begins it, or whoever asked gives it up: true for the first to say so."""
        return self._claim.acquire(blocking=False)

    def answer(self, reply: Reply) -> None:
        """It is done, and journaled: let whoever asked go on."""
        self.reply = reply
        crash.point("command_done_before_reply")
        self.done.set()


class Commands:
    """A queue with answers. `ask` blocks its caller until the loop has run `obey`."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Asked] = queue.Queue()
        self._later: list[tuple[_Asked, Later]] = []
        self._open = False
        self._closing = threading.Lock()

    def open(self) -> None:
        """The loop runs: commands are taken from now on."""
        self._open = True

    def ask(self, request: dict[str, Any]) -> Reply:
        """Have a command done; raises what doing it raised.

        One that the loop has not begun within a minute is given up; one that it has begun is
        waited for, however long it takes.
        """
        asked = _Asked(request)
        with self._closing:
            if not self._open:
                raise Refused(f"{request['command']}: the learner is not taking commands now")
            self._waiting.put(asked)
        if not asked.done.wait(_PATIENCE_S):
            if asked.claim():
                raise Refused(f"{request['command']}: not begun within {_PATIENCE_S:g} s")
            asked.done.wait()
        if asked.error is not None:
            raise asked.error
        return asked.reply

    def obey(self, do: Callable[[dict[str, Any]], Reply | Later], wait_s: float = 0.0) -> None:
        """Do what is waiting, or comes within `wait_s`. An error goes to whoever asked.

        One that is no answer (the disk failed in the middle, the directory is another's) is raised
        here as well: nothing may go on from a state that was not journaled.
        """
        self._answer_later()
        while True:
            try:
                asked = self._waiting.get(block=wait_s > 0.0, timeout=wait_s or None)
            except queue.Empty:
                return
            wait_s = 0.0
            if not asked.claim():
                continue  # whoever asked was told that it was not done
            try:
                crash.point("command_taken")
                reply = do(asked.request)
                if isinstance(reply, Later):
                    self._later.append((asked, reply))
                    continue
                asked.answer(reply)
            except Exception as error:
                asked.error = error
                asked.done.set()
                if not isinstance(error, HeadwaterError) or isinstance(error, Locked):
                    raise

    def close(self) -> None:
        """The loop has ended: refuse what still waits, and what comes from now on."""
        with self._closing:
            self._open = False

        def stopping(request: dict[str, Any]) -> Reply:
            raise Refused(f"{request['command']}: the learner is stopping")

        for asked, later in self._later:
            _finish(asked, later.stopping)
        self._later = []
        self.obey(stopping)

    def _answer_later(self) -> None:
        self._later = [pair for pair in self._later if not _finish(pair[0], pair[1].ready)]


def _finish(asked: _Asked, ready: Callable[[], Reply | None]) -> bool:
    """Answer who asked, if there is an answer."""
    try:
        reply = ready()
        if reply is None:
            return False
        asked.answer(reply)
    except HeadwaterError as error:
        asked.error = error
        asked.done.set()
    return True
