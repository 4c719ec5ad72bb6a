"""How numbers and times may be spelled, in JSON Schema's words.

Patterns never take what the decoder refuses. They leave out spellings that it takes and nobody
writes, where a pattern would have to calculate: a number of twenty digits times a power of ten, a
time as 1.7e9 in a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from service.events import times
from service.events.values import LARGEST

Json = dict[str, Any]

_FRACTION = r"(\.\d*)?([eE]-\d+)?"
_SPACE = r"[^\S\x1c-\x1f]*"
_DIGITS = len(str(int(LARGEST))) - 1
_SMALL = 10
NUMBER = (
    rf"^{_SPACE}[+-]?(0*\d{{1,{_DIGITS}}}{_FRACTION}|\.\d+([eE]-\d+)?"
    rf"|(\d(\.\d*)?|\.\d+)[eE]\+?0*[12]?\d"
    rf"|0*\d{{1,{_SMALL}}}(\.\d*)?[eE]\+?0*1?\d"
    rf"|10{{{_DIGITS}}}(\.0*)?|1(\.0*)?[eE]\+?0*{_DIGITS}){_SPACE}$"
)
"""A text that holds a number of at most 1e30."""

_YEAR = r"(?!0000)[0-9]{4}"
_LEAP_YEAR = r"(?!0000)([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_HOUR, _MINUTE = "([01][0-9]|2[0-3])", "[0-5][0-9]"
_PARTS = r"([.,][0-9]+)?"
_CLOCK = f"({_HOUR}(:{_MINUTE}(:{_MINUTE}{_PARTS})?)?|{_HOUR}({_MINUTE}({_MINUTE}{_PARTS})?)?)"
_OFFSET = f"[+-]{_HOUR}(:?{_MINUTE})?"
_FIRST_AND_LAST = "(0001(.?)01(.?)01|9999(.?)12(.?)31)"
_ENDS = {"s": 10**11, "ms": 10**14, "us": 10**17, "ns": 10**21}
"""Where `auto` takes a number for the next unit."""


def iso(zone: str) -> str:
    """Return the pattern of ISO 8601 texts whose naive times are in `zone`."""
    beyond = rf"{_FIRST_AND_LAST}[\s\S]*[+-]{_HOUR}" if zone == "UTC" else _FIRST_AND_LAST
    days = "|".join((*(_day(mark) for mark in ("-", "/", "")), _week("-"), _week("")))
    clock = f"{_CLOCK}(Z|z|{_OFFSET})?"
    compact = f"{_day('')}{_HOUR}{_MINUTE}{_MINUTE}"
    return rf"^\s*(?!{beyond})(({days})([T_ t]{clock})?|{compact})\s*$"


def _day(mark: str) -> str:
    months = (
        f"(0[13578]|1[02]){mark}(0[1-9]|[12][0-9]|3[01])"
        f"|(0[469]|11){mark}(0[1-9]|[12][0-9]|30)|02{mark}(0[1-9]|1[0-9]|2[0-8])"
    )
    return f"({_YEAR}{mark}({months})|{_LEAP_YEAR}{mark}02{mark}29)"


def _week(mark: str) -> str:
    years = "(?!0000|0001|9999)[0-9]{4}"
    return f"{years}{mark}W(0[1-9]|[1-4][0-9]|5[0-2])({mark}[1-7])?"


def since_1970(form: str, zone: str) -> list[Json]:
    """Return what numbers, and texts that hold one, may be as times."""
    first, last = _limits(zone)
    if form != "auto":
        per = times.PER_SECOND[form]
        lowest, highest = -(-first * per // 10**9), last * per // 10**9
        numbers = [{"type": "number", "minimum": lowest, "maximum": highest}]
        return [*numbers, {"type": "string", "pattern": _whole(-lowest, highest)}]
    numbers, before = [], 0
    for form_, end in _ENDS.items():
        per = times.PER_SECOND[form_]
        highest = min(last * per // 10**9, end - 1)
        lowest = max(-(-first * per // 10**9), 1 - end)
        numbers += [
            {"type": "number", "minimum": low, "maximum": high}
            for low, high in ((lowest, -before), (before, highest))
            if low <= high
        ]
        before = end
    lowest = -(-first // 10**9)
    pattern = _whole(-lowest, last)
    return [*numbers, {"type": "string", "pattern": pattern}]


def _whole(lowest: int, highest: int) -> str:
    """Return the pattern of texts that hold a number from -lowest to highest."""
    return (
        rf"^{_SPACE}(\+?0*({_up_to(highest)}){_FRACTION}|-0*({_up_to(lowest)}){_FRACTION}"
        rf"|[+-]?\.\d+){_SPACE}$"
    )


def _up_to(limit: int) -> str:
    """Return the pattern of whole numbers below a limit of two digits or more."""
    return "|".join(_below(str(limit)))


def _below(limit: str) -> Iterator[str]:
    yield rf"\d{{1,{len(limit) - 1}}}"
    for place, digit in enumerate(limit):
        least = 1 if place == 0 else 0
        if int(digit) > least:
            rest = len(limit) - place - 1
            yield f"{limit[:place]}[{least}-{int(digit) - 1}]" + (rf"\d{{{rest}}}" if rest else "")


@lru_cache(maxsize=16)
def _limits(zone: str) -> tuple[int, int]:
    """Return the first and the last moment that a clock of the zone shows, in nanoseconds."""

    def shown(moment: int) -> bool:
        return times.local(moment, zone) is not None

    return _last(shown, 0, -(10**21)), _last(shown, 0, 10**21)


def _last(there: Callable[[int], bool], good: int, bad: int) -> int:
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if there(middle) else (good, middle)
    return good
