"""HTTP/1.1 on one connection: uvicorn's, with four manners of ours.

Knows bytes before they are requests. What is not HTTP, and a head (request line and headers) that
does not end, are answered with a problem; so is one that takes too long, for connections are few
and whoever says nothing must not hold one. A worker that stops answers a connection whose first
request is still on its way, so that a client that just connected never fails.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.serve.problems import Refused

MOST_HEAD_BYTES = 65_536
HEAD_S = 20.0
"""Longest time a head may take to arrive; also what is left of a body that was refused."""
LAST_CHANCE_S = 0.5
_UPGRADE = re.compile(rb"(?i)(?<=\r\n)upgrade(?=[ \t]*:)")
_ASIDE = b"x-other"
"""As long. Java's client offers h2c with every request; no upgrade is to be had here (RFC 9110,
7.8: ignore it), but the parser would end the message there and drop its body."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._stopping = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The worker stops: close when what was asked is answered."""
        if self.cycle is None and not self._stopping:
            self._stopping = True
            self.loop.call_later(LAST_CHANCE_S, self.shutdown)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._expect_nothing()
        super().on_headers_complete()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            head, end, body = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(_ASIDE, head) + end + body
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(Refused("HEADERS_TOO_LARGE", f"at most {MOST_HEAD_BYTES} bytes"))
        elif self._in_head and self._head_bytes and self._late is None:
            self._expect()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._expect_nothing()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._expect()  # the rest of a body that nobody will read

    def _expect(self) -> None:
        """Something must arrive whole within HEAD_S."""
        self._expect_nothing()
        self._late = self.loop.call_later(HEAD_S, self._too_late)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes:
            self._refuse(Refused("TIMEOUT", f"the head was not whole within {HEAD_S:g} s"))
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused("BAD_REQUEST", msg))

    def _refuse(self, refused: Refused) -> None:
        request_id = uuid.uuid4().hex
        body = refused.body(request_id)
        headers = [
            *self.server_state.default_headers,
            *refused.headers(),
            (b"x-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        status = HTTPStatus(refused.status)
        first = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(first + lines + b"\r\n" + body)
        self.transport.close()
