"""The learner's side of the side door, and its signs of life until there is a learner.

Knows what may be asked when; every order is recorded. Called by the door's threads and, for the
beats, by the process's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from service import crash
from service.errors import LayoutChanged
from service.learn.acts import Acts
from service.learn.audit import Audit
from service.learn.commands import Commands, Refused, Reply
from service.learn.herald import Waiting
from service.learn.meanwhile import Meanwhile
from service.learn.restore import Served
from service.learn.shelf import Shelf
from service.learn.standing import GUARD, RULE
from service.metrics import Metrics
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import Settings, state_directory
from service.weights.live_reader import LiveReader
from service.weights.live_writer import LiveWriter

_log = structlog.get_logger(__name__)
_LONGEST_BY = 200


class Door:
    """What the side door answers before there is a learner, and through it afterwards.

    `beat` gives the signs of life until the loop does; as a context, the door repeats the last
    one while it takes long (compiling, a large snapshot), five minutes at most. Whoever waits for
    longer says that it is `still_here`.
    """

    def __init__(
        self,
        live: LiveWriter,
        shelf: Shelf,
        audit: Audit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.commands = Commands()
        self.acts: Acts | None = None
        self.live = live
        self.audit = audit
        audit.place = self._place
        self.shelf = shelf
        self._said: Reply = {}
        self._started = time.monotonic()
        self._said_s = clock()
        self._clock = clock
        self._waiting = Waiting(clock)
        self._meanwhile = Meanwhile(self._repeat, lambda: self._said_s, clock=clock)

    def __enter__(self) -> Door:
        self._meanwhile.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._meanwhile.close()

    def _repeat(self) -> None:
        self.live.beat(self._said | {"lag_records": None})

    def still_here(self) -> None:
        """Say that what was said last goes on, and that this is no hang."""
        self._said_s = self._clock()
        self._waiting.still()

    def beat(self, state: str, reason: str | None = None, progress: float | None = None) -> None:
        """Say what is going on; called by the process's own thread."""
        if reason != self._waiting.why:
            self._waiting.over()
        self.still_here()
        self._said = {"state": state, "reason": reason, "progress": progress, "pid": os.getpid()}
        self.live.beat(self._said | {"lag_records": None})

    def go_live(self, directory: Path, recipe: Recipe) -> LiveWriter:
        """Return the live file for this recipe; another one is replaced only now."""
        if self.live.layout != recipe.to_json():
            self.live.close()
            crash.point("layout_old_live_closed")
            self.live = _open_live(directory, recipe)
            self.live.beat(self._said)
        return self.live

    def close(self) -> None:
        """Let go of the live file, which goes on being served."""
        self.live.close()

    def waiting(self, why: str) -> None:
        """Say what is waited for."""
        self._waiting.tell(why)
        self.beat("restoring", why)

    def waited(self) -> None:
        """Say that what was waited for is there."""
        self._waiting.over()

    def answer(self, request: dict[str, Any]) -> Reply:
        """Answer one command, and record it; called by the door's threads."""
        if "by" in request:
            request = request | {"by": _brief(request["by"])}
        return self.audit.of(request, self._answer)

    def told(self, by: str, turn: str, why: str, made: tuple[int, str]) -> None:
        """Record a turn that nobody ordered; one that was ordered is recorded where it came in."""
        if by in (GUARD, RULE):
            self.audit.note(by, turn, detail=why, place=made)

    def _place(self) -> tuple[int | None, str | None]:
        if self.acts is None:
            return None, None
        journaled = self.acts.journaled
        return journaled.version, journaled.lineage

    def _answer(self, request: dict[str, Any]) -> Reply:
        if self.shelf.knows(request["command"]):
            return self.shelf.answer(request)
        if self.acts is None and request["command"] != "status":
            why = self._said["reason"] or "it has no model yet"
            raise Refused(f"{request['command']}: the learner is {self._said['state']}: {why}")
        if request["command"] != "status":
            return self.commands.ask(request)
        if self.acts is not None:
            return self.acts.status()
        return self._said | {"uptime_seconds": round(time.monotonic() - self._started, 3)}


def _brief(by: object) -> str:
    """Who asks, in so few words that they fit wherever they are repeated."""
    text = str(by)
    return text if len(text) <= _LONGEST_BY else text[: _LONGEST_BY - 3] + "..."


def _open_live(directory: Path, recipe: Recipe) -> LiveWriter:
    nbytes = Layout(recipe).nbytes
    return LiveWriter.open(directory, nbytes=nbytes, layout=recipe.to_json())


def present_or_new(directory: Path, recipe: Recipe) -> LiveWriter:
    """Open the live file that is there, so that it goes on being served; else a new one."""
    reader = LiveReader(directory)
    present = reader.pointed_layout
    reader.close()
    try:
        return _open_live(directory, Recipe.from_json(present) if present else recipe)
    except (LayoutChanged, ValueError) as error:
        _log.warning("live_file_not_continued", why=str(error))
        return _open_live(directory, recipe)


def served_in(directory: Path) -> Served | None:
    """Return lineage and version of what this runtime directory's live file answers with; None
    where nothing was published since the machine started."""
    reader = LiveReader(directory)
    try:
        with reader.pinned() as slot:
            return None if slot is None else (slot.meta["lineage"], slot.meta["version"])
    finally:
        reader.close()


def door_of(settings: Settings, live: LiveWriter, metrics: Metrics) -> Door:
    lost = metrics.counter("headwater_audit_failures_total").inc
    return Door(live, Shelf(settings), Audit(state_directory(settings), lost))
