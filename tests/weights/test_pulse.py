"""When a learner counts as hung, with a clock that only moves when told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.weights.live_writer import LiveWriter
from service.weights.pulse import Beat, HeartbeatIn, Pulse

HANG_S, START_S = 60.0, 300.0
PID = 100


class Watched:
    """A learner whose heartbeats and clock the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.beat: Beat | None = None
        self.pulse = Pulse(lambda: self.beat, HANG_S, start_s=START_S, clock=lambda: self.now_s)

    def beats(self, pid: int = PID) -> None:
        self.beat = (pid, int(self.now_s * 1e9))

    def hung_within(self, seconds: float, pid: int = PID) -> float | None:
        """Look once a second; return after how many seconds it counts as hung."""
        for second in range(int(seconds) + 1):
            if self.pulse.hung(pid):
                return float(second)
            self.now_s += 1.0
        return None


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_learner_that_beats_does_not_hang(watched: Watched) -> None:
    """
    However long it runs.
    """
    for _ in range(1000):
        watched.beats()
        assert not watched.pulse.hung(PID)
        watched.now_s += HANG_S - 1


def test_a_learner_that_stops_beating_hangs(watched: Watched) -> None:
    """
    After the threshold, and within twice of it.
    """
    watched.beats()

    assert HANG_S == watched.hung_within(2 * HANG_S)


def test_a_start_takes_its_time(watched: Watched) -> None:
    """
    Before its first sign of life a process may import and wait; not for ever.
    """
    assert START_S == watched.hung_within(2 * START_S)


def test_the_last_beat_of_the_one_before_is_not_its_own(watched: Watched) -> None:
    """
    A learner that was just started again is not killed for the silence of the dead one.
    """
    watched.beats(pid=99)
    assert watched.hung_within(2 * HANG_S, pid=99) == HANG_S

    assert watched.hung_within(START_S - 1) is None


def test_the_next_one_is_watched_anew(watched: Watched) -> None:
    """
    The silence of one process is not charged to the next.
    """
    watched.beats(pid=99)
    watched.hung_within(HANG_S - 1, pid=99)
    watched.beats(pid=PID)

    assert watched.hung_within(HANG_S - 1) is None


def test_who_was_stopped_together_with_the_learner_does_not_blame_it(watched: Watched) -> None:
    """
    A container that was paused for an hour goes on: the gap counts as one look.
    """
    watched.beats()
    assert watched.hung_within(10) is None
    watched.now_s += 3600.0

    assert watched.hung_within(40) is None


def test_a_look_is_taken_often_enough(watched: Watched) -> None:
    """
    A short threshold is looked after more often than once a second.
    """
    assert (1.0, 0.5) == (watched.pulse.look_s, Pulse(lambda: None, 2.0).look_s)


def test_the_heartbeat_comes_from_the_live_file(tmp_path: Path) -> None:
    """
    Nothing while there is no file; then the process that wrote it, and a new time at each beat.
    """
    last_beat = HeartbeatIn(tmp_path)
    before = last_beat()
    with LiveWriter.open(tmp_path, nbytes=4096, layout=b"{}") as writer:
        silent = last_beat()
        writer.beat({"state": "idle", "pid": os.getpid()})
        first = last_beat()
        writer.beat({"state": "idle", "pid": os.getpid()})
        second = last_beat()

    assert (None, None) == (before, silent)
    assert first is not None
    assert second is not None
    assert os.getpid() == first[0] == second[0]
    assert first[1] < second[1]
