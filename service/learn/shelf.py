"""Commands about the snapshots on disk: list, pin, unpin. Answered beside the loop, in any state.

Knows the files. Does not know the loop, which may be busy: nothing here touches weights. A pin and
the keep policy exclude each other, so a snapshot that was said to be pinned is there.
"""

from __future__ import annotations

import threading
from typing import Any

from service.learn.commands import Refused, Reply
from service.learn.inventory import inventory
from service.settings import Settings, state_directory
from service.weights.snapshot_reader import SnapshotReader

_COMMANDS = frozenset({"snapshots", "pin", "unpin"})


class Shelf:
    """The snapshots of one model. `keep_here` is told once there is a learner that writes them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._snapshots = SnapshotReader(state_directory(settings) / "snapshots")
        self._one_at_a_time = threading.Lock()

    def keep_here(self, snapshots: SnapshotReader) -> None:
        """Pin through the one that also takes old snapshots away."""
        self._snapshots = snapshots

    def knows(self, command: str) -> bool:
        """Whether this is a command about snapshots."""
        return command in _COMMANDS

    def answer(self, request: dict[str, Any]) -> Reply:
        """Do one command; Refused without an id, SnapshotInvalid where there is no such snapshot."""
        command = request["command"]
        if command == "snapshots":
            with self._one_at_a_time:  # it reads every file
                return {"snapshots": inventory(self._settings)}
        id = request.get("id")
        if not isinstance(id, str):
            raise Refused(f'{command}: "id" must name a snapshot, as `snapshots list` shows it')
        if command == "pin":
            self._snapshots.pin(id)
        else:
            self._snapshots.unpin(id)
        return {"id": id, "pinned": command == "pin"}
