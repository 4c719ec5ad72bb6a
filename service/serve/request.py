"""From the body of a prediction request to its events.

Knows the JSON of a request. Does not know fields (the decoder does) or HTTP. Nothing a client can
send raises anything but Refused.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from service.serve import signs
from service.serve.problems import Refused, bad_events

_decoder = msgspec.json.Decoder()
_lenient = msgspec.json.Decoder(float_hook=float)  # 1e400 becomes infinite: a fault of its field
MOST_BOXES_PER_EVENT = 8
"""Objects and lists in a request, per event that it may hold."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_events(body: bytes, most_events: int) -> list[object]:
    """Return the events of a request as JSON gave them."""
    if body.count(b",") >= most_events:
        _refuse_too_many(body, most_events)  # before Python makes an object of each
    request = _read_json(body)
    if not isinstance(request, dict):
        raise _wrong([], f'expected an object {{"events": [...]}}, got {_kind(request)}')
    if "events" not in request:
        raise _wrong(["events"], 'the request has no "events"', "missing_field")
    events = request["events"]
    if not isinstance(events, list):
        raise _wrong(["events"], f"expected a list of events, got {_kind(events)}")
    if body.count(b'"events"') > 1 and _names_events_twice(body):
        raise _wrong(["events"], 'the request has "events" twice', "duplicate_field")
    if len(events) > most_events:
        raise _too_many(f"{len(events)} events", most_events)
    return events


def _refuse_too_many(body: bytes, most_events: int) -> None:
    """Refuse a list that is too long, or too many objects and lists, by their signs alone.

    A million empty events are three megabytes, and a hundred as Python's objects.
    """
    found = signs.count(body)
    if found.boxes > MOST_BOXES_PER_EVENT * most_events:
        raise _too_many(f"{found.boxes} objects and lists", most_events)
    if found.items > most_events and body.lstrip()[:1] == b"{":
        raise _too_many(f"{found.items} events", most_events)


def _too_many(what: str, most_events: int) -> Refused:
    return Refused("TOO_LARGE", f"{what}; a request holds at most {most_events} (api.max_events)")


def _read_json(body: bytes) -> object:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        return _read_json_with_large_numbers(body)
    except _UNREADABLE as error:
        raise Refused("BAD_JSON", str(error)) from None


def _read_json_with_large_numbers(body: bytes) -> object:
    try:
        return _lenient.decode(body)
    except _UNREADABLE as error:
        raise Refused("BAD_JSON", str(error)) from None


def _names_events_twice(body: bytes) -> bool:
    names: list[str] = []

    def last_object(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object is closed last

    try:
        json.loads(body, object_pairs_hook=last_object)
    except (ValueError, RecursionError) as error:  # it goes a little less deep than msgspec
        raise Refused("BAD_JSON", str(error)) from None
    return names.count("events") > 1


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _wrong(loc: list[object], msg: str, code: str = "wrong_type") -> Refused:
    return bad_events([{"loc": loc, "code": code, "msg": msg}])
