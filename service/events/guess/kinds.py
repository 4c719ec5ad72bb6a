"""What type of feature a scalar column is, with the reason. Knows one column at a time."""

from __future__ import annotations

from dataclasses import dataclass

from service.events.guess import names
from service.events.guess.column import Column, parts_of
from service.events.guess.moments import Moment, moment_of, other_spelling

BOOLEANS = tuple(
    map(
        frozenset,
        (
            ("true", "false", "yes", "no", "on", "off"),
            ("t", "f"),
            ("y", "n"),
            ("1", "0"),
        ),
    )
)
"""Texts that boolean fields read and that stand together, in small letters."""
_MOST_OF_A_CYCLE = 31

_ENOUGH = 20
"""Rows below which nothing is said about how often values repeat."""
_NEARLY_ALL = 0.95
_FEW = 64
_LONG = 15
DEFAULT_BUCKETS = 65_536
_MOST_BUCKETS = 1 << 22
_LISTS = {"|": 0.3, ";": 0.6, ",": 0.6}
"""What may stand between names in one text; the share of texts that must hold it. One text of few
with a semicolon or a comma is a text."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a column is taken for. `left_out`: the settings are what it would be, if put back."""

    column: Column
    settings: dict[str, object]
    reason: str
    left_out: bool = False
    moment: Moment | None = None

    @property
    def type(self) -> str:
        """Type of the feature."""
        return str(self.settings["type"])


def taken_as(column: Column, kind: str, why: str, **settings: object) -> Guess:
    """Return the guess that a column is a feature of this type."""
    return Guess(column, {"type": kind, **settings}, why)


def left_out(column: Column, kind: str, why: str, **settings: object) -> Guess:
    """Return the guess that a column is better not learned; what it would be, put back."""
    return Guess(column, {"type": kind, **settings}, why, left_out=True)


def guess_scalar(column: Column) -> Guess:
    """Guess what a column of texts, numbers and booleans is."""
    for one in (_nothing, _boolean, _time, _constant, _number, _amount, _several, _text):
        if (found := one(column)) is not None:
            return found
    return _category(column)


def _nothing(column: Column) -> Guess | None:
    if column.present:
        return None
    return left_out(column, "category", "is empty in every row of the sample")


def _constant(column: Column) -> Guess | None:
    if column.distinct > 1 or column.missing or column.rows < 2:
        return None
    kind = "number" if column.numbers and not column.padded else "category"
    return left_out(column, kind, f"is {shown(column.present[0])} in every row of the sample")


def _boolean(column: Column) -> Guess | None:
    texts = {text.lower() for text in column.counts}
    if len(texts) < 2 and not column.missing:
        return None
    counted = texts <= {"0", "1"} and not names.FLAGS.intersection(parts_of(column.name)[:1])
    if any(texts <= pair for pair in BOOLEANS) and not (counted and _numerals(column)):
        return taken_as(column, "boolean", " or ".join(sorted(column.counts, reverse=True)))
    return None


def _numerals(column: Column) -> bool:
    """What says 0 and 1 today may say 2 tomorrow; but not where it comes as true and false."""
    return not any(isinstance(value, bool) for value in column.present)


def _time(column: Column) -> Guess | None:
    moment = moment_of(column)
    if moment is not None:
        how = {
            "iso": f"times as {shown(column.present[0])}",
            "s": "seconds since 1970",
            "ms": "milliseconds since 1970",
            "us": "microseconds since 1970",
            "ns": "nanoseconds since 1970",
        }[moment.unit]
        settings: dict[str, object] = {"type": "time", "format": moment.unit}
        if column.distinct == 1 and column.rows > 1 and not column.missing:
            why = f"is {shown(column.present[0])} in every row of the sample"
            return left_out(column, "time", why, format=moment.unit)
        return Guess(column, settings, how, moment=moment)
    example = other_spelling(column)
    if example is not None and column.distinct > _FEW:
        why = f"dates as {shown(example)}; the service reads 2026-01-31 or 2026-01-31T12:00:00Z"
        return left_out(column, "category", why)
    return None


def _number(column: Column) -> Guess | None:
    if not column.numbers:
        return None
    if column.padded is not None:
        return None
    identifier = _names_something(column)
    unique = column.distinct > _NEARLY_ALL * len(column.present)
    if column.rows >= _ENOUGH and column.rises and not column.missing:
        why = "only ever rises: a counter or a clock, whose next values were never seen"
        return left_out(column, "number", why)
    if column.rows >= _ENOUGH and unique and identifier:
        why = f"nearly every value is another one, and it is named {identifier}"
        return left_out(column, "category", why)
    if identifier:
        return named(column, f"whole numbers that name something ({identifier}): {_many(column)}")
    low, high = min(column.numbers), max(column.numbers)
    why = f"numbers from {low:g} to {high:g}"
    return _tailed(column, why + _holes(column))


def _names_something(column: Column) -> str | None:
    """Return the word by which whole numbers are names: the last one, account in account_number."""
    words = [word for word in parts_of(column.name) if not word.isdigit()]
    if not column.whole or not words:
        return None
    if words[-1] in {"number", "no", "nr"} and len(words) > 1:
        words.pop()
    if words[-1] in names.CYCLES and column.distinct <= _MOST_OF_A_CYCLE:
        return words[-1]
    return words[-1] if words[-1] in names.IDENTIFIERS else None


def _tailed(column: Column, why: str) -> Guess:
    """A number; where a few values are far beyond the others, the data chooses its scale."""
    sizes = sorted(map(abs, column.numbers))
    middle, most = sizes[len(sizes) // 2], sizes[-1]
    if len(sizes) >= 100 and middle > 0 and most > 100 * middle and column.distinct > _FEW:
        return taken_as(
            column, "number", f"{why}, a hundred times the usual {middle:g}: a heavy tail",
            scale="fit",
        )  # fmt: skip
    return taken_as(column, "number", why)


def _amount(column: Column) -> Guess | None:
    """Numbers in a spelling that is not read: left out, for as names they would mean nothing."""
    words = parts_of(column.name)[-1:]
    if column.amount is None or column.distinct <= _FEW or names.IDENTIFIERS.intersection(words):
        return None
    why = f"numbers written as {shown(column.amount)}; the service reads 1234.5"
    return left_out(column, "category", why)


def _several(column: Column) -> Guess | None:
    """Names in one text with a separator between them."""
    texts = [text for text in column.texts if text is not None]
    if column.distinct < 3 or column.amount is not None:
        return None
    for mark in _LISTS:
        held = [text for text in texts if mark in text]
        if len(held) < _LISTS[mark] * len(texts):
            continue
        spaced = all(f"{mark} " in text and f"{mark}  " not in text for text in held)
        separator = f"{mark} " if spaced else mark
        parts = [part for text in texts for part in text.split(separator)]
        found = set(parts)
        short = sum(len(part.split()) for part in parts) <= 2.5 * len(parts)
        if short and "" not in found and len(parts) >= max(4 * len(found), 8):
            return taken_as(
                column, "categories", f"{len(found):,} names, several in one text",
                separator=separator, **_buckets(len(found)),
            )  # fmt: skip
    return None


def _text(column: Column) -> Guess | None:
    if column.words >= 3 and (column.distinct > _FEW or column.words >= 8):
        return taken_as(
            column, "text", f"texts of {column.words:.0f} words in the mean" + _holes(column)
        )
    return None


def _category(column: Column) -> Guess:
    unlike = column.not_numbers
    numbers = len(column.present) - sum(unlike.values())
    words = parts_of(column.name)
    code = bool(words) and words[-1] in names.IDENTIFIERS
    unknown = {text.strip().lower() for text in unlike} <= names.MISSING
    if numbers and unlike and not code and (unknown or numbers > 0.5 * len(column.present)):
        odd = ", ".join(shown(text) for text, _ in unlike.most_common(2))
        why = (
            f"numbers, but also {odd} in {_rows(sum(unlike.values()))}: taken as names; leave such "
            "cells empty to have numbers"
        )
        return named(column, why)
    unique = column.distinct > _NEARLY_ALL * len(column.present)
    if unique and column.rows >= _ENOUGH:
        if column.words >= 2:
            return taken_as(
                column, "text", "short texts, nearly every one another" + _holes(column)
            )
        return left_out(column, "category", "nearly every value is another one: names no group")
    if column.padded is not None:
        return named(column, f"codes as {shown(column.padded)}: {_many(column)}")
    return named(column, _many(column))


def named(column: Column, why: str) -> Guess:
    """Return the guess that a column is a category."""
    return taken_as(column, "category", why + _holes(column), **_buckets(column.distinct))


def _buckets(n: int) -> dict[str, object]:
    """Room for ten times the names, where the default has less."""
    wanted = 1 << (10 * n - 1).bit_length()
    return {} if wanted <= DEFAULT_BUCKETS else {"buckets": min(wanted, _MOST_BUCKETS)}


def _many(column: Column) -> str:
    if column.distinct == 1:
        return "one name"
    if column.distinct <= 4 and all(len(text) <= _LONG for text in column.counts):
        return ", ".join(shown(text) for text in sorted(column.counts))
    return f"{column.distinct:,} names"


def _holes(column: Column) -> str:
    return f", missing in {_rows(column.missing)}" if column.missing else ""


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def shown(value: object) -> str:
    """Return a value on one line, short."""
    text = value if isinstance(value, str) else str(value)
    text = repr(text) if not text.isprintable() or text != text.strip() or not text else text
    return text if len(text) <= 40 else text[:37] + "..."
