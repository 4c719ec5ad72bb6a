"""Signs of life while the thread that gives them waits: for a slow disk, for Kafka, for a start.

Repeats the last one. Knows no file. Not for ever: where nothing was said anew for a long time,
nothing is repeated either, so that whoever watches finds the hang.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.weights.pulse import START_S

_EVERY_S = 0.25


class Meanwhile:
    """A context, entered by the thread that is about to wait; again inside itself too.

    `repeat` gives the last sign of life again, and is called by another thread. `said_s` tells when
    (seconds of `clock`) there was one of its own. Ends with `close`.
    """

    def __init__(
        self,
        repeat: Callable[[], None],
        said_s: Callable[[], float],
        *,
        longest_s: float = START_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repeat = repeat
        self._said_s = said_s
        self._longest_s = longest_s
        self._clock = clock
        self._depth = 0
        self._since_s = float("-inf")
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Meanwhile:
        self._since_s = self._clock()
        self._depth += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="meanwhile", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1

    @property
    def repeats(self) -> bool:
        """Somebody waits, and not for too long yet."""
        silent_s = self._clock() - max(self._since_s, self._said_s())
        return self._depth > 0 and silent_s < self._longest_s

    def close(self) -> None:
        """Repeat nothing any more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_EVERY_S):
            if self.repeats:
                self._repeat()
