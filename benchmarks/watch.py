"""Who looks at what a running service says of its version, as often as is sensible, and notes when.

Two ways: replies of /v1/predict, as a client sees them, and the live file that they are made
from. Each in a thread of its own; whole replies, because brief ones leave the offsets out.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import PREDICT
from service.weights.live import LiveReader

_PAUSE_S = 0.001


class Sight(msgspec.Struct, frozen=True):
    """What was said of a version, and when it was heard (wall clock, ns)."""

    seen_ns: int
    version: int
    lineage: str
    events_learned: int
    through: tuple[int, ...]


class Watcher(threading.Thread):
    """Looks until it is told to stop; `sights` in order. `error`: what ended it early."""

    def __init__(self, name: str, look: Callable[[], Sight | None]) -> None:
        super().__init__(name=name, daemon=True)
        self.sights: list[Sight] = []
        self.error: Exception | None = None
        self._look = look
        self._done = threading.Event()

    def run(self) -> None:
        try:
            while not self._done.is_set():
                sight = self._look()
                if sight is not None:
                    self.sights.append(sight)
                time.sleep(_PAUSE_S)
        except Exception as error:  # noqa: BLE001 - raised again where it is joined
            self.error = error

    def stop(self) -> None:
        """Stop looking; raise what went wrong meanwhile."""
        self._done.set()
        self.join()
        if self.error is not None:
            raise self.error

    @property
    def last(self) -> Sight | None:
        """What was seen last."""
        return self.sights[-1] if self.sights else None

    def through(self) -> NDArray[np.int64]:
        """Return [K, partitions]: what each sight had learned."""
        return np.array([sight.through for sight in self.sights], dtype=np.int64)


def replies(port: int, body: bytes, topic: str) -> Callable[[], Sight | None]:
    """Return what asks for a prediction over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    headers = {"content-type": "application/json"}
    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def look() -> Sight | None:
        connection.request("POST", PREDICT, body, headers)
        reply = connection.getresponse()
        text = reply.read()
        seen_ns = time.time_ns()
        if reply.status != 200:
            raise ConnectionError(f"/v1/predict answered {reply.status}: {text.decode()}")
        return _sight(seen_ns, decode(text)["model"], topic)

    return look


def publications(runtime: Path, topic: str) -> Callable[[], Sight | None]:
    """Return what reads the live file; a sight for each version that was not seen before."""
    reader = LiveReader(runtime)
    last: list[int] = [-1]

    def look() -> Sight | None:
        with reader.pinned() as slot:
            meta = None if slot is None else slot.meta
        if meta is None:
            reader.refresh()
            return None
        if meta["version"] == last[0]:
            return None
        last[0] = meta["version"]
        return _sight(time.time_ns(), meta, topic)

    return look


def _sight(seen_ns: int, model: dict[str, Any], topic: str) -> Sight:
    offsets = model["trained_through"][topic]
    return Sight(
        seen_ns,
        model["version"],
        model["lineage"],
        model["events_learned"],
        tuple(offsets[str(partition)] for partition in range(len(offsets))),
    )
