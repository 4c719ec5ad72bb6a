"""From JSON values to numbers, canonical texts, names, labels and times. Pure functions.

Whatever cannot be used raises BadValue with a code and a sentence; nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.events import times
from service.events.schema import Target
from service.settings import EventTime

LARGEST = 1e30
"""Numbers beyond this size are refused: float32 features could not hold their products."""

MOST_NAMES = 1024
"""Names in one event of one field; more make a bad event."""

Scalar = str | int | float | bool | None
_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0"})
_LAST_NS = 2**53 * 1_000_000
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
    if isinstance(target.positive, tuple):
        return 1.0 if name in target.positive else 0.0
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


def boolean(value: object) -> float:
    """Return 1.0 or 0.0; None is NaN. Texts count in any case, numbers if they are 0 or 1."""
    if value is None:
        return math.nan
    if isinstance(value, (bool, int, float)) and value in {0, 1}:
        return float(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _YES:
            return 1.0
        if word in _NO:
            return 0.0
    raise BadValue("wrong_type", f"expected true or false, got {show(value)}")


def vector(size: int, value: object) -> Sequence[float] | NDArray[np.float64] | None:
    """Return `size` finite floats; None is "missing"."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise BadValue("wrong_type", f"expected a list of {size} numbers, got {show(value)}")
    if len(value) != size:
        raise BadValue("wrong_type", f"expected a list of {size} numbers, got one of {len(value)}")
    if set(map(type, value)) <= {float, int}:
        try:
            found = np.array(value, dtype=np.float64)
        except OverflowError:
            raise BadValue(
                "out_of_range", f"number too large: {show(max(value, key=abs))}"
            ) from None
        if (np.abs(found) <= LARGEST).all():
            return found
    if None in value:
        raise BadValue("wrong_type", f"expected a list of {size} numbers, null is among them")
    return [number(one) for one in value]


def names(separator: str | None, value: object) -> set[str]:
    """Return the names in a list, or in one text with separators; null among them is no name."""
    if isinstance(value, (list, tuple)):
        found = {one for one in map(text, value) if one is not None}
    elif value is None:
        return set()
    elif separator is None:
        raise BadValue("wrong_type", f"expected a list of names, got {show(value)}")
    else:
        found = {one.strip() for one in (text(value) or "").split(separator)} - {""}
    if len(found) > MOST_NAMES:
        raise BadValue("out_of_range", f"more than {MOST_NAMES} names in one event")
    return found


def time_ns(form: str, zone: str, value: object) -> int | None:
    """Return nanoseconds since 1970 UTC, None when missing. Naive ISO times are in `zone`."""
    if value is None:
        return None
    result = times.moment_ns(form, zone, value)
    if result is None or abs(result) >= _LAST_NS:
        if isinstance(value, (list, tuple, dict)):
            raise BadValue("wrong_type", f"expected a text or number, got {show(value)}")
        wanted = "a time" if form == "auto" else f"a time as {form}"
        raise BadValue("bad_time", f"expected {wanted}, got {show(value)}")
    return result


def time_ms(spec: EventTime, value: object) -> int | None:
    """Return milliseconds since 1970 UTC, None when missing. Naive ISO times are in `zone`."""
    found = time_ns(spec.format, spec.zone, value)
    return None if found is None else found // 1_000_000
