"""From bytes to columns. Knows JSON and the schema; knows no Kafka, no torch.

One bad event never costs its neighbours: it becomes a Fault, the others become rows. The
learner (bytes of records) and the API (objects of a request) go through the same functions,
so the same event gives the same row in both.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events import fields, values
from service.events.columns import Bags, Columns, blank, join, take
from service.events.hashing import TextHasher
from service.events.places import Level, Path, at, shown
from service.events.schema import Schema
from service.settings import (
    CategoriesFeature,
    EventTime,
    MapFeature,
    NumberFeature,
    VectorFeature,
)

__all__ = ["Bags", "Columns", "Decoded", "Decoder", "Fault", "blank", "join", "take"]

SCALAR = str | int | float | bool | None
NUMERIC = float | str | None
NUMBERS = list[float] | None
_REST = ""
"""Where an event keeps its rest for the map of it; no field's key is empty."""


class Fault(msgspec.Struct, frozen=True):
    """Why one event cannot be used. `index`: which event; `field`: None when the whole event."""

    index: int
    field: str | None
    code: str
    msg: str


class Decoded(msgspec.Struct):
    """What a run of records held: usable events as columns, and everything else by name."""

    columns: Columns
    record: NDArray[np.int64]
    """[N]; index of the record that held each event."""
    row: NDArray[np.int64]
    """[N]; place of each event inside its record."""
    faults: list[tuple[int, int, Fault]]
    """(record, row, why) of each event that cannot be used."""
    tombstones: list[int]
    """Records without a value."""


class Decoder:
    """Decode JSON events of one schema: an object per record, or an array of objects."""

    def __init__(self, schema: Schema, seed: int) -> None:
        self.schema = schema
        self._readers = fields.readers(schema, seed)
        self._key_hasher = TextHasher("id", seed)
        self._places = _places(schema)
        self._level = Level(_types(schema))
        places = {path[0] for name, path in self._places.items() if name != schema.rest}
        self._known = frozenset(places | _labels(schema))
        """Names at the top of an event that mean something, but for the map of the rest."""
        self._wanted = [(n, path) for n, path in sorted(schema.paths.items()) if n != schema.rest]
        quick = self._level.plain and schema.rest is None
        self._read: Callable[[Any], Any] = (
            msgspec.json.Decoder(self._level.struct).decode if quick else self._read_object
        )

    @property
    def cut_short(self) -> int:
        """Texts so far that had more entries than are counted; the first ones were kept."""
        texts = (r for r in self._readers.values() if isinstance(r, fields.TextField))
        return sum(field.reader.cut_short for field in texts)

    @property
    def codes(self) -> tuple[int, int]:
        """Codes of categories so far: those that were remembered, and those that were computed."""
        hashers = fields.hashers(self._readers.values())
        computed = sum(one.computed for one in hashers)
        return sum(one.asked for one in hashers) - computed, computed

    def decode_records(self, payloads: Sequence[bytes | None]) -> Decoded:
        """Decode the values of records, in their order. Never raises for what they hold."""
        read, events, odd = self._read, [], dict[int, list[Any]]()
        for payload in payloads:
            try:
                events.append(read(payload))
            except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError):
                odd[len(events)] = [] if payload is None else self._slowly(payload)
                events.append(None)
        faults: list[tuple[int, int, Fault]] = []
        if odd:
            events, record_N, row_N = _laid_out(events, odd, faults)
        else:
            record_N = np.arange(len(events), dtype=np.int64)
            row_N = np.zeros(len(events), dtype=np.int64)
        columns, bad = self._columns(events, labelled=True)
        if bad:
            faults += [(int(record_N[f.index]), int(row_N[f.index]), f) for f in bad.values()]
            keep = np.setdiff1d(np.arange(len(events)), np.fromiter(bad, np.int64, len(bad)))
            columns, record_N, row_N = take(columns, keep), record_N[keep], row_N[keep]
        faults.sort(key=operator.itemgetter(0, 1))
        tombstones = [at for at, payload in enumerate(payloads) if payload is None] if odd else []
        return Decoded(columns, record_N, row_N, faults, tombstones)

    def decode_objects(self, objects: Iterable[object]) -> Decoded:
        """Decode events that are objects already (rows of a file), each a record of its own."""
        return self.decode_records([msgspec.json.encode(o) for o in objects])

    def features(self, objects: Sequence[object]) -> tuple[Columns, list[Fault]]:
        """Decode the events of a request; targets are ignored. Columns hold only without faults.

        Every fault of every event is reported, not just the first.
        """
        faults: list[Fault] = []
        events = [self._event(at, given, faults) for at, given in enumerate(objects)]
        columns, _ = self._columns(events, labelled=False, faults=faults)
        faults.sort(key=lambda f: (f.index, f.field or ""))
        return columns, faults

    def presence(self, given: dict[str, object]) -> tuple[list[str], list[str]]:
        """Return the names an event has that this model does not know, and the fields it lacks."""
        unknown = [] if self.schema.rest else [name for name in given if name not in self._known]
        missing = [name for name, path in self._wanted if at(given, path) is None]
        return unknown, missing

    def _read_object(self, payload: bytes) -> object:
        """Decode one object; raises where it needs a closer look."""
        faults: list[Fault] = []
        event = self._event(0, msgspec.json.decode(payload), faults)
        if faults:
            raise TypeError("needs a closer look")
        return event

    def _slowly(self, payload: bytes) -> list[object]:
        """Return what a record holds: an event or a Fault for each of its objects."""
        try:
            given = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [Fault(0, None, "bad_json", str(error))]
        if not isinstance(given, list):
            return [self._event_or_fault(given)]
        return [self._event_or_fault(item) for item in given] or [
            Fault(0, None, "not_an_object", "the record holds an empty array")
        ]

    def _event_or_fault(self, given: object) -> object:
        faults: list[Fault] = []
        event = self._event(0, given, faults)
        return faults[0] if faults else event

    def _event(self, index: int, given: object, faults: list[Fault]) -> Any:
        """Return an event with the raw values of an object, and note what cannot be reached."""
        if not isinstance(given, dict):
            msg = f"an event is an object, got {values.show(given)}"
            faults.append(Fault(index, None, "not_an_object", msg))
            return self._level.blank

        def note(way: Path, value: object) -> None:
            for name, path in self._places.items():
                if path[: len(way)] == way and len(path) > len(way):
                    msg = f"expected an object at {shown(way)}, on the way to {shown(path)}"
                    msg = f"{msg}, got {values.show(value)}"
                    faults.append(Fault(index, name, "wrong_type", msg))

        if self.schema.rest is not None:
            others = {name: given[name] for name in given.keys() - self._known}
            return self._level.read_object({**given, _REST: others}, note)
        return self._level.read_object(given, note)

    def _columns(
        self, events: list[Any], *, labelled: bool, faults: list[Fault] | None = None
    ) -> tuple[Columns, dict[int, Fault]]:
        """Turn events into columns. Returns also the first fault of each bad event; `faults`
        (where given) collects all of them."""
        schema = self.schema
        found = self._level.columns(events)
        columns = blank(schema, len(events))
        bad: dict[int, Fault] = {}

        def note(name: str, index: int, error: values.BadValue) -> None:
            fault = Fault(index, name, error.code, str(error))
            bad.setdefault(index, fault)
            if faults is not None:
                faults.append(fault)

        def top(name: str) -> fields.Raw:
            return fields.Raw(name, found[name,], note)

        draft = fields.Draft(columns.numbers, columns.codes, list(columns.bags))
        for name, read in self._readers.items():
            read(fields.Raw(name, found[self._places[name]], note), draft)
        columns.bags = tuple(draft.bags)
        if not labelled:
            return columns, bad
        for j, target in enumerate(schema.targets):
            raw, label = top(target.name), functools.partial(values.label, target)
            number = target.kind == "number"
            columns.targets[:, j] = raw.numbers() if number else raw.few(label, math.nan)
        if schema.time is not None:
            field = schema.time.field
            moments = top(field).convert(functools.partial(_time, schema.time), -1)
            columns.times_ms[:] = moments
        if schema.id is not None:
            columns.keys[:] = top(schema.id).codes(self._key_hasher)
        return columns, bad


def _places(schema: Schema) -> dict[str, Path]:
    """Return where each field lies, by its name; id, time and targets lie at the top.

    A name may be a feature that lies elsewhere and, say, the id at the top: both are listed then.
    """
    places = dict(schema.paths)
    if schema.rest is not None:
        places[schema.rest] = (_REST,)
    return places


def _labels(schema: Schema) -> set[str]:
    """Return the names of fields at the top that are no features: targets, id and time."""
    others = {schema.id, schema.time.field if schema.time else None} - {None}
    return {target.name for target in schema.targets} | {name for name in others if name}


def _types(schema: Schema) -> dict[Path, Any]:
    """Return what msgspec shall read at each place: the narrowest that every reader takes."""
    wanted: dict[Path, set[Any]] = {}
    for name, path in _places(schema).items():
        spec = schema.specs[name]
        kind: Any = SCALAR
        if isinstance(spec, NumberFeature):
            kind = NUMERIC
        elif isinstance(spec, VectorFeature):
            kind = NUMBERS
        elif isinstance(spec, (CategoriesFeature, MapFeature)):
            kind = Any
        wanted.setdefault(path, set()).add(kind)
    numeric = {target.name for target in schema.targets if target.kind == "number"}
    for name in _labels(schema):
        others = {schema.id, schema.time.field if schema.time else None}
        kind = NUMERIC if name in numeric - others else SCALAR
        wanted.setdefault((name,), set()).add(kind)
    return {path: _widest(kinds) for path, kinds in wanted.items()}


def _widest(kinds: set[Any]) -> Any:
    if len(kinds) == 1:
        return next(iter(kinds))
    return SCALAR if kinds <= {SCALAR, NUMERIC} else Any


def _laid_out(
    events: list[Any], odd: dict[int, list[Any]], faults: list[tuple[int, int, Fault]]
) -> tuple[list[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Put what odd records held in their places; returns events, their records and rows."""
    usable, record, row = [], [], []
    for where, event in enumerate(events):
        for place, one in enumerate(odd.get(where, [event])):
            if isinstance(one, Fault):
                faults.append((where, place, one))
            else:
                usable.append(one)
                record.append(where)
                row.append(place)
    return usable, np.asarray(record, dtype=np.int64), np.asarray(row, dtype=np.int64)


def _time(spec: EventTime, value: object) -> int:
    found = values.time_ms(spec, value)
    return -1 if found is None else found
