"""Which of some records kill whoever learns them: a search, told by trials. Pure.

A prefix of the records is tried; those already found are left out. The shortest prefix that dies
ends with a culprit, whatever it needs before it to do harm. Then on, until all the rest survives.
"""

from __future__ import annotations

from collections.abc import Callable

MOST = 16
"""More than this in one range is no matter of single events."""

Dies = Callable[[int, set[int]], str | None]
"""(length of the prefix, indices left out) -> how it died, None when it survived."""


class Unclear(Exception):
    """No single records can be named; the text says why."""


def find(n: int, dies: Dies) -> dict[int, str]:
    """Return the culprits among n records and how each kills; empty when all survive.

    Takes about log2(n) + 3 trials for each. Raises Unclear.
    """
    if (how := dies(0, set())) is not None:
        raise Unclear(f"a trial without any record dies too ({how})")
    found: dict[int, str] = {}
    low = 0
    while (how := dies(n, set(found))) is not None:
        if len(found) == MOST:
            raise Unclear(f"more than {MOST} records kill, each alone")
        high = n
        while high - low > 1:
            middle = (low + high) // 2
            died = dies(middle, set(found))
            if died is None:
                low = middle
            else:
                high, how = middle, died
        if high - 1 in found:
            raise Unclear(f"record {high - 1} kills even when it is left out")
        if dies(high, set(found)) is None or dies(high - 1, set(found)) is not None:
            raise Unclear("the same records kill in one trial and survive another")
        found[high - 1] = how
        low = high - 1
    return found
