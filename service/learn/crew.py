"""Several threads for work that does not depend on each other; kernels hold no GIL.

How many threads there are changes no bit of what is learned: see model/experts/together.py.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from service.model.experts import together
from service.model.experts.together import Work

MOST = 4
"""Threads where none are asked for: there are no more long pieces of work than that."""
SWITCH_S = 0.0001
"""After which whoever decodes lets go of the interpreter: by itself, Python lets those who need it for
microseconds, to begin the next kernel, wait for fifty times as long."""
GROUP = Path("/sys/fs/cgroup")


@contextmanager
def working(threads: int | None) -> Iterator[None]:
    """In this process, do pieces of work on so many threads; None: as many as there are processors,
    at most MOST."""
    many = threads or max(1, min(MOST, int(processors())))
    if many == 1:
        yield
        return
    with Crew(many) as crew:
        before, usual_s = together.use(crew.do), sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            yield
        finally:
            sys.setswitchinterval(usual_s)
            together.use(before)


class Crew:
    """A few threads that share out what is to be done; whoever asks is one of them. They begin with
    the first work."""

    def __init__(self, threads: int) -> None:
        self._others = threads - 1
        self._pool = ThreadPoolExecutor(self._others, thread_name_prefix="crew")

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def do(self, works: Sequence[Work]) -> None:
        """Return when all is done, or nothing of it runs any more and an error is raised."""
        left = deque(works)
        asked = [self._pool.submit(_drain, left) for _ in range(min(self._others, len(works) - 1))]
        try:
            _drain(left)
        finally:
            left.clear()  # of those that had not begun
            wait(asked)
        for one in asked:
            one.result()


def _drain(left: deque[Work]) -> None:
    while left:
        try:
            work = left.popleft()
        except IndexError:  # another took the last one
            return
        work()


def processors() -> float:
    """Return how many processors this process may use."""
    seen = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = quota(GROUP)
    return seen if limit is None else min(float(seen), limit)


def quota(group: Path) -> float | None:
    """Return how many processors a container may use, as its control group says; None: all that it
    sees."""
    text = read(group / "cpu.max")
    if text is None:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        parts = [read(group / "cpu" / name) or "-1" for name in names]
    else:
        parts = text.split(" ")
    limit, period = parts
    return None if limit in ("max", "-1") else float(limit) / float(period)


def read(path: Path) -> str | None:
    """Return what a file of the system says; None: there is no such file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
