"""The data of one tensor: from JSON, or from bytes, to a value for each event.

Knows datatypes and shapes. Does not know requests or fields. Floats that are not a number mean
"not known", as null does. Errors carry the row as their place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from service.events.values import show

Shape = tuple[int, ...]
Error = dict[str, Any]
Found = tuple[list[Any], list[Error]]
"""Rows, and what is wrong with them; rows hold only where nothing is."""

INTEGERS: dict[str, tuple[int, int]] = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""Least and greatest value of each datatype of whole numbers."""
REALS = frozenset({"FP16", "BF16", "FP32", "FP64"})
_PLAIN = {
    "BOOL": "u1", "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8",
    **{f"{sign}INT{bits}": f"<{'u' if sign else 'i'}{bits // 8}"
       for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""Each datatype of fixed size, in numpy's words; all are little-endian."""
_LENGTH = struct.Struct("<I")


def from_json(data: object, datatype: str, shape: Shape) -> Found:
    """Read "data": nested as the shape says, or flat in row-major order. A row may be null."""
    if data is None:
        return [], [_error([], "missing_field", 'it has no "data"')]
    if not isinstance(data, list):
        return [], [_error([], "wrong_type", 'expected "data" to be a list')]
    nested = any(isinstance(one, list) for one in data)
    if len(shape) == 2 and (nested or data == [None] * shape[0]):
        return _from_rows(data, datatype, shape)
    if nested:
        msg = f"a list within the list, deeper than the shape {list(shape)}"
        places = [at for at, one in enumerate(data) if isinstance(one, list)]
        return [], [_error([at], "wrong_shape", msg) for at in places]
    if len(data) != _count(shape):
        msg = f"{len(data)} values, but the shape {list(shape)} has {_count(shape)}"
        return [], [_error([], "wrong_shape", msg)]
    fits, said = _fitting(datatype)
    bad = {_row(at, shape): one for at, one in enumerate(data) if not fits(one)}
    errors = [_unfit(row, said, one) for row, one in bad.items()]
    return _rows(data, shape) if not errors else [], errors


def _from_rows(data: list[Any], datatype: str, shape: Shape) -> Found:
    """Read data that is a list for each event."""
    count, width = shape
    if len(data) != count:
        msg = f"{len(data)} rows, but the shape {list(shape)} has {count}"
        return [], [_error([], "wrong_shape", msg)]
    fits, said = _fitting(datatype)
    errors: list[Error] = []
    for at, row in enumerate(data):
        if row is None:
            continue
        if not isinstance(row, list) or len(row) != width:
            got = f"one of {len(row)}" if isinstance(row, list) else "no list"
            msg = f"expected a list of {width} values, got {got}"
            errors.append(_error([at], "wrong_shape", msg))
        else:
            errors += [_unfit(at, said, one) for one in row if not fits(one)][:1]
    return data, errors


def from_bytes(raw: memoryview, datatype: str, shape: Shape) -> Found:
    """Read binary data: values of fixed size, or texts each behind its length in four bytes."""
    count = _count(shape)
    if datatype == "BYTES":
        return _from_texts(raw, shape, count)
    plain = np.dtype(_PLAIN[datatype])
    if len(raw) != count * plain.itemsize:
        msg = f"{len(raw)} bytes, but {count} values of {datatype} take {count * plain.itemsize}"
        return [], [_error([], "wrong_size", msg)]
    values = np.frombuffer(raw, dtype=plain)
    if datatype == "BOOL":
        return _rows((values != 0).tolist(), shape), []
    if datatype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    flat: list[Any] = values.tolist()
    if datatype in REALS and np.isnan(values).any():
        flat = [None if one != one else one for one in flat]
    return _rows(flat, shape), []


def _from_texts(raw: memoryview, shape: Shape, count: int) -> Found:
    flat: list[Any] = []
    errors: list[Error] = []
    at = 0
    while at < len(raw):
        begin = at + _LENGTH.size
        at = begin + (_LENGTH.unpack_from(raw, at)[0] if begin <= len(raw) else 1)
        if at > len(raw):
            msg = f"text {len(flat)} goes beyond the end of the data"
            return [], [_error([], "wrong_size", msg)]
        if len(flat) == count:
            return [], [_error([], "wrong_size", f"more texts than the {count} of the shape")]
        try:
            flat.append(str(raw[begin:at], "utf-8"))
        except UnicodeDecodeError:
            errors.append(_error([_row(len(flat), shape)], "wrong_type", "the text is not UTF-8"))
            flat.append(None)
    if len(flat) != count:
        return [], [_error([], "wrong_size", f"{len(flat)} texts, but the shape has {count}")]
    return _rows(flat, shape), errors


def _fitting(datatype: str) -> tuple[Callable[[Any], bool], str]:
    """Return whether a value of JSON is one of this datatype, or null; and how to say that."""
    kinds: set[type] = {type(None)}
    if datatype in INTEGERS:
        least, most = INTEGERS[datatype]
        said = f"a whole number from {least} to {most}"
        return lambda one: one is None or (type(one) is int and least <= one <= most), said
    if datatype in REALS:
        kinds, said = kinds | {float, int}, "a number"
    elif datatype == "BOOL":
        kinds, said = kinds | {bool}, "true or false"
    else:
        kinds, said = kinds | {str}, "a text"
    return lambda one: type(one) in kinds, said


def _unfit(row: int, said: str, value: object) -> Error:
    return _error([row], "wrong_type", f"expected {said}, got {show(value)}")


def _rows(flat: list[Any], shape: Shape) -> list[Any]:
    if len(shape) == 1:
        return flat
    if shape[1] == 0:
        return [[] for _ in range(shape[0])]
    return [flat[at : at + shape[1]] for at in range(0, len(flat), shape[1])]


def _row(at: int, shape: Shape) -> int:
    return at if len(shape) == 1 else at // shape[1]


def _count(shape: Shape) -> int:
    return shape[0] if len(shape) == 1 else shape[0] * shape[1]


def _error(loc: Sequence[object], code: str, msg: str) -> Error:
    return {"loc": list(loc), "code": code, "msg": msg}
