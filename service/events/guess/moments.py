"""Is a column a time, and how is it written? Proposes only what the decoder reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from service.events import values
from service.events.guess import names
from service.events.guess.column import Column
from service.settings import EventTime

Unit = Literal["iso", "s", "ms", "us", "ns"]

_ISO = re.compile(
    r"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2}([T ][0-9:.,]+([+-][0-9:]+|Z)?)?"
    r"|(19|20)[0-9]{6}(T[0-9:.,]+([+-][0-9:]+|Z)?|[0-9]{6})"
)
_DAY = re.compile(r"(19|20)[0-9]{6}")
"""Eight digits are seldom a day: the name of the column has to say so."""
_OTHER = re.compile(r"[0-9]{1,4}([/.-])[0-9]{1,2}\1[0-9]{2,4}([ T,].*)?")
_PER_SECOND: dict[Unit, int] = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1}
_EARLIEST, _LATEST = -2_208_988_800, 4_102_444_800  # 1900 and 2100
_RECENT = 473_385_600  # 1985: smaller numbers are seldom meant as times


@dataclass(frozen=True, slots=True)
class Moment:
    """How a column of times is written, and the times in milliseconds, None where missing."""

    unit: Unit
    times_ms: list[int | None]

    @property
    def ordered(self) -> float:
        """Share of rows that are not older than the row before."""
        known = [time for time in self.times_ms if time is not None]
        pairs = list(pairwise(known))
        return sum(a <= b for a, b in pairs) / max(1, len(pairs))


def moment_of(column: Column) -> Moment | None:
    """Return how a scalar column is written as a time; None where it is no time."""
    if not column.present or any(isinstance(value, bool) for value in column.present):
        return None
    for unit in _candidates(column):
        spec = EventTime(field="x", format=unit)
        try:
            return Moment(unit, [values.time_ms(spec, value) for value in column.values])
        except values.BadValue:
            continue
    return None


def other_spelling(column: Column) -> str | None:
    """Return an example where every value is a date in a spelling that cannot be read."""
    if column.present and all(isinstance(v, str) and _OTHER.fullmatch(v) for v in column.present):
        return str(column.present[0])
    return None


def _candidates(column: Column) -> Iterator[Unit]:
    if all(isinstance(v, str) and _ISO.fullmatch(v) for v in column.present):
        yield "iso"
    if column.named(names.TIMES) and all(
        isinstance(v, str) and _DAY.fullmatch(v) for v in column.present
    ):
        yield "iso"
    if not column.whole:
        return
    sizes = sorted(map(abs, column.numbers))
    middle = sizes[len(sizes) // 2]
    low, high = min(column.numbers), max(column.numbers)
    for unit, per_second in _PER_SECOND.items():
        fits = _EARLIEST * per_second <= low and high <= _LATEST * per_second
        if fits and middle >= _RECENT // 4 * per_second and _surely(column, unit, middle):
            yield unit


def _surely(column: Column, unit: Unit, middle: float) -> bool:
    """Numbers of ten digits may be phone numbers: a name says so, or the order of the rows."""
    if unit in {"ns", "us"}:
        return True
    return middle >= _RECENT * _PER_SECOND[unit] and (column.named(names.TIMES) or column.rises)
