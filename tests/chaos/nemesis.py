"""What kills: draws from a seed, at random moments, whatever the victim is doing just then.

Knows the processes and what they say of themselves; checks nothing, which is the verifier's part.
Each stroke is noted with the place where it fell and what it cost.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.house import House, Monitor, Stuck, until
from tests.chaos.watch import WORKERS

Stroke = dict[str, Any]
_SEEN_LATE_S = 0.03
"""A version that went live just before a stroke may be seen so much after it."""
_WHILE_RESTORING = 0.35
_DRAWS = (
    ("learner at work", 34),
    ("learner early", 40),
    ("worker", 14),
    ("supervisor", 3),
    ("terminate", 3),
    ("stop and go on", 3),
    ("pause and resume", 3),
)


class Nemesis:
    """Strikes a house, one stroke at a time. `strokes` are all of them, in order."""

    def __init__(self, house: House, monitor: Monitor, seed: str) -> None:
        self._house = house
        self._monitor = monitor
        self._rng = random.Random(seed)
        self.strokes: list[Stroke] = []
        self.down: list[tuple[float, float]] = []
        """When the whole service was away, and from when on it answered again."""
        self.exit_codes: list[int] = []
        self._killed: dict[str, int] = {}

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(stroke["kill"] for stroke in self.strokes)

    def strike(self) -> None:
        """One stroke, drawn."""
        names, weights = zip(*_DRAWS, strict=True)
        draw = self._rng.choices(names, weights)[0]
        {
            "learner at work": self._learner_at_work,
            "learner early": self.learner_early,
            "worker": self._worker,
            "supervisor": self._supervisor,
            "terminate": self._terminate,
            "stop and go on": self._stop_and_go_on,
            "pause and resume": self._pause_and_resume,
        }[draw]()

    def learning_goes_on(self) -> None:
        """Wait until a version goes live that was not there before."""
        seen = self._monitor.version
        until(lambda: self._monitor.version > seen, f"a version after {seen}")

    def kill_learner(self, place: str | None = None) -> None:
        """kill -9 the learner that lives now, or the next one."""
        pid = self._next_learner()
        beat = self._monitor.heartbeat()
        said = str(beat["state"]) if beat.get("pid") == pid else "starting"
        place = place or {"idle": "learning"}.get(said, said)
        self.note("learner", place, lambda: _signal(pid, signal.SIGKILL))
        self._killed["learner"] = pid

    def whole_outage(self, place: str, down: Callable[[], object], *, kill: bool) -> None:
        """Take the whole service down, start it, and note how long it was away."""
        since_s = time.monotonic()
        self.note("supervisor", place, down, kill=kill)
        self._house.start()
        until(self._house.answers, "an answer after a start of the whole service")
        self.down.append((since_s, time.monotonic()))

    def _learner_at_work(self) -> None:
        self.learning_goes_on()
        time.sleep(self._rng.uniform(0.05, 3.0) / 2)
        self.kill_learner()

    def learner_early(self) -> None:
        """At 50 to 3,000 ms of its life, mostly while it imports; or soon after its first sign of
        life: while it compiles, restores and replays."""
        pid, wait_s = self._next_learner(), self._rng.uniform(0.05, 3.0)
        from_s = self._house.started_s["learner"]
        if self._rng.random() < _WHILE_RESTORING:
            until(lambda: self._monitor.heartbeat().get("pid") == pid, "a sign of life")
            from_s, wait_s = time.monotonic(), wait_s / 4
        time.sleep(max(0.0, from_s + wait_s - time.monotonic()))
        self.kill_learner()

    def _worker(self) -> None:
        child = f"api-{self._rng.randrange(WORKERS)}"
        time.sleep(self._rng.uniform(0.0, 0.2))
        pid = self._living(child)
        self.note("worker", "answering", lambda: _signal(pid, signal.SIGKILL))
        self._killed[child] = pid

    def _supervisor(self) -> None:
        everything = self._rng.random() < 0.5
        place = "all processes" if everything else "supervisor alone"
        self.whole_outage(
            place, lambda: self._house.kill_supervisor(with_children=everything), kill=True
        )

    def _terminate(self) -> None:
        self._next_learner()  # one that was killed just now would be what the exit code tells

        def terminate() -> None:
            self.exit_codes.append(self._house.terminate())

        self.whole_outage("SIGTERM", terminate, kill=False)

    def _stop_and_go_on(self) -> None:
        pid = self._next_learner()
        self.note("learner", "SIGSTOP", lambda: _signal(pid, signal.SIGSTOP), kill=False)
        time.sleep(self._rng.uniform(0.2, 5.0))
        _signal(pid, signal.SIGCONT)

    def _pause_and_resume(self) -> None:
        until(lambda: self._house.ask("pause"), "a pause")
        if self._rng.random() < 0.5:
            self.kill_learner("paused")
        else:
            self.note("learner", "pause", kill=False)
        until(lambda: self._house.ask("resume"), "a resume")

    def _next_learner(self) -> int:
        return self._living("learner")

    def _living(self, child: str) -> int:
        """The pid of a child that was not killed already and is only not gone yet."""

        def living() -> int:
            pid = self._house.pid(child)
            return 0 if pid == self._killed.get(child) else pid

        try:
            return int(until(living, f"a living {child}"))
        except Stuck as stuck:
            assert self._house.process is not None
            raise Stuck(f"{stuck}; run ended with {self._house.process.poll()}") from None

    def note(
        self, what: str, place: str, act: Callable[[], object] = lambda: None, *, kill: bool = True
    ) -> None:
        """Write a stroke down, then do it."""
        born_s = self._house.started_s.get("learner", 0.0)
        now = time.monotonic()
        self.strokes.append(
            {
                "at": now, "victim": what, "place": place, "kill": kill,
                "age_s": round(now - born_s, 3), "version": self._monitor.version,
            }
        )  # fmt: skip
        act()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise Stuck(f"process {pid} ended, and nobody killed it") from None


def costs(strokes: list[Stroke], monitor: Monitor) -> None:
    """Add to each stroke how long nothing new went live after it.

    None where learning was held up by another stroke: by an earlier one that was not over, or
    by a later one before it went on; the wait is counted with the last.
    """
    back_s = 0.0
    for at, stroke in enumerate(strokes):
        began_s, own = stroke["at"], stroke["victim"] != "worker"
        again_s = monitor.learned_again_s(began_s + _SEEN_LATE_S)
        later = (s["at"] for s in strokes[at + 1 :] if s["victim"] != "worker")
        waited_s = None if again_s is None else again_s + _SEEN_LATE_S
        if waited_s is not None and began_s + waited_s > next(later, float("inf")):
            waited_s = None
        if not own and began_s < back_s:
            waited_s = None
        if own:
            back_s = began_s + (float("inf") if again_s is None else again_s + _SEEN_LATE_S)
        stroke["without_learning_s"] = None if waited_s is None else round(waited_s, 3)
