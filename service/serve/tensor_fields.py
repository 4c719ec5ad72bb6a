"""From tensors, one for each field, to the events that they are; and what each field takes.

Knows the fields of a model and the datatypes that suit them. Does not know HTTP, nor how an event
is decoded: what a value must be, the decoder says, for tensors as for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from service.events.decode import Fault
from service.events.schema import Schema
from service.serve.problems import bad_events
from service.serve.request import MOST_BOXES_PER_EVENT, kind_of
from service.serve.tensor_values import INTEGERS
from service.serve.tensors import DATATYPES, Tensor, refuse_too_many_boxes
from service.settings import (
    BooleanFeature,
    CategoriesFeature,
    Feature,
    MapFeature,
    NumberFeature,
    TimeFeature,
    VectorFeature,
)

GENERAL = "events"
"""The input that holds whole events; a field of this name takes its place."""

Path = tuple[str, ...]
Error = dict[str, Any]

_TEXTS = frozenset({"BYTES"})
_NAMES = frozenset({"BYTES", "BOOL", "FP64", *INTEGERS})
"""A shorter float is another text than the number that was meant: 0.1 becomes 0.10000000149."""
_NUMBERS = DATATYPES - {"BOOL", "BYTES"}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Taken(NamedTuple):
    """What is said of an input, and which datatypes it takes."""

    datatype: str
    shape: tuple[int, ...]
    datatypes: frozenset[str]


def inputs_of(schema: Schema) -> dict[str, Taken]:
    """Return every input by its name: one for each field, and one for whole events."""
    found = {name: _taken(spec) for name, spec in schema.specs.items()}
    found.setdefault(GENERAL, Taken("BYTES", (-1,), _TEXTS))
    return found


def _taken(spec: Feature) -> Taken:
    match spec:
        case NumberFeature():
            return Taken("FP64", (-1,), _NUMBERS | _TEXTS)
        case BooleanFeature():
            return Taken("BOOL", (-1,), DATATYPES)
        case VectorFeature():
            return Taken("FP64", (-1, spec.size), _NUMBERS)
        case CategoriesFeature():
            return Taken("BYTES", (-1, -1), _NAMES)
        case MapFeature():
            return Taken("BYTES", (-1,), _TEXTS)
        case TimeFeature():
            datatype = "BYTES" if spec.format in {"iso", "auto"} else "INT64"
            return Taken(datatype, (-1,), frozenset({"BYTES", "FP64", *INTEGERS}))
        case _:
            return Taken("BYTES", (-1,), _NAMES)


class Events:
    """The events of a request, and the way back from a fault in one to the input it came in."""

    def __init__(self, schema: Schema, inputs: Sequence[Tensor], count: int, most: int) -> None:
        """Refused where inputs are not this model's, or do not go together. most: events."""
        self._schema = schema
        self._names = [one.name for one in inputs]
        self._whole = GENERAL not in schema.specs and GENERAL in self._names
        self.events: list[Any] = [{} for _ in range(count)]
        _check(inputs, inputs_of(schema))
        if self._whole:
            if len(inputs) > 1:
                msg = "whole events come alone, without inputs for single fields"
                loc = ["inputs", GENERAL]
                raise bad_events([{"loc": loc, "code": "duplicate_field", "msg": msg}])
            self.events = _parsed(inputs[0], most)
            return
        errors: list[Error] = []
        for tensor in sorted(inputs, key=lambda one: len(self._path(one.name))):
            rows = _values(tensor, schema.specs[tensor.name], most)
            errors += self._put(tensor.name, rows)
        if errors:
            raise bad_events(errors)

    def error(self, fault: Fault) -> Error:
        """Return a fault of an event as an error of the input that held it."""
        loc: list[object] = ["inputs", self._input_of(fault.field), fault.index]
        if self._whole and fault.field is not None:
            loc += self._schema.paths.get(fault.field, (fault.field,))
        return {"loc": loc, "code": fault.code, "msg": fault.msg}

    def _input_of(self, field: str | None) -> str:
        """Return the input that holds a field: its own, or one that lies on the way to it."""
        if self._whole:
            return GENERAL
        if field is None:
            return self._names[0]
        if field not in self._names:
            path = self._schema.paths.get(field, ())
            for name in self._names:
                way = self._path(name)
                if way and way == path[: len(way)]:
                    return name
        return field

    def _path(self, name: str) -> Path:
        """Return where an input lies in an event; empty for the map of the rest, which is all."""
        return () if name == self._schema.rest else self._schema.paths[name]

    def _put(self, name: str, rows: list[Any]) -> list[Error]:
        """Put the values of an input in their place; what is not known leaves it empty."""
        path = self._path(name)
        errors: list[Error] = []
        for at, value in enumerate(rows):
            if value is None:
                continue
            trouble = _place(self.events[at], path, value) if path else self._spread(at, value)
            if trouble:
                loc = ["inputs", name, at]
                errors.append({"loc": loc, "code": "duplicate_field", "msg": trouble})
        return errors

    def _spread(self, at: int, value: object) -> str:
        """Put the map of the rest where it lies: at the top of the event."""
        if not isinstance(value, dict):
            return f"expected an object, got {kind_of(value)}"
        tops = {path[0] for name, path in self._schema.paths.items() if name != self._schema.rest}
        if own := sorted(tops & value.keys()):
            return f"{own[0]!r} is a field of its own: send it as an input"
        self.events[at].update(value)
        return ""


def _check(inputs: Sequence[Tensor], taken: dict[str, Taken]) -> None:
    for tensor in inputs:
        if tensor.name not in taken:
            msg = f"the model has no such input; it has {', '.join(taken)}"
            raise bad_events([_error(tensor, "unknown_field", msg)])
        wanted = taken[tensor.name]
        if tensor.datatype not in wanted.datatypes:
            others = ", ".join(sorted(wanted.datatypes - {wanted.datatype}))
            msg = f"expected {wanted.datatype}" + (f" (or {others})" if others else "")
            raise bad_events([_error(tensor, "wrong_type", f"{msg}, got {tensor.datatype}")])
        if not _suits(tensor.shape, wanted):
            msg = f"expected the shape {list(wanted.shape)}, got {list(tensor.shape)}"
            raise bad_events([_error(tensor, "wrong_shape", msg)])


def _suits(shape: tuple[int, ...], wanted: Taken) -> bool:
    """Whether a shape is the wanted one; single values may stand in columns of one, [N, 1]."""
    if len(wanted.shape) == 1:
        return len(shape) == 1 or shape[1] == 1
    if wanted.shape[1] == -1:
        return True  # lists of names; one text with all of them is the decoder's to judge
    return len(shape) == 2 and shape[1] == wanted.shape[1]


def _values(tensor: Tensor, spec: Feature, most: int) -> list[Any]:
    """Return what JSON would hold in this field, for each event."""
    rows = tensor.rows
    if isinstance(spec, CategoriesFeature) and len(tensor.shape) == 2:
        return [None if row is None else [one for one in row if one not in (None, "")]
                for row in rows]  # fmt: skip
    if isinstance(spec, VectorFeature):
        return [None if row is None or row.count(None) == len(row) else row for row in rows]
    if len(tensor.shape) == 2:
        rows = [None if row is None else row[0] for row in rows]
    if isinstance(spec, MapFeature):
        texts = [one or None for one in rows]
        return _objects(Tensor(tensor.name, tensor.datatype, tensor.shape, texts), most)
    return rows


def _parsed(tensor: Tensor, most: int) -> list[Any]:
    if len(tensor.shape) == 2:
        tensor.rows = [None if row is None else row[0] for row in tensor.rows]
    return _objects(tensor, most)


def _objects(tensor: Tensor, most: int) -> list[Any]:
    """Return what texts of JSON hold; null stays null."""
    texts = [text for text in tensor.rows if text]
    boxes = sum(text.count("{") + text.count("[") for text in texts)
    if boxes > MOST_BOXES_PER_EVENT * most:
        refuse_too_many_boxes(boxes, most)
    found: list[Any] = []
    errors: list[Error] = []
    for at, text in enumerate(tensor.rows):
        try:
            found.append(None if text is None else _json.decode(text))
        except _UNREADABLE as error:
            msg = f"the text is not JSON: {error}"
            errors.append({"loc": ["inputs", tensor.name, at], "code": "bad_json", "msg": msg})
    if errors:
        raise bad_events(errors)
    return found


_json = msgspec.json.Decoder(float_hook=float)  # 1e400 becomes infinite: a fault of its field


def _place(event: dict[str, Any], path: Path, value: object) -> str:
    """Put a value where it lies; say what is there already and is another one."""
    place: Any = event
    for key in path[:-1]:
        inner = place.get(key)
        if inner is None:
            inner = place[key] = {}
        if not isinstance(inner, dict):
            return f"another input says that {key!r} is {kind_of(inner)}; this one lies in it"
        place = inner
    there = place.get(path[-1])
    if there is not None and there != value:
        return "another input lies at the same place, and says something else; send one of them"
    place[path[-1]] = value
    return ""


def _error(tensor: Tensor, code: str, msg: str) -> Error:
    return {"loc": ["inputs", tensor.name], "code": code, "msg": msg}
