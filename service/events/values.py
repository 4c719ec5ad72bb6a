"""From JSON scalars to numbers, canonical texts, labels and times. Pure functions.

Whatever cannot be used raises BadValue with a code and a sentence; nothing is guessed.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from service.events.schema import Target
from service.settings import EventTime

LARGEST = 1e30
"""Numbers beyond this size are refused: float32 features could not hold their products."""

Scalar = str | int | float | bool | None
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DEFAULT_NEGATIVE = frozenset({"0", "false"})
_DEFAULT_POSITIVE = frozenset({"1", "true"})


class BadValue(ValueError):
    """A field's value cannot be used. `code` is one of wrong_type, not_finite, out_of_range,
    unknown_class, bad_time."""

    def __init__(self, code: str, msg: str) -> None:
        self.code = code
        super().__init__(msg)


def show(value: object) -> str:
    """Return a short, safe picture of a value for a message; what it holds is not looked into."""
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def number(value: object) -> float:
    """Return a finite float; numbers may come as texts. None is NaN, the mark of "missing"."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadValue("wrong_type", f"expected a number, got {show(value)}")
    if isinstance(value, str) and "_" in value:  # Python reads 1_000; nobody else does
        raise BadValue("wrong_type", f"expected a number, got the text {show(value)}")
    try:
        result = float(value)
    except OverflowError:
        raise BadValue("out_of_range", f"number too large: {show(value)}") from None
    except ValueError:
        raise BadValue("wrong_type", f"expected a number, got the text {show(value)}") from None
    if not math.isfinite(result):
        raise BadValue("not_finite", f"{show(value)} is not a finite number")
    if abs(result) > LARGEST:
        raise BadValue("out_of_range", f"{show(value)} is beyond +-1e30")
    return result


def text(value: object) -> str | None:
    """Return the canonical text of a scalar: 17, "17" and 17.0 are one; None is "missing"."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadValue("not_finite", f"{show(value)} is not a finite number")
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
    raise BadValue("wrong_type", f"expected a text, number or boolean, got {show(value)}")


def label(target: Target, value: object) -> float:
    """Return 0/1 for binary, the class index for multiclass, the number itself; NaN: missing."""
    if target.kind == "number":
        return number(value)
    name = text(value)
    if name is None:
        return math.nan
    if target.kind == "multiclass":
        if name not in target.classes:
            raise BadValue("unknown_class", f"{show(name)} is not one of the declared classes")
        return float(target.classes.index(name))
    if target.positive is not None:
        return 1.0 if name == target.positive else 0.0
    if name in _DEFAULT_POSITIVE:
        return 1.0
    if name in _DEFAULT_NEGATIVE:
        return 0.0
    raise BadValue(
        "unknown_class",
        f"{show(name)} is none of 0, 1, true, false; name the positive label in the settings",
    )


def time_ms(spec: EventTime, value: object) -> int | None:
    """Return milliseconds since 1970 UTC, None when missing. Naive ISO times are in `zone`."""
    if value is None:
        return None
    result = None
    if spec.format == "iso" and isinstance(value, str):
        result = _iso_ms(value, spec.zone)
    elif spec.format != "iso" and isinstance(value, (int, float, str)):
        result = None if isinstance(value, bool) else _unit_ms(value, _PER_SECOND[spec.format])
    if result is None or not -(2**53) < result < 2**53:
        raise BadValue("bad_time", f"expected a time as {spec.format}, got {show(value)}")
    return result


def _iso_ms(value: str, zone: str) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _unit_ms(value: float | str, per_second: int) -> int | None:
    try:
        if isinstance(value, int):
            return value * 1000 // per_second
        if isinstance(value, str) and value.strip().lstrip("+-").isdigit() and len(value) < 30:
            return int(value) * 1000 // per_second
        return int(float(value) * 1000 / per_second)
    except (ValueError, OverflowError):
        return None
