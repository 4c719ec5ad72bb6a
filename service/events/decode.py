"""From bytes to columns. Knows JSON and the schema; knows no Kafka, no torch.

One bad event never costs its neighbours: it becomes a Fault, the others become rows. The
learner (bytes of records) and the API (objects of a request) go through the same functions,
so the same event gives the same row in both.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events import values
from service.events.hashing import TextHasher
from service.events.schema import Schema

ANY = str | int | float | bool | None
NUMERIC = float | str | None


class Fault(msgspec.Struct, frozen=True):
    """Why one event cannot be used. `index`: which event; `field`: None when the whole event."""

    index: int
    field: str | None
    code: str
    msg: str


class Bags(msgspec.Struct):
    """One bag field of N events: the entries of event r are spans[r] .. spans[r + 1]."""

    spans: NDArray[np.int64]
    """[N + 1], from 0 on; equal neighbours: an event without entries."""
    codes: NDArray[np.uint64]
    """[E]; never 0. Inside one event no code comes twice, and they are sorted."""
    values: NDArray[np.float64]
    """[E]; finite."""
    names: NDArray[np.uint64]
    """[E]; hash of the name whose scale the value has; 0: the value counts as it is."""


class Columns(msgspec.Struct):
    """N events as numbers. Legend: W dense values, C tables with a code, B bags, T targets; all in
    the order of the schema's dense, tables and bags."""

    numbers: NDArray[np.float64]
    """[N, W]; NaN is "missing"."""
    codes: NDArray[np.uint64]
    """[N, C]; 0 is "missing"."""
    bags: tuple[Bags, ...]
    """[B]."""
    targets: NDArray[np.float64]
    """[N, T]; 0/1, class index or value; NaN is "missing"."""
    times_ms: NDArray[np.int64]
    """[N]; the event's own time, -1 where it has none."""
    keys: NDArray[np.uint64]
    """[N]; hash of the id, 0 where there is none."""

    def __len__(self) -> int:
        return len(self.times_ms)


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
        self._names = sorted(schema.known)
        self._plain = all(map(_is_plain, self._names))
        """The typed, quick way is open: msgspec takes no field names that JSON must escape."""
        self._struct = self._make_struct()
        self._json = msgspec.json.Decoder(self._struct)
        self._hashers = [TextHasher(name, seed) for name in _coded(schema)]
        self._key_hasher = TextHasher("id", seed)
        attributes = [f"f{i}" for i in range(len(self._names))]
        getter = operator.attrgetter(*attributes)
        self._fields: Callable[[Any], tuple[object, ...]] = (
            getter if len(attributes) > 1 else lambda event: (getter(event),)
        )
        self._at = {name: i for i, name in enumerate(self._names)}

    def _make_struct(self) -> type[msgspec.Struct]:
        numeric = set(_numbers(self.schema))
        numeric |= {t.name for t in self.schema.targets if t.kind == "number"}
        numeric -= set(_coded(self.schema)) | {self.schema.id}
        if self.schema.time is not None:
            numeric.discard(self.schema.time.field)
        fields = [
            (f"f{i}", NUMERIC if name in numeric else ANY, None)
            for i, name in enumerate(self._names)
        ]
        names = {f"f{i}": name for i, name in enumerate(self._names)}
        rename = names if self._plain else None
        return msgspec.defstruct("Event", fields, rename=rename, gc=False)

    def decode_records(self, payloads: Sequence[bytes | None]) -> Decoded:
        """Decode the values of records, in their order. Never raises for what they hold."""
        record: list[int] = list(range(len(payloads)))
        row: list[int] = [0] * len(payloads)
        faults: list[tuple[int, int, Fault]] = []
        tombstones: list[int] = []
        events = self._quickly(payloads)
        if events is None:
            events, record, row = [], [], []
            for at, payload in enumerate(payloads):
                if payload is None:
                    tombstones.append(at)
                    continue
                for place, outcome in enumerate(self._slowly(payload)):
                    if isinstance(outcome, Fault):
                        faults.append((at, place, outcome))
                    else:
                        events.append(outcome)
                        record.append(at)
                        row.append(place)
        columns, bad = self._columns(events, labelled=True)
        record_N = np.asarray(record, dtype=np.int64)
        row_N = np.asarray(row, dtype=np.int64)
        if bad:
            faults += [(record[f.index], row[f.index], f) for f in bad.values()]
            faults.sort(key=operator.itemgetter(0, 1))
            keep = np.setdiff1d(np.arange(len(events)), np.fromiter(bad, np.int64, len(bad)))
            columns, record_N, row_N = take(columns, keep), record_N[keep], row_N[keep]
        return Decoded(columns, record_N, row_N, faults, tombstones)

    def decode_objects(self, objects: Iterable[object]) -> Decoded:
        """Decode events that are objects already (rows of a file), each a record of its own."""
        return self.decode_records([msgspec.json.encode(o) for o in objects])

    def features(self, objects: Sequence[object]) -> tuple[Columns, list[Fault]]:
        """Decode the events of a request; targets are ignored. Columns hold only without faults.

        Every fault of every event is reported, not just the first.
        """
        events: list[object] = []
        faults: list[Fault] = []
        blank = self._struct()
        wanted = self.schema.features
        for at, given in enumerate(objects):
            if not isinstance(given, dict):
                msg = f"an event is an object, got {values.show(given)}"
                faults.append(Fault(at, None, "not_an_object", msg))
                events.append(blank)
                continue
            event = self._struct()
            for name in wanted:
                value = given.get(name)
                if value is None or isinstance(value, (str, int, float, bool)):
                    setattr(event, f"f{self._at[name]}", value)
                else:
                    faults.append(self._explain(at, name, value))
            events.append(event)
        columns, _ = self._columns(events, labelled=False, faults=faults)
        faults.sort(key=lambda f: (f.index, f.field or ""))
        return columns, faults

    def presence(self, given: dict[str, object]) -> tuple[list[str], list[str]]:
        """Return the names an event has that this model does not know, and those it lacks."""
        unknown = [name for name in given if name not in self.schema.known]
        missing = [name for name in sorted(self.schema.features) if given.get(name) is None]
        return unknown, missing

    def _quickly(self, payloads: Sequence[bytes | None]) -> list[object] | None:
        """Decode all at once; None when any of them needs a closer look."""
        if not self._plain:
            return None
        decode = self._json.decode
        try:
            return [decode(payload) for payload in payloads]  # type: ignore[arg-type]  # None raises TypeError
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError):
            return None

    def _slowly(self, payload: bytes) -> list[object]:
        try:
            if self._plain:
                return [self._json.decode(payload)]
            given = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                given = msgspec.json.decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return [Fault(0, None, "bad_json", str(error))]
        if isinstance(given, list):
            return [self._from_object(item) for item in given] or [
                Fault(0, None, "not_an_object", "the record holds an empty array")
            ]
        return [self._from_object(given)]

    def _from_object(self, given: object) -> object:
        if not isinstance(given, dict):
            return Fault(
                0, None, "not_an_object", f"an event is an object, got {values.show(given)}"
            )
        for name in self._names:
            value = given.get(name)
            if not (value is None or isinstance(value, (str, int, float, bool))):
                return self._explain(0, name, value)
        event = self._struct()
        for i, name in enumerate(self._names):
            setattr(event, f"f{i}", given.get(name))
        return event

    def _explain(self, at: int, name: str, value: object) -> Fault:
        expected = "a number" if name in _numbers(self.schema) else "a text, number or boolean"
        return Fault(at, name, "wrong_type", f"expected {expected}, got {values.show(value)}")

    def _columns(
        self, events: list[object], *, labelled: bool, faults: list[Fault] | None = None
    ) -> tuple[Columns, dict[int, Fault]]:
        """Turn events into columns. Returns also the first fault of each bad event; `faults`
        (where given) collects all of them."""
        table = _Table(self._at, list(map(self._fields, events)), faults)
        schema, n = self.schema, len(events)
        targets = np.full((n, len(schema.targets)), np.nan)
        times = np.full(n, -1, dtype=np.int64)
        keys = np.zeros(n, dtype=np.uint64)
        numbers = np.empty((n, schema.values))
        for j, name in enumerate(_numbers(schema)):
            numbers[:, j] = table.numbers(name)
        codes = np.zeros((n, schema.coded), dtype=np.uint64)
        for j, name in enumerate(_coded(schema)):
            codes[:, j] = table.codes(name, self._hashers[j])
        if labelled:
            for j, target in enumerate(schema.targets):
                label = functools.partial(values.label, target)
                targets[:, j] = table.convert(target.name, label, np.nan)
            if schema.time is not None:
                times[:] = table.convert(schema.time.field, self._time, -1)
            if schema.id is not None:
                keys[:] = table.codes(schema.id, self._key_hasher)
        return Columns(numbers, codes, (), targets, times, keys), table.bad

    def _time(self, value: object) -> int:
        assert self.schema.time is not None
        found = values.time_ms(self.schema.time, value)
        return -1 if found is None else found


def _numbers(schema: Schema) -> list[str]:
    return [block.name for block in schema.dense]


def _coded(schema: Schema) -> list[str]:
    return [table.name for table in schema.tables]


def _is_plain(name: str) -> bool:
    return msgspec.json.encode(name) == f'"{name}"'.encode()


class _Table:
    """The raw values of N events by field, and what is wrong with them."""

    def __init__(
        self, at: dict[str, int], events: list[tuple[object, ...]], faults: list[Fault] | None
    ) -> None:
        self.bad: dict[int, Fault] = {}
        self._at = at
        self._faults = faults
        self._columns: list[tuple[object, ...]] = (
            list(zip(*events, strict=True)) if events else [()] * len(at)
        )

    def numbers(self, name: str) -> list[float] | NDArray[np.float64]:
        """Return a column of numbers, NaN where missing; texts among them take the slow way."""
        raw = self._columns[self._at[name]]
        if set(map(type, raw)) <= {float, type(None)}:
            found = np.array(raw, dtype=np.float64)
            if not (np.abs(found) > values.LARGEST).any():
                return found
        return self.convert(name, values.number, np.nan)

    def codes(self, name: str, hasher: TextHasher) -> list[int]:
        """Return a column of codes, 0 where missing."""
        raw = self._columns[self._at[name]]
        plain = set(map(type, raw)) <= {str, type(None)}
        texts: Sequence[Any] = raw if plain else self.convert(name, values.text, None)
        return [0 if text is None else hasher(text) for text in texts]

    def convert(self, name: str, one: Callable[[Any], Any], blank: object) -> list[Any]:
        """Convert a column value by value; what cannot be used is noted and becomes `blank`."""
        result = []
        for at, value in enumerate(self._columns[self._at[name]]):
            try:
                result.append(one(value))
            except values.BadValue as error:
                fault = Fault(at, name, error.code, str(error))
                self.bad.setdefault(at, fault)
                if self._faults is not None:
                    self._faults.append(fault)
                result.append(blank)
        return result


def take(columns: Columns, index: NDArray[np.int64]) -> Columns:
    """Return the chosen rows, in the order of `index`."""
    return Columns(
        columns.numbers[index],
        columns.codes[index],
        columns.bags,
        columns.targets[index],
        columns.times_ms[index],
        columns.keys[index],
    )
