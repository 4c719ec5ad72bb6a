"""A bad network: a TCP proxy on loopback that delays, resets, swallows and half closes."""

from __future__ import annotations

import queue
import random
import socket
import struct
import threading
import time
from types import TracebackType

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to `target` (a port of 127.0.0.1) as badly as it is told.

    delay_s: how much later everything arrives, both ways. reset_share: of the chunks that pass,
    how many end their connection with a reset. cut_share: the same, but half of the chunk still
    arrives. swallowing: nothing passes, nothing is closed; what
    was sent arrives when it ends. `half_open` makes the present connections deaf for ever.
    """

    def __init__(self) -> None:
        self.target = 0
        self.delay_s = 0.0
        self.reset_share = 0.0
        self.cut_share = 0.0
        self.resets = 0
        self._passes = threading.Event()
        self._passes.set()
        self._links: list[_Link] = []
        self._random = random.Random(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._passes.set()
        self._listener.close()
        for link in self._links:
            link.close()

    def swallow(self) -> None:
        """Let nothing pass."""
        self._passes.clear()

    def half_open(self) -> None:
        """What is connected now stays connected, and hears nothing ever again."""
        for link in self._links:
            link.deaf = True

    def heal(self) -> None:
        """Be a good network."""
        self.delay_s = self.reset_share = self.cut_share = 0.0
        self._passes.set()

    def passing(self, data: bytes) -> bytes | None:
        """Draw how much of a chunk passes: all, half (then a reset), or None (a reset at once)."""
        drawn = self._random.random()
        if drawn >= self.reset_share + self.cut_share:
            return data
        self.resets += 1
        return data[: len(data) // 2] if drawn < self.cut_share else None

    def wait_until_it_passes(self) -> None:
        """Return at once, but not while swallowing."""
        self._passes.wait()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            try:
                self._links.append(_Link(self, client, server))
            except OSError:  # one side has gone already
                client.close()
                server.close()


class _Link:
    """One connection: two directions, each read by one thread and written by another."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.deaf = False
        self._proxy = proxy
        self._ends = (client, server)
        for end in self._ends:  # before the first thread, which may close them
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((client, server), (server, client)):
            waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=self._read, args=(source, waiting), daemon=True).start()
            threading.Thread(target=self._write, args=(sink, waiting), daemon=True).start()

    def close(self, *, reset: bool = False) -> None:
        """End both sides, with a reset or with a goodbye."""
        for end in self._ends:
            try:
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.shutdown(socket.SHUT_RD)  # wakes who reads it: only then it is closed
                else:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has gone already
            finally:
                end.close()

    def _read(self, source: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"x"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self._proxy.delay_s, data))

    def _write(self, sink: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        while True:
            due_s, data = waiting.get()
            time.sleep(max(0.0, due_s - time.monotonic()))  # the delay is what this is for
            self._proxy.wait_until_it_passes()
            if self.deaf:
                continue
            if not data:
                self.close()
                return
            passed = self._proxy.passing(data)
            try:
                sink.sendall(passed or b"")
            except OSError:
                self.close()
                return
            if passed is not data:
                self.close(reset=True)
                return
