"""What of the experts sleeps or works as a whole; see rota.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from service.model.experts.seam import Expert, Halved


class Part(NamedTuple):
    """What sleeps or works as a whole: an expert, or half of one."""

    name: str
    expert: int
    first: int
    """Of all members, its first; and one after its last."""
    last: int


def parts_of(experts: Sequence[Expert]) -> tuple[Part, ...]:
    """Return what sleeps or works as a whole, in the order of members."""
    found: list[Part] = []
    first = 0
    for at, expert in enumerate(experts):
        n = len(expert.members)
        halves = expert.halves if isinstance(expert, Halved) else ()
        middle = first + n // 2
        if halves:
            found += [
                Part(halves[0], at, first, middle), Part(halves[1], at, middle, first + n)
            ]  # fmt: skip
        else:
            found.append(Part(expert.name, at, first, first + n))
        first += n
    return tuple(found)
