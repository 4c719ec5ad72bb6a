"""A server that says, byte for byte, what a test has written, one line of the script a request."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

LOST = b""
"""The connection is closed instead of a reply."""
DRIPS = b"\1"
"""A reply begins, and goes on by a byte now and then, without end."""
SILENT = b"\0"
"""Nothing is said, and the connection stays."""


def reply(status: int, body: object, **headers: str) -> bytes:
    """Return a whole reply; its body is JSON, or text as it is."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/problem+json"
    told = {"content-type": kind, **headers, "content-length": str(len(raw))}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + raw


class Scripted:
    """`with Scripted(LOST, reply(200, {})) as server:`; `heard` are the requests so far."""

    def __init__(self, *script: bytes) -> None:
        self._script: Sequence[bytes] = script
        self.heard: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._held:  # the thread may wait for one of them: it sees the end, not a gap
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for one in self._held:
            one.close()

    def _serve(self) -> None:
        left = list(self._script)
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._held.append(connection)
            while left and (heard := _request(connection)):
                self.heard.append(heard)
                said = left.pop(0)
                if said == SILENT:
                    break
                if said == DRIPS:
                    self._drip(connection)
                    break
                if said == LOST:
                    connection.close()
                    break
                connection.sendall(said)

    def _drip(self, connection: socket.socket) -> None:
        """Until the client hangs up; the end of the test is waited for by a bound of its own."""
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
        with contextlib.suppress(OSError):
            connection.sendall(head)
            for _ in range(1000):
                connection.sendall(b" ")
                if connection in select.select([connection], [], [], 0.05)[0]:
                    return  # it hung up: nothing else is there to be read


def _request(connection: socket.socket) -> bytes:
    """Read one request; empty where the client hung up, in whatever way."""
    try:
        return _whole(connection)
    except OSError:
        return b""


def _whole(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        some = connection.recv(65_536)
        if not some:
            return b""
        received += some
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        some = connection.recv(65_536)
        if not some:
            return b""
        body += some
    return head + b"\r\n\r\n" + body
