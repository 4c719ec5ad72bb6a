"""How far a long work is, how fast it goes and what is left: as figures, and as lines of a log.

Knows no terminal and no log. The work says how much is done; whoever shows it asks for the figures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SOON_S = 1.0
"""What takes less long than this is not worth a word."""
EVERY_S = 5.0
"""Between two lines of a log."""
LOOK_S = 0.1
_WINDOW_S = 10.0
_MARK_S = 0.25
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))
_UNITS = ((5400.0, 3600.0, "h"), (90.0, 60.0, "min"), (0.0, 1.0, "s"))
Clock = Callable[[], float]


class Pace:
    """How much of something is done. May be asked while another thread tells.

    unit: what is counted, in the plural; "bytes" are said as MB. total: how many there are, None
    where nobody knows. clock: seconds.
    """

    def __init__(self, unit: str, total: int | None = None, clock: Clock = time.monotonic) -> None:
        self.unit = unit
        self.total = total
        self.done = 0
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()
        """When how much was done, over the last seconds. What was before the first is getting
        ready, and says nothing about the rate."""

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how much is done by now; and how much there is, where that has moved."""
        now_s = self._clock()
        if done < self.done:  # it began again: what was before says nothing about the rate
            self._marks = deque()
        self.done, self.total = done, self.total if total is None else total
        if not self._marks or now_s - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now_s, done))
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= _WINDOW_S:
            self._marks.popleft()

    def add(self, done: int) -> None:
        """Say that so much more is done."""
        self.reach(self.done + done)

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where nobody knows."""
        return None if not self.total else min(self.done / self.total, 1.0)

    @property
    def rate(self) -> float | None:
        """How many in a second, of late; None where that cannot be said yet."""
        marks = self._marks
        if not marks:
            return None
        since_s, before = marks[0]
        lasted_s = self._clock() - since_s
        return (self.done - before) / lasted_s if lasted_s >= _MARK_S else None

    @property
    def left_s(self) -> float | None:
        """How long it takes to the end if it goes on like this; None where nobody knows."""
        rate = self.rate
        if self.total is None or not rate:
            return None
        return max(0, self.total - self.done) / rate

    def figures(self) -> dict[str, object]:
        """Return the fields of a line in a log; what is not known is left out."""
        share, rate, left_s = self.share, self.rate, self.left_s
        found = {
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "share": None if share is None else round(share, 3),
            "rate": None if rate is None else round(rate),
            "left_s": None if left_s is None else round(left_s),
        }
        return {name: value for name, value in found.items() if value is not None}

    def told(self) -> str:
        """Return the same in words.

        >>> Pace("rows", 400_000).told()
        '0 of 400,000 rows (0%)'
        """
        share, rate, left_s = self.share, self.rate, self.left_s
        text = _said(self.done, self.unit)
        if self.total is not None:
            shown = f" ({share:.0%})" if share is not None else ""
            of = f"{self.done:,}" if self.unit != "bytes" else text
            text = f"{of} of {_said(self.total, self.unit)}{shown}"
        if rate is not None:
            text += f", {_said(round(rate), self.unit).removesuffix(f' {self.unit}')}/s"
        return text if left_s is None else f"{text}, {_lasting(left_s)} left"


class Lines:
    """Says now and then how far a work is: first when it has lasted `after_s`, then every 5 s.

    say: called with the pace. Whoever works calls `look` often, or has `looking` do it.
    """

    def __init__(
        self,
        pace: Pace,
        say: Callable[[Pace], None],
        *,
        after_s: float = SOON_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._pace = pace
        self._say = say
        self._clock = clock
        self._due_s = clock() + after_s

    def look(self) -> None:
        """Say it, if it is time."""
        now_s = self._clock()
        if now_s >= self._due_s:
            self._due_s = now_s + EVERY_S
            self._say(self._pace)


@contextmanager
def looking(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` ten times a second from another thread; never again once the block is left."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(LOOK_S):
            look()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _said(count: int, unit: str) -> str:
    if unit != "bytes":
        return f"{count:,} {unit}"
    size, name = next((one for one in _SIZES if count >= one[0]), _SIZES[-1])
    return f"{count / size:,.3g} {name}"


def _lasting(seconds: float) -> str:
    _, each, name = next(one for one in _UNITS if seconds >= one[0])
    return f"about {seconds / each:.0f} {name}"
