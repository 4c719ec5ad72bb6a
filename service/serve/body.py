"""Reading a request's body, within limits. Knows ASGI; does not know JSON.

Never holds more than the limit and one chunk, and all bodies together never more than their room.
A body that is too large, encoded in a way that is
not read, or too slow to arrive is Refused; a client that went away is Disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

from service.serve.problems import Refused

PATIENCE_S = 30.0
"""Longest time a body may take to arrive."""


class Disconnected(Exception):
    """The client went away before its request was whole. Caller: send nothing."""


class Room:
    """How many bytes of bodies one worker holds at once; without it clients would decide that."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Hold bytes of one request until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self._left += share.held

    def take(self, nbytes: int) -> None:
        """Refused (OVERLOADED) where there is no room for so many bytes more."""
        if nbytes > self._left:
            raise Refused("OVERLOADED", "too many large requests at once", retry_after_s=1)
        self._left -= nbytes


class Share:
    """What one request holds of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.held = 0

    def take(self, nbytes: int) -> None:
        self._room.take(nbytes)
        self.held += nbytes


async def read_body(
    scope: Scope, receive: Receive, most_bytes: int, share: Share | None = None,
    *, setting: str | None = "api.max_body_bytes",
) -> bytes:  # fmt: skip
    """Return the whole body; it counts against `share` where there is one.

    setting: what is named as the limit to whoever sends more; None: it cannot be set.
    """
    _check_headers(scope, most_bytes, setting)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return _within(message.get("body", b""), most_bytes, setting)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > most_bytes:
                    raise _too_large(most_bytes, setting)
                if share is not None:
                    share.take(len(chunks[-1]))
                if not message.get("more_body", False):
                    return b"".join(chunks)
                message = await receive()
    except TimeoutError:
        detail = f"{size} bytes arrived within {PATIENCE_S:g} s"
        raise Refused("TIMEOUT", detail, headers=[(b"connection", b"close")]) from None


def _check_headers(scope: Scope, most_bytes: int, setting: str | None) -> None:
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            shown = value.decode("latin-1")
            raise Refused("UNSUPPORTED_MEDIA_TYPE", f"content-encoding {shown!r}: send it plain")
        if name == b"content-length" and value.isdigit() and int(value[:20]) > most_bytes:
            raise _too_large(most_bytes, setting)


def _within(body: bytes, most_bytes: int, setting: str | None) -> bytes:
    if len(body) > most_bytes:
        raise _too_large(most_bytes, setting)
    return body


def _too_large(most_bytes: int, setting: str | None) -> Refused:
    named = "" if setting is None else f" ({setting})"
    return Refused("TOO_LARGE", f"a body holds at most {most_bytes} bytes here{named}; send fewer")
