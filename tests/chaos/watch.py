"""The clients: they ask all the time, over connections that stay, and write down what they saw.

A request under way in a killed worker loses its connection: it is repeated once, and counted.
Whatever else is not a prediction is a failed one.
"""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

CLIENTS = 3
PAUSE_S = 0.03
PATIENCE_S = 60.0
_BODY = json.dumps({"events": [{"id": "asked"}]}).encode()
_JSON = {"Content-Type": "application/json"}


class Seen:
    """What all clients saw together. Times are the machine's monotonic clock, which all share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests = 0
        self.slowest_s = 0.0
        self.retried: list[float] = []
        self.failed: list[tuple[float, str]] = []
        self.versions: dict[tuple[str, int], None] = {}
        self.digests: dict[tuple[str, int], Any] = {}
        self.conflicts: list[tuple[str, int]] = []
        self.went_back: list[dict[str, Any]] = []
        self.lineages: list[tuple[str, float]] = []
        self.newest: tuple[str, int] | None = None

    def saw(self, before: tuple[str, int] | None, model: dict[str, Any], seconds: float) -> None:
        """One reply. `before`: the newest that any client had seen when this was asked."""
        key = (str(model["lineage"]), int(model["version"]))
        now = time.monotonic()
        with self.lock:
            self.requests += 1
            self.slowest_s = max(self.slowest_s, seconds)
            self.versions[key] = None
            if before is not None and before[0] == key[0] and key[1] < before[1]:
                self.went_back.append({"at": now, "from": before, "to": key})
            if self.newest is None or self.newest[0] != key[0]:
                self.lineages.append((key[0], now))
                self.newest = key
            elif key[1] > self.newest[1]:
                self.newest = key
            digest = model.get("digest")
            if digest is not None and self.digests.setdefault(key, digest) != digest:
                self.conflicts.append(key)

    def told(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        with self.lock:
            return {
                "requests": self.requests,
                "slowest_s": round(self.slowest_s, 3),
                "retried": self.retried,
                "failed": self.failed,
                "versions": list(self.versions),
                "digests": [[*key, digest] for key, digest in self.digests.items()],
                "conflicts": self.conflicts,
                "went_back": self.went_back,
                "lineages": self.lineages,
            }


WORKERS = 2
ATTEMPTS = 1 + WORKERS
"""A request is sent again once for each worker that may be killed under it."""


class Client(threading.Thread):
    """One client with one connection."""

    def __init__(self, port: int, seen: Seen, stop: threading.Event, phase: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._seen = seen
        self._stop_asked = stop
        self._turn = phase
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Until told to stop."""
        while not self._stop_asked.wait(PAUSE_S):
            self._turn += 1
            self._ask(digest=self._turn % 6 == 0)

    def _ask(self, *, digest: bool) -> None:
        before, began = self._seen.newest, time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, body = self._once(digest=digest)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                self._lost(error, attempt)
                if attempt == ATTEMPTS or isinstance(error, ConnectionRefusedError):
                    return
                continue
            if status != 200:
                with self._seen.lock:
                    self._seen.failed.append((time.monotonic(), f"{status} {body[:300]!r}"))
                return
            reply = json.loads(body)
            model = reply if digest else reply["model"]
            self._seen.saw(before, model, time.monotonic() - began)
            return

    def _once(self, *, digest: bool) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, PATIENCE_S)
        if digest:
            self._connection.request("GET", "/v1/model?digest=true")
        else:
            self._connection.request("POST", "/v1/predict?model=brief", _BODY, _JSON)
        with self._connection.getresponse() as reply:
            return reply.status, reply.read()

    def _lost(self, error: Exception, attempt: int) -> None:
        now, refused = time.monotonic(), isinstance(error, ConnectionRefusedError)
        with self._seen.lock:
            if attempt == ATTEMPTS or refused:
                self._seen.failed.append((now, f"{type(error).__name__}: {error}"))
            else:
                self._seen.retried.append(now)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def watch(port: int, told: Path) -> None:
    """Ask until SIGTERM, then write what was seen to `told`."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    seen = Seen()
    clients = [Client(port, seen, stop, phase * 2) for phase in range(CLIENTS)]
    for client in clients:
        client.start()
    while not stop.wait(1.0):
        pass
    for client in clients:
        client.join(PATIENCE_S)
    told.write_text(json.dumps(seen.told()))
