"""From the body of a prediction request to its events.

Knows the JSON of a request. Does not know fields (the decoder does) or HTTP. Nothing a client can
send raises anything but Refused.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

import msgspec

from service.serve import signs
from service.serve.problems import MOST_ERRORS, Refused, bad_events
from service.serve.ranking import Top, read_top

_decoder = msgspec.json.Decoder()
_lenient = msgspec.json.Decoder(float_hook=float)  # 1e400 becomes infinite: a fault of its field
KNOWN = ("events", "candidates", "context", "top")
"""What a request may hold."""
_SHOWN = 64
MOST_BOXES_PER_EVENT = 8
"""Objects and lists in a request, per event that it may hold."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Asked(msgspec.Struct):
    """A request: its events, each with the context in it, and which of them are wanted."""

    events: list[object]
    given: list[object]
    """The events as they were given, without the context."""
    top: Top | None = None
    name: str = "events"
    """What the request calls them: events, or candidates."""


def read_request(body: bytes, most_events: int, most_bytes: int) -> Asked:
    """Return what a request asks for. most_bytes: of the context, once for each candidate."""
    if body.count(b",") >= most_events:
        _refuse_too_many(body, most_events)  # before Python makes an object of each
    request = read_json(body)
    if not isinstance(request, dict):
        raise _wrong([], f'expected an object {{"events": [...]}}, got {kind_of(request)}')
    name = "candidates" if "candidates" in request else "events"
    if name == "candidates" and "events" in request:
        raise _wrong(["events"], 'the request has "events" and "candidates"', "unknown_field")
    if name not in request:
        odd = next((each for each in request if each not in KNOWN), None)
        said = "" if odd is None else f': "{odd[:_SHOWN]}" {_not_known(odd)}'
        raise _wrong(["events"], f'the request has no "events"{said}', "missing_field")
    _refuse_unknown(request)
    _refuse_doubled(request, body)
    events = request[name]
    if not isinstance(events, list):
        raise _wrong([name], f"expected a list of events, got {kind_of(events)}")
    if len(events) > most_events:
        raise _too_many(f"{len(events)} {name}", most_events)
    top = read_top(request["top"]) if "top" in request else None
    if "context" not in request:
        return Asked(events, events, top, name)
    if name == "events":
        raise _wrong(["context"], 'goes with "candidates", not with "events"', "unknown_field")
    return Asked(_with(request["context"], events, most_bytes), events, top, name)


def _refuse_unknown(request: dict[str, object]) -> None:
    """What is not known would be asked for in vain: a misspelt "top" gives every prediction."""
    unknown = [name for name in request if name not in KNOWN]
    if not unknown:
        return
    errors: list[dict[str, object]] = [
        {"loc": [name[:_SHOWN]], "code": "unknown_field", "msg": _not_known(name)}
        for name in unknown[:MOST_ERRORS]
    ]
    raise Refused("BAD_REQUEST", f'"{unknown[0][:_SHOWN]}" {_not_known(unknown[0])}', errors=errors)


def _not_known(name: str) -> str:
    close = difflib.get_close_matches(name[:_SHOWN].lower(), KNOWN, n=1)
    meant = f'; did you mean "{close[0]}"?' if close else "."
    return f"is not known here{meant} Known are {', '.join(KNOWN)}"


def _refuse_doubled(request: dict[str, object], body: bytes) -> None:
    """Of a name that stands twice one would be taken, and nobody knows which."""
    held = [name for name in KNOWN if name in request and body.count(f'"{name}"'.encode()) > 1]
    if not held:
        return
    names = _names(body)
    for name in held:
        if names.count(name) < 2:
            continue
        msg = f'the request has "{name}" twice'
        if name in {"events", "candidates"}:
            raise _wrong([name], msg, "duplicate_field")
        error: dict[str, object] = {"loc": [name], "code": "duplicate_field", "msg": msg}
        raise Refused("BAD_REQUEST", f"{msg}: say it once", errors=[error])


def _with(context: object, candidates: list[object], most_bytes: int) -> list[object]:
    """Return each candidate with the fields of the context that it does not have itself."""
    if not isinstance(context, dict):
        raise _wrong(["context"], f"expected an object, got {kind_of(context)}")
    size = len(msgspec.json.encode(context)) * len(candidates)
    if size > most_bytes:
        detail = f"the context of each candidate makes {size} bytes; {most_bytes} are the most"
        raise Refused("TOO_LARGE", f"{detail}: a shorter context, or fewer candidates")
    return [{**context, **one} if isinstance(one, dict) else one for one in candidates]


def _refuse_too_many(body: bytes, most_events: int) -> None:
    """Refuse a list that is too long, or too many objects and lists, by their signs alone.

    A million empty events are three megabytes, and a hundred as Python's objects.
    """
    found = signs.count(body)
    if found.boxes > MOST_BOXES_PER_EVENT * most_events:
        raise _too_many(f"{found.boxes} objects and lists", most_events)
    if found.items > most_events and b'"context"' not in body and body.lstrip()[:1] == b"{":
        raise _too_many(f"{found.items} events", most_events)


def _too_many(what: str, most_events: int) -> Refused:
    return Refused("TOO_LARGE", f"{what}; a request holds at most {most_events} (api.max_events)")


def read_json(body: bytes) -> object:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        return _read_json_with_large_numbers(body)
    except _UNREADABLE as error:
        said = str(error) if body else "there is no body"
        raise Refused("BAD_JSON", f"{said}; send an object in JSON") from None


def _read_json_with_large_numbers(body: bytes) -> object:
    try:
        return _lenient.decode(body)
    except _UNREADABLE as error:
        raise Refused("BAD_JSON", str(error)) from None


def _names(body: bytes) -> list[str]:
    """Return the names at the top of a request, doubles too."""
    names: list[str] = []

    def last_object(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object is closed last

    try:
        json.loads(body, object_pairs_hook=last_object)
    except (ValueError, RecursionError) as error:  # it goes a little less deep than msgspec
        raise Refused("BAD_JSON", str(error)) from None
    return names


def kind_of(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _wrong(loc: list[object], msg: str, code: str = "wrong_type") -> Refused:
    return bad_events([{"loc": loc, "code": code, "msg": msg}])
