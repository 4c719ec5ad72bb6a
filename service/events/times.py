"""How times are spelled: ISO 8601 texts, and numbers since 1970. Pure functions.

A moment is a whole number of nanoseconds since 1970 UTC; ISO texts are read to the microsecond.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_SIZES = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""A number below the bound is in that unit; each unit begins in the spring of 1973."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - a clock without a zone, by intent
_DIGITS = 40
"""A number with more digits before its point is no time; its power of ten is not computed."""
_COMPACT = re.compile(r"(\d{8})(\d{6})", re.ASCII)
_COMPACT_DAY = re.compile(r"(19|20)\d{6}(\d{6})?", re.ASCII)
_SLASHES = re.compile(r"\d{4}/\d\d/\d\d", re.ASCII)


def moment_ns(form: str, zone: str, value: object) -> int | None:
    """Return the moment that a text or number names; None when it names none.

    form: iso, s, ms, us, ns or auto. zone: of ISO texts that name none.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if form == "iso":
        return _iso_ns(value, zone) if isinstance(value, str) else None
    if form != "auto":
        return _number_ns(value, form)
    if isinstance(value, str):
        text = value.strip()
        found = None if _is_number(text) else _iso_ns(text, zone)
        return _number_ns(text, None) if found is None else found
    return _number_ns(value, None)


def local(moment: int, zone: str) -> datetime | None:
    """Return what the zone's clock shows at a moment; None beyond the years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(microseconds=moment // 1000)).astimezone(_zone(zone))
    except (OverflowError, ValueError):
        return None


def _is_number(text: str) -> bool:
    """Tell a number from a day without dashes: 20260131 is a day, in texts only."""
    return not _COMPACT_DAY.fullmatch(text) and text.lstrip("+-").replace(".", "", 1).isdigit()


def _iso_ns(value: str, zone: str) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        text = _usual(value)
        return None if text == value else _iso_ns(text, zone)
    if moment.tzinfo is None:
        if zone == "UTC":
            return _ns(moment - _NAIVE)
        moment = moment.replace(tzinfo=_zone(zone))
    return _ns(moment - _EPOCH)


def _usual(text: str) -> str:
    """Return a text in the spelling that the library reads: without spaces around, Z for z, dashes
    for slashes, T between the digits of a day and of a time."""
    text = text.strip()
    if _COMPACT.fullmatch(text):
        return f"{text[:8]}T{text[8:]}"
    if _SLASHES.match(text):
        text = text.replace("/", "-", 2)
    return text[:-1] + "Z" if text.endswith("z") else text


def _ns(gone: timedelta) -> int:
    return (gone.days * 86_400 + gone.seconds) * 1_000_000_000 + gone.microseconds * 1000


def _number_ns(value: str | float, unit: str | None) -> int | None:
    """Read a number of units; unit None: the one that its size tells."""
    if isinstance(value, int) and value.bit_length() <= 128:
        return value * (1_000_000_000 // PER_SECOND[unit or _unit(value)])
    if isinstance(value, str) and "_" in value:
        return None
    try:
        exact = Decimal(value.strip()) if isinstance(value, str) else Decimal(repr(value))
        if not exact.is_finite() or exact.adjusted() >= _DIGITS:
            return None
        scaled = exact * (1_000_000_000 // PER_SECOND[unit or _unit(exact)])
        return int(scaled.to_integral_value(ROUND_FLOOR))
    except (InvalidOperation, ValueError):
        return None


def _unit(value: int | Decimal) -> str:
    return next((unit for bound, unit in _SIZES if -bound < value < bound), "ns")


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
