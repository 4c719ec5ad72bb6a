"""From the raw values of a field to its columns, kind by kind. Knows no bytes and no places.

Raw values are what JSON holds. Every reader takes whatever is there: what it cannot use is noted
as the fault of that event, and counts as missing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from service.events import times, values
from service.events.columns import Bags, Entry, bags_of
from service.events.hashing import TextHasher
from service.events.maps import MapHasher
from service.events.schema import Schema
from service.events.text import FIGURES, TextReader
from service.settings import (
    BooleanFeature,
    CategoriesFeature,
    CategoryFeature,
    Feature,
    MapFeature,
    NumberFeature,
    TextFeature,
    TimeFeature,
    VectorFeature,
)

Note = Callable[[str, int, values.BadValue], None]
"""Told what is wrong with a field of an event: name, index, why."""


@dataclass(slots=True)
class Draft:
    """Columns in the making: every field is missing until it is read."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.uint64]
    bags: list[Bags]


_EXACT = frozenset({str, int, type(None)})
"""Types of which no two values are equal: 1, 1.0 and True are, and may mean different things."""
_FEW = 8
"""Values that are read one by one sooner than all at once."""


class Raw:
    """The raw values of one field of N events, and where to tell what is wrong with them."""

    def __init__(self, name: str, found: Sequence[Any], note: Note) -> None:
        self.values = found
        self._name = name
        self._note = note

    def convert(self, one: Callable[[Any], Any], missing: object) -> list[Any]:
        """Convert value by value; what cannot be used is noted and becomes `missing`."""
        result = []
        for at, value in enumerate(self.values):
            try:
                result.append(one(value))
            except values.BadValue as error:
                self._note(self._name, at, error)
                result.append(missing)
        return result

    def few(self, one: Callable[[Any], Any], missing: object) -> list[Any]:
        """Do as `convert` does, for values of which few differ: each of those is converted once."""
        if set(map(type, self.values)) <= _EXACT:
            try:
                table = {value: one(value) for value in set(self.values)}
            except values.BadValue:
                return self.convert(one, missing)
            return [table[value] for value in self.values]
        return self.convert(one, missing)

    def numbers(self) -> list[float] | NDArray[np.float64]:
        """Return numbers, NaN where missing; texts among them take the slow way."""
        if len(self.values) > _FEW and set(map(type, self.values)) <= {float, type(None)}:
            found = np.array(self.values, dtype=np.float64)
            if not (np.abs(found) > values.LARGEST).any():
                return found
        return self.convert(values.number, math.nan)

    def texts(self) -> Sequence[str | None]:
        """Return canonical texts, None where missing."""
        plain = set(map(type, self.values)) <= {str, type(None)}
        return self.values if plain else self.convert(values.text, None)

    def codes(self, hasher: TextHasher) -> list[int]:
        """Return codes of texts, 0 where missing."""
        texts = self.texts()
        hasher.asked += len(texts) - texts.count(None)
        codes = [*map(hasher.known, texts)]
        if None in codes:
            for at, text in enumerate(texts):
                if codes[at] is None:
                    codes[at] = 0 if text is None else hasher(text)
        return cast("list[int]", codes)


class Reader(Protocol):
    """Reads one field."""

    def __call__(self, raw: Raw, into: Draft) -> None: ...


class TextField:
    """Reads a field of texts: its figures and its bag."""

    def __init__(self, at: int, bag: int, reader: TextReader) -> None:
        self._at = at
        self._bag = bag
        self.reader = reader

    def __call__(self, raw: Raw, into: Draft) -> None:
        into.bags[self._bag], figures = self.reader.read(raw.texts())
        into.numbers[:, self._at : self._at + FIGURES] = figures


def readers(schema: Schema, seed: int) -> dict[str, Reader]:
    """Return the reader of each feature: numbers first, then categories, then the others."""
    first: dict[type[Feature], int] = {NumberFeature: 0, CategoryFeature: 1}
    names = sorted(schema.specs, key=lambda name: first.get(type(schema.specs[name]), 2))
    return {name: _reader(schema, name, schema.specs[name], seed) for name in names}


def _reader(schema: Schema, name: str, spec: Feature, seed: int) -> Reader:
    dense = next((d.at for d in schema.dense if d.name == name), -1)
    table = next(
        (i for i, t in enumerate(schema.tables) if t.name == name and t.kind != "cross"), -1
    )
    bag = next((i for i, b in enumerate(schema.bags) if b.name == name), -1)
    match spec:
        case NumberFeature():
            return functools.partial(_read_numbers, dense)
        case BooleanFeature():
            return functools.partial(_read_booleans, dense)
        case CategoryFeature():
            return functools.partial(_read_categories, table, TextHasher(name, seed))
        case VectorFeature():
            return functools.partial(_read_vectors, dense, spec.size)
        case TimeFeature():
            return functools.partial(_read_times, dense, table, spec)
        case CategoriesFeature():
            return functools.partial(_read_lists, bag, TextHasher(name, seed), spec.separator)
        case MapFeature():
            return functools.partial(_read_maps, bag, MapHasher(name, seed))
        case TextFeature():
            return TextField(dense, bag, TextReader(name, seed, spec))


def hashers(readers: Iterable[Reader]) -> list[TextHasher]:
    """Return the hashers of the fields that hold one name or several."""
    bound = [r.args for r in readers if isinstance(r, functools.partial)]
    return [one for args in bound for one in args if isinstance(one, TextHasher)]


def _read_numbers(at: int, raw: Raw, into: Draft) -> None:
    into.numbers[:, at] = raw.numbers()


def _read_booleans(at: int, raw: Raw, into: Draft) -> None:
    into.numbers[:, at] = raw.convert(values.boolean, math.nan)


def _read_categories(at: int, hasher: TextHasher, raw: Raw, into: Draft) -> None:
    into.codes[:, at] = raw.codes(hasher)


def _read_vectors(at: int, size: int, raw: Raw, into: Draft) -> None:
    for row, found in enumerate(raw.convert(functools.partial(values.vector, size), None)):
        if found is not None:
            into.numbers[row, at : at + size] = found


def _read_times(at: int, hour_at: int, spec: TimeFeature, raw: Raw, into: Draft) -> None:
    """Sine and cosine of the hour and of the weekday, and codes of both. The codes are such that
    no two hours or weekdays share a row of their tables."""
    moments = raw.convert(functools.partial(_clock, spec), None)
    for row, moment in enumerate(moments):
        if moment is None:
            continue
        seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
        day = seconds / 86_400
        week = (moment.weekday() + day) / 7
        into.numbers[row, at : at + 4] = (
            math.sin(math.tau * day),
            math.cos(math.tau * day),
            math.sin(math.tau * week),
            math.cos(math.tau * week),
        )
        into.codes[row, hour_at] = 1 + moment.hour
        into.codes[row, hour_at + 1] = 1 + moment.weekday()


def _clock(spec: TimeFeature, value: object) -> datetime | None:
    found = values.time_ns(spec.format, spec.zone, value)
    if found is None:
        return None
    moment = times.local(found, spec.zone)
    if moment is None:
        msg = f"a time of the years 1 to 9999 is wanted, got {values.show(value)}"
        raise values.BadValue("bad_time", msg)
    return moment


def _read_lists(bag: int, hasher: TextHasher, separator: str | None, raw: Raw, into: Draft) -> None:
    def entries(value: object) -> list[Entry]:
        names = values.names(separator, value)
        hasher.asked += len(names)
        codes = {hasher(name) for name in names}
        share = 1.0 / math.sqrt(len(codes)) if codes else 0.0
        return [(code, share, 0) for code in codes]

    into.bags[bag] = bags_of(raw.convert(entries, []))


def _read_maps(bag: int, hasher: MapHasher, raw: Raw, into: Draft) -> None:
    into.bags[bag] = bags_of(raw.convert(hasher.entries, []))
