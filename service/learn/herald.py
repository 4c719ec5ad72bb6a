"""What the log is told of a start: what is waited for, how far it is, and that it has got going.

Whatever lasts is said again now and then with for how long it has, so that the last lines of a log
tell what the learner is at. Changes nothing; the clock is injected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from service.learn.learner import Learner
from service.learn.reach import Progress, Redone
from service.progress import Clock, Lines, Pace

_log = structlog.get_logger(__name__)
Beat = Callable[[str, str | None, float | None], None]
AGAIN_S = 30.0
"""Between two lines about one thing that lasts."""
QUIET_S = 3.0
"""Nothing to learn for so long is worth a line."""
_BEAT_S = 0.2


class Waiting:
    """Says what is waited for: at once, and again every half minute; and when that is over."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._why: str | None = None
        self._since_s = self._due_s = 0.0

    @property
    def why(self) -> str | None:
        """What is waited for; None: nothing."""
        return self._why

    def tell(self, why: str) -> None:
        """This is waited for now."""
        if why == self._why:
            self.still()
            return
        now_s = self._clock()
        if self._why is None:
            self._since_s = now_s
        self._why, self._due_s = why, now_s + AGAIN_S
        _log.warning("waiting", why=why, note="tried again for ever; no record is lost by it")

    def still(self) -> None:
        """What was waited for last, if anything was, is waited for still."""
        now_s = self._clock()
        if self._why is not None and now_s >= self._due_s:
            self._due_s = now_s + AGAIN_S
            _log.warning("waiting", why=self._why, for_s=round(now_s - self._since_s))

    def over(self) -> None:
        """Nothing is waited for any more."""
        if self._why is not None:
            lasted_s = round(self._clock() - self._since_s, 1)
            _log.info("waited", why=self._why, for_s=lasted_s)
            self._why = None


class Herald:
    """Says when predictions can be asked for, when the first event is learned, and that there are
    none. Told by whoever publishes and gives signs of life."""

    def __init__(self, topics: Sequence[str] = (), clock: Clock = time.monotonic) -> None:
        self._topics = list(topics)
        self._clock = clock
        self._began: int | None = None
        """Events in the weights when this process began to serve."""
        self._learns = False
        self._quiet_s: float | None = None
        self._due_s = 0.0

    def published(self, learner: Learner) -> None:
        """A version was published: it answers."""
        learned = learner.events_learned
        told = {"version": learner.standing.version, "events_learned": learned}
        if self._began is None:
            self._began = learned
            note = None if learned else "from nothing learned yet; they get better with each event"
            _log.info("predictions_possible", **told, **({"note": note} if note else {}))
        elif not self._learns and learned > self._began:
            self._learns = True
            _log.info("learning", **told)

    def beat(self, state: str, lag: int | None) -> None:
        """The learner is in this state, and so many records wait; None where nobody can tell."""
        if self._learns or state != "idle" or lag != 0:
            self._quiet_s = None
            return
        now_s = self._clock()
        if self._quiet_s is None:
            self._quiet_s, self._due_s = now_s, now_s + QUIET_S
        if now_s >= self._due_s:
            self._due_s = now_s + AGAIN_S
            event = "no_events_yet" if not self._began else "no_new_events"
            lasted_s = round(now_s - self._quiet_s)
            _log.info(
                event, topics=self._topics, for_s=lasted_s, note="learns as soon as one comes"
            )


def replaying(beat: Beat, clock: Clock = time.monotonic) -> Progress:
    """Return what tells of a replay: by signs of life, and by lines of the log."""
    pace, beat_s = Pace("records", clock=clock), float("-inf")
    at = [0]

    def say(now: Pace) -> None:
        _log.info("replaying", version=at[0], **now.figures())

    lines = Lines(pace, say, clock=clock)

    def progress(done: Redone, learner: Learner) -> None:
        nonlocal beat_s
        at[0] = learner.standing.version
        pace.reach(done.records, done.of_records)
        lines.look()
        now_s = clock()
        if now_s - beat_s > _BEAT_S or done.entries == done.of_entries:
            beat_s = now_s
            beat("replaying", f"at version {at[0]}: {pace.told()}", round(done.share, 4))

    return progress
