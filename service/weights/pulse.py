"""Whether a learner that runs gives signs of life, as whoever started it sees them.

Knows the heartbeat in the live file. Does not know processes; it is told which one to look for.
Time counts only as far as somebody looked: where the one who looks was stopped too (a suspended
machine, a paused container), the gap counts as one look, so nobody is found hung for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from service.weights.live_reader import LiveReader

START_S = 300.0
"""How long a process may take to its first sign of life."""

Beat = tuple[int, int]
"""Who gave a sign of life (process id), and when (nanoseconds)."""


class HeartbeatIn:
    """Reads the last heartbeat of a runtime directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reader: LiveReader | None = None

    def __call__(self) -> Beat | None:
        """Return the last sign of life; None where there is none."""
        if self._reader is None:
            self._reader = LiveReader(self._directory)
        self._reader.refresh()
        beat = self._reader.heartbeat()
        if beat is None or "pid" not in beat:
            return None
        return int(beat["pid"]), int(beat["heartbeat_ns"])


class Pulse:
    """Tells a hang: no new sign of life for `hang_s` seconds.

    Asked again and again, at least every `look_s`. A process that has not given its first sign
    yet has `start_s` for it: the last beat of the one before it does not count as its own.
    """

    def __init__(
        self,
        last_beat: Callable[[], Beat | None],
        hang_s: float,
        *,
        start_s: float = START_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hang_s = hang_s
        self.look_s = min(1.0, hang_s / 4)
        self._last_beat = last_beat
        self._start_s = start_s
        self._clock = clock
        self._pid = 0
        self._beat: Beat | None = None
        self._looked_s = 0.0
        self._silent_s = 0.0

    def was_felt(self, pid: int) -> bool:
        """Whether this process ever gave a sign of life; it may have ended since."""
        beat = self._last_beat()
        noted = self._pid == pid and self._beat is not None
        return noted or (beat is not None and beat[0] == pid)

    def hung(self, pid: int) -> bool:
        """Whether this process gives no sign of life any more."""
        now_s = self._clock()
        if pid != self._pid:
            self._pid, self._beat, self._silent_s, self._looked_s = pid, None, 0.0, now_s
        beat = self._last_beat()
        if beat is not None and beat[0] == pid and beat != self._beat:
            self._beat, self._silent_s, self._looked_s = beat, 0.0, now_s
            return False
        self._silent_s += min(now_s - self._looked_s, 2 * self.look_s)
        self._looked_s = now_s
        return self._silent_s >= (self._start_s if self._beat is None else self.hang_s)
