"""Work that does not depend on each other: one after another, or as a process wants it done.

Here is only the place where a process says so; see learn/crew.py. Which way changes no bit: each
piece of work has memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Work = Callable[[], object]


class Named(NamedTuple):
    """A piece of work, and whose it is."""

    name: str
    work: Work


ENDING, MAKING = "ending", "making"
"""Work that is no expert's: a mixture, and the inputs of later rows."""
LONGEST = (
    "forest",
    "squares",
    "nets",
    "newton",
    ENDING,
    "kernel",
    "factors",
    MAKING,
    "steps",
    "words",
)
"""Whose piece of work takes longest, first; all else after them."""
FEW = 8
"""Rows of which no more than one piece is done at a time: to ask another thread takes as long."""
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


def do_named(works: list[Named], rows: int) -> None:
    """Do pieces of work for so many rows."""
    works.sort(key=lambda one: LONGEST.index(one.name) if one.name in LONGEST else len(LONGEST))
    way = do if rows >= FEW else in_turn
    way([one.work for one in works])
