"""The tensors of an Open Inference Protocol request, as one value for each event.

Knows the JSON of a request, the binary data behind it, datatypes and shapes. Does not know fields
or HTTP. Nothing a client can send raises anything but Refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from service.serve import signs
from service.serve.problems import Refused, bad_events
from service.serve.request import MOST_BOXES_PER_EVENT, kind_of, read_json
from service.serve.tensor_values import INTEGERS, REALS, from_bytes, from_json

DATATYPES = frozenset({"BOOL", "BYTES", *INTEGERS, *REALS})
_LONGEST_NAME = 64


class Tensor(msgspec.Struct):
    """An input: what it holds of each event, as JSON would; None where it is not known."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    rows: list[Any]
    """[N]; each a value, or a list of `shape[1]` values where there are two dimensions."""


class Wanted(msgspec.Struct):
    """An output that the request asks for; binary: as bytes behind the JSON (None: not said)."""

    name: str
    binary: bool | None


class Tensors(msgspec.Struct):
    """A request of the protocol."""

    inputs: list[Tensor]
    count: int
    """N, how many events."""
    outputs: list[Wanted]
    """Empty: all of them."""
    binary: bool
    """Whether outputs that do not say it themselves are bytes."""
    id: str | None


def read_tensors(body: bytes, header: str | None, most_events: int) -> Tensors:
    """Return what a request holds. header: its Inference-Header-Content-Length, None without."""
    text, behind = _parted(body, header)
    if text.count(b"[") + text.count(b"{") > MOST_BOXES_PER_EVENT * most_events:
        refuse_too_many_boxes(signs.count(text).boxes, most_events)
    request = read_json(text)
    if not isinstance(request, dict):
        raise _wrong([], f'expected an object {{"inputs": [...]}}, got {kind_of(request)}')
    given_id = request.get("id")
    if not isinstance(given_id, str | None):
        raise _wrong(["id"], f"expected a text, got {kind_of(given_id)}")
    parameters = _object(request, "parameters", [])
    inputs = _inputs(request, behind, most_events)
    return Tensors(
        inputs, inputs[0].shape[0] if inputs else 0, _outputs(request),
        _flag(parameters, "binary_data_output", []) or False, given_id,
    )  # fmt: skip


def refuse_too_many_boxes(boxes: int, most_events: int) -> None:
    """Refuse more objects and lists than so many events may hold; each takes Python's memory."""
    if boxes > MOST_BOXES_PER_EVENT * most_events:
        detail = f"{boxes} objects and lists; a request holds at most"
        raise Refused("TOO_LARGE", f"{detail} {MOST_BOXES_PER_EVENT * most_events} here")


def _parted(body: bytes, header: str | None) -> tuple[bytes, memoryview]:
    """Part the JSON from the bytes behind it."""
    if header is None:
        return body, memoryview(b"")
    length = int(header) if header.isascii() and header.isdigit() and len(header) < 12 else -1
    if not 0 <= length <= len(body):
        detail = f"expected the length of the JSON in a body of {len(body)} bytes"
        shown = header if len(header) <= 40 else header[:37] + "..."
        raise Refused("BAD_REQUEST", f"Inference-Header-Content-Length {shown!r}: {detail}")
    return body[:length], memoryview(body)[length:]


def _inputs(request: dict[str, Any], behind: memoryview, most_events: int) -> list[Tensor]:
    if "inputs" not in request:
        raise _wrong(["inputs"], 'the request has no "inputs"', "missing_field")
    found: list[Tensor] = []
    names: set[str] = set()
    for at, given in enumerate(_list(request, "inputs")):
        name = _name(given, "inputs", at)
        where: list[object] = ["inputs", name]
        if name in names:
            raise _wrong(where, "the request has this input twice", "duplicate_field")
        names.add(name)
        datatype, shape = _datatype(given, where), _shape(given, where)
        if found and shape[0] != found[0].shape[0]:
            first = found[0]
            msg = f"{shape[0]} events here, and {first.shape[0]} in {first.name}"
            raise _wrong(where, msg, "wrong_shape")
        if shape[0] > most_events:
            detail = f"{shape[0]} events; a request holds at most {most_events} (api.max_events)"
            raise Refused("TOO_LARGE", detail)
        nbytes = _binary_size(given, where, len(behind))
        if nbytes is None:
            rows, errors = from_json(given.get("data"), datatype, shape)
        else:
            rows, errors = from_bytes(behind[:nbytes], datatype, shape)
            behind = behind[nbytes:]
        if errors:
            raise bad_events([{**error, "loc": [*where, *error["loc"]]} for error in errors])
        found.append(Tensor(name, datatype, shape, rows))
    if not found:
        raise _wrong(["inputs"], "there is no input: nothing says how many events", "missing_field")
    if len(behind):
        raise _wrong(["inputs"], f"{len(behind)} bytes are left that no input names", "wrong_size")
    return found


def _outputs(request: dict[str, Any]) -> list[Wanted]:
    found: list[Wanted] = []
    names: set[str] = set()
    for at, given in enumerate(_list(request, "outputs")):
        name = _name(given, "outputs", at)
        where: list[object] = ["outputs", name]
        if name in names:
            raise _wrong(where, "the request has this output twice", "duplicate_field")
        names.add(name)
        parameters = _object(given, "parameters", where)
        if parameters.get("classification"):
            msg = "classification is not to be had; parameters.classes of the reply names them"
            raise _wrong([*where, "parameters"], msg, "unknown_field")
        _no_shared_memory(parameters, where)
        found.append(Wanted(name, _flag(parameters, "binary_data", where)))
    return found


def _name(given: object, of: str, at: int) -> str:
    if not isinstance(given, dict):
        raise _wrong([of, at], f'expected an object {{"name": ...}}, got {kind_of(given)}')
    name = given.get("name")
    if not isinstance(name, str):
        raise _wrong([of, at, "name"], f"expected a text, got {kind_of(name)}")
    return name if len(name) <= _LONGEST_NAME * 4 else name[:_LONGEST_NAME] + "..."


def _datatype(given: dict[str, Any], where: list[object]) -> str:
    datatype = given.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise _wrong([*where, "datatype"], f"expected one of {', '.join(sorted(DATATYPES))}")
    return datatype


def _shape(given: dict[str, Any], where: list[object]) -> tuple[int, ...]:
    """Return one or two dimensions, the first of them N."""
    shape = given.get("shape")
    good = isinstance(shape, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in shape
    )
    if not good:
        raise _wrong([*where, "shape"], "expected a list of whole numbers from 0 on", "wrong_shape")
    assert isinstance(shape, list)
    if not 1 <= len(shape) <= 2:
        msg = f"{len(shape)} dimensions; an input has one or two, the first counts the events"
        raise _wrong([*where, "shape"], msg, "wrong_shape")
    if math.prod(shape) > 2**53:
        raise _wrong([*where, "shape"], "more values than any body holds", "wrong_shape")
    return tuple(shape)


def _binary_size(given: dict[str, Any], where: list[object], left: int) -> int | None:
    """Return how many bytes behind the JSON are this input's; None where its data is in it."""
    parameters = _object(given, "parameters", where)
    _no_shared_memory(parameters, where)
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        msg = "expected a whole number from 0 on"
        raise _wrong([*where, "parameters", "binary_data_size"], msg)
    if given.get("data") is not None:
        msg = 'an input has "data" or "binary_data_size", not both'
        raise _wrong(where, msg, "duplicate_field")
    if size > left:
        msg = f"{size} bytes, but {left} are left (is Inference-Header-Content-Length there?)"
        raise _wrong([*where, "parameters", "binary_data_size"], msg, "wrong_size")
    return size


def _no_shared_memory(parameters: dict[str, Any], where: list[object]) -> None:
    if "shared_memory_region" in parameters:
        msg = "shared memory is not to be had here; send the data"
        raise _wrong([*where, "parameters"], msg, "unknown_field")


def _flag(parameters: dict[str, Any], name: str, where: Sequence[object]) -> bool | None:
    value = parameters.get(name)
    if not isinstance(value, bool | None):
        raise _wrong([*where, "parameters", name], f"expected a boolean, got {kind_of(value)}")
    return value


def _object(given: dict[str, Any], key: str, where: Sequence[object]) -> dict[str, Any]:
    value = given.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong([*where, key], f"expected an object, got {kind_of(value)}")
    return value


def _list(given: dict[str, Any], key: str) -> list[Any]:
    value = given.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong([key], f"expected a list, got {kind_of(value)}")
    return value


def _wrong(loc: Sequence[object], msg: str, code: str = "wrong_type") -> Refused:
    return bad_events([{"loc": list(loc), "code": code, "msg": msg}])
