"""Load for an HTTP endpoint: as many POSTs as it answers, over a few connections, none idle.

`wrk` where it is installed, else a small client of our own that does the same: each connection
sends the next body as soon as it has its answer. So latencies are those of an endpoint that is
busy all the time, and grow with CONNECTIONS. An answer that is not 200 fails the measurement.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import numpy as np
import uvloop

from benchmarks.results import Failed

CONNECTIONS = 16
_GRACE_S = 30.0
_SCRIPT = """
local requests, at = {}, 0
init = function(args)
  local headers = {["content-type"] = "application/json"}
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"failed":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Loaded(msgspec.Struct, frozen=True):
    """What came of it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def generator() -> str:
    """Return the name of the load generator that is used here."""
    return "wrk" if shutil.which("wrk") else "a client of our own (wrk is not installed)"


def load(url: str, bodies: Sequence[bytes], seconds: float, folder: Path) -> Loaded:
    """Ask for so long, going round the bodies. Raises Failed if anything was not answered."""
    if shutil.which("wrk"):
        loaded = _wrk(url, bodies, seconds, folder)
    else:
        loaded = own(url, bodies, seconds)
    if loaded.failed or not loaded.requests:
        raise Failed(f"{loaded.failed} of {loaded.requests} requests to {url} failed")
    return loaded


def own(url: str, bodies: Sequence[bytes], seconds: float) -> Loaded:
    """Ask with the client of our own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask(url, bodies, seconds))


def _wrk(url: str, bodies: Sequence[bytes], seconds: float, folder: Path) -> Loaded:
    script, file = folder / "wrk.lua", folder / "bodies"
    script.write_text(_SCRIPT)
    file.write_bytes(b"\n".join(bodies))
    for_s = max(1, round(seconds))  # it counts in whole seconds
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{for_s}", "-s", str(script), url]
    done = subprocess.run(
        [*command, "--", str(file)],
        capture_output=True,
        text=True,
        timeout=for_s + _GRACE_S,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"wrk failed: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout[done.stdout.rindex("{") :], type=Loaded)


async def _ask(url: str, bodies: Sequence[bytes], seconds: float) -> Loaded:
    where = urlsplit(url)
    assert where.hostname is not None, "a URL names its host"
    assert where.port is not None, "a server under test has a port of its own"
    head = f"POST {where.path} HTTP/1.1\r\nhost: {where.netloc}\r\n"
    head += "content-type: application/json\r\ncontent-length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    loop = asyncio.get_running_loop()
    began_s = time.monotonic()
    clients = []
    for n in range(CONNECTIONS):
        make = partial(_Client, requests, n, began_s + seconds)
        _, client = await loop.create_connection(make, where.hostname, where.port)
        clients.append(client)
    async with asyncio.timeout(seconds + _GRACE_S):
        await asyncio.gather(*(client.ended for client in clients))
    took_s = time.monotonic() - began_s
    latencies = np.array([s for client in clients for s in client.latencies_s]) * 1e3
    failed = sum(client.failed for client in clients)
    if not len(latencies):
        return Loaded(0, took_s, 0.0, 0.0, failed)
    p50, p99 = np.quantile(latencies, [0.5, 0.99]).tolist()
    return Loaded(len(latencies), took_s, p50, p99, failed)


class _Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, requests: Sequence[bytes], first: int, deadline_s: float) -> None:
        self.latencies_s: list[float] = []
        self.failed = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._at = first
        self._deadline_s = deadline_s
        self._asked_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser when an answer is whole."""
        now_s = time.monotonic()
        self.latencies_s.append(now_s - self._asked_s)
        self.failed += self._parser.get_status_code() != 200
        if now_s < self._deadline_s:
            self._next()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if time.monotonic() < self._deadline_s:
            self.failed += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _next(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        request = self._requests[self._at % len(self._requests)]
        self._at += CONNECTIONS
        self._asked_s = time.monotonic()
        self._transport.write(request)
