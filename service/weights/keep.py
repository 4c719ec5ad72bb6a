"""Which snapshots stay. A pure rule over what there is; it reads no clock and touches no file.

Kept are: the newest `last`; the first of each of the newest `hourly` hours that have any; the first
of each of the newest `daily` days that have any; and every pinned one. The first of an hour stays
the first, so what was kept once is not replaced by its neighbour a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Keep:
    """How many snapshots stay: newest ones, hours, days."""

    last: int = 5
    hourly: int = 24
    daily: int = 7

    def __post_init__(self) -> None:
        if self.last < 1 or self.hourly < 0 or self.daily < 0:
            raise ValueError(f"keep at least one snapshot, and no negative counts: {self}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the rule needs to know of a snapshot; a higher `serial` was written later."""

    id: str
    serial: int
    created_at: datetime
    pinned: bool


def kept(candidates: Iterable[Candidate], keep: Keep) -> set[str]:
    """The ids of those that stay."""
    oldest_first = sorted(candidates, key=lambda c: c.serial)
    stays = {c.id for c in oldest_first if c.pinned}
    stays |= {c.id for c in oldest_first[-keep.last :]}
    stays |= _first_of_each(oldest_first, "%Y-%m-%dT%H", keep.hourly)
    stays |= _first_of_each(oldest_first, "%Y-%m-%d", keep.daily)
    return stays


def _first_of_each(oldest_first: list[Candidate], period: str, count: int) -> set[str]:
    first: dict[str, str] = {}
    for candidate in oldest_first:
        first.setdefault(candidate.created_at.astimezone(UTC).strftime(period), candidate.id)
    newest = sorted(first)[len(first) - count :] if count < len(first) else list(first)
    return {first[name] for name in newest}
