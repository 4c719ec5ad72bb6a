"""The disk under the state is away or read-only, and something is being served: wait for it.

The learner lets go of everything there, so that the disk can be taken off and mended, says why it
is halted, answers questions, and begins again from what the disk holds when it is back. Where
nothing is served yet the error ends the process, and says what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import traceback
import uuid
from contextlib import ExitStack
from pathlib import Path

import structlog

from service.control import ControlServer
from service.errors import BadSettings, HeadwaterError
from service.learn.door import door_of, present_or_new, served_in
from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.settings import Settings, runtime_directory, state_directory
from service.weights import boot, durable
from service.weights.live_reader import LiveReader

_log = structlog.get_logger(__name__)
AWAY = frozenset({
    errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENODEV, errno.ENXIO,
    errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN,
})  # fmt: skip
"""What a disk or a file server says that may be well again later."""
_KEEPERS = frozenset({
    "service.learn.audit", "service.learn.suspect", "service.weights.boot",
    "service.weights.journal", "service.weights.journal_reader", "service.weights.lock",
    "service.weights.snapshot_reader", "service.weights.snapshots",
})  # fmt: skip
"""Who works in the state directory, and nowhere else."""
_RUNTIME_KEEPERS = frozenset({
    "service.control", "service.weights.live_directory", "service.weights.live_writer",
})  # fmt: skip
"""Who works in the runtime directory, and nowhere else."""
_REMEDIES = {
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Raise the quota or make room there",
    errno.EROFS: "Mount it for writing",
    errno.EACCES: "Give this user the right to write there",
    errno.EPERM: "Give this user the right to write there",
}
_LOOK_S = 1.0
_LONGEST_S = 30.0
_FORGIVEN_S = 600.0


class Outage:
    """What one learner process knows of its disk."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._state_at = state_directory(settings)
        self._runtime_at = runtime_directory(settings)
        self._wait_s = _LOOK_S
        self._ended_s = -_FORGIVEN_S
        self.doubtful = False
        """A flush of the journal failed, and the next start must know it."""

    def look(self) -> None:
        """Raise OSError where the state is gone and its last learner did not end in peace: a mount
        that was taken off, most likely, and no wish to begin anew in its place."""
        if served_in(self._runtime_at) is None or (self._state_at / boot.JOURNAL).is_dir():
            return
        reader = LiveReader(self._runtime_at)
        try:
            beat = reader.heartbeat() or {}
        finally:
            reader.close()
        if beat.get("state", "down") != "down":
            why = "it is gone, and what it held is still served; to begin anew, stop, remove "
            why += f"{self._runtime_at} too, and start"
            raise OSError(errno.ENODEV, why, str(self._state_at))

    def passes(self, error: Exception) -> bool:
        """Whether this is the disk's matter and the API has something to go on with: then `wait`."""
        if self._stop.is_set() or served_in(self._runtime_at) is None:
            return False
        if isinstance(error, BadSettings):
            return _read_only(self._state_at)
        return isinstance(error, OSError) and error.errno in AWAY and self._is_of_state(error)

    def _is_of_state(self, error: OSError) -> bool:
        """Whether it was met in the state directory: by the file that it names; where it names none
        (a write, a flush), by who was at work there."""
        named = _named(error)
        return _worked(error, _KEEPERS) if named is None else _is_in(self._state_at, named)

    def in_words(self, error: Exception) -> Exception:
        """Return what to end with: a sentence where a disk says what it lacks, and it is clear which
        of ours that is; else the error itself."""
        if not isinstance(error, OSError) or error.errno not in _REMEDIES:
            return error
        named = _named(error)
        if _is_in(self._runtime_at, named) or (named is None and _worked(error, _RUNTIME_KEEPERS)):
            what, where = "runtime", self._runtime_at
        elif self._is_of_state(error) or (named is not None and _is_in(named, self._state_at)):
            what, where = "state", self._state_at
        else:
            return error
        return HeadwaterError(
            f"the {what} directory cannot be used: {named or where}: {error.strerror}. "
            f"{_REMEDIES[error.errno]}, or name another folder in {what}.directory; `headwater doctor` "
            "looks at its room and rights"
        )

    def wait(self, error: Exception) -> None:
        """Return when the disk takes writes again, or when told to stop.

        Waits longer each time: a disk that takes a small file and no large one is not well yet.
        """
        why = f"the state directory cannot be used: {error}"
        _log.error("halted", reason=why)
        now_s = time.monotonic()
        wait_s = _LOOK_S if now_s - self._ended_s > _FORGIVEN_S else self._wait_s
        until_s, self._wait_s = now_s + wait_s, min(2 * wait_s, _LONGEST_S)
        with ExitStack() as stack:
            live = present_or_new(self._runtime_at, recipe_of(self._settings))
            door = door_of(self._settings, live, Metrics("learner"))
            stack.callback(door.close)
            stack.enter_context(ControlServer(self._runtime_at / "control.sock", door.answer))
            door.beat("halted", why)
            while not self._stop.wait(_LOOK_S):
                door.beat("halted", why)
                if time.monotonic() >= until_s and self._takes_writes():
                    _log.warning("disk_is_back", path=str(self._state_at))
                    self._ended_s = time.monotonic()
                    return
            # the last word stays "halted": whoever starts next must not take this for a clean end

    def _takes_writes(self) -> bool:
        """Never makes the directory: where it was mounted there may be another, empty one now."""
        probe = self._state_at / f"{durable.TEMPORARY}probe-{uuid.uuid4().hex}"
        try:
            if not (self._state_at / boot.JOURNAL).is_dir():
                return False
            try:
                durable.write_new(probe, b"?")
            finally:
                durable.unlink(probe)
            if self.doubtful:
                boot.mark_unproven(self._state_at)
                self.doubtful = False
        except OSError:
            return False
        return True


def _named(error: OSError) -> Path | None:
    """Return the file that an error names, None where it names none."""
    if isinstance(error.filename, str | bytes):
        return Path(os.fsdecode(error.filename))
    return None


def _is_in(directory: Path, path: Path | None) -> bool:
    """Whether it is that directory, or in it; a relative path is in none of ours."""
    return path is not None and path.is_absolute() and path.is_relative_to(directory)


def _worked(error: OSError, modules: frozenset[str]) -> bool:
    """Whether one of these modules was at work when the error came."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") in modules for frame, _ in frames)


def _read_only(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return False
