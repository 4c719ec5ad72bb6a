"""HTTP/1.1 on one connection: uvicorn's, with three manners of ours.

Knows bytes before they are requests. What is not HTTP, and a head (request line and headers) that
does not end, are answered with a problem. A worker that stops answers a connection whose first
request is still on its way, so that a client that just connected never fails.
"""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.serve.problems import Refused

MOST_HEAD_BYTES = 65_536
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

    def shutdown(self) -> None:
        """The worker stops: close when what was asked is answered."""
        if self.cycle is None and not self._stopping:
            self._stopping = True
            self.loop.call_later(LAST_CHANCE_S, self.shutdown)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
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

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

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
