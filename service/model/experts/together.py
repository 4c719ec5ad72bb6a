"""Work that does not depend on each other: one after another, or as a process wants it done.

Here is only the place where a process says so; see learn/crew.py. Which way changes no bit: each
piece of work has memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Work = Callable[[], object]
Way = Callable[[Sequence[Work]], None]


def in_turn(works: Sequence[Work]) -> None:
    """Do one after another."""
    for work in works:
        work()


_way: list[Way] = [in_turn]


def use(way: Way) -> Way:
    """From now on do work that way, in this process; return how it was done before. A way has done
    all of it when it returns, and raises what a piece of it raised."""
    before, _way[0] = _way[0], way
    return before


def do(works: Sequence[Work]) -> None:
    """Do pieces of work, the longest first: in what order, and how many at a time, is open."""
    _way[0](works)
