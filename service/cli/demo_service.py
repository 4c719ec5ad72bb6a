"""`headwater run` for the demo, in a folder of its own: started, waited for, asked, ended."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ruamel.yaml import YAML

from service import settings
from service.cli.demo_folder import hold
from service.cli.demo_waiting import reason_in, started_in, troubles_in, wait_for_end, waiting
from service.errors import BrokerAway, HeadwaterError
from service.progress import Lines, Pace
from service.serve.listening import url_of
from service.stream.embedded import address
from service.supervise import environment, python

PATIENCE_S = 600.0
"""A first start compiles the code of the model, which takes long on a busy machine."""
_LOOK_S = 0.05
_QUIET_S = 3.0
"""A start that takes no longer needs no word."""
_END_S = 3.5
"""The second signal has killed what would take longer; this is for a supervisor that hangs."""
_USUAL_PORT = 8080
_HERE = "127.0.0.1"
_REPLY_S = 30.0
"""A stalled machine is no failed prediction."""
_FIRST_S = 1.0
"""Before the first answer nothing can fail, and a signal must not wait."""
_LAST = 20_000
"""Requests that the times on the screen are of."""
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""The service is on this machine: no proxy is asked."""


class PortTaken(Exception):
    """The port that the user wants for the API is not to be had."""


class DemoService:
    """A running service. Use as a context manager; nothing of it outlives the block.

    `tree`: its settings, but for folders and the port.
    """

    def __init__(
        self, folder: Path, tree: dict[str, Any], port: int | None, stopped: Callable[[], bool]
    ) -> None:
        """Take a port. Raises PortTaken."""
        self._listener = _listen(port)
        self.url = url_of(self._listener)
        self._folder = folder
        self.config = folder / "demo.yaml"
        self._log = folder / "run.log"
        self._stopped = stopped
        own = {
            "state": {"directory": str(folder / "state")},
            "runtime": {"directory": str(folder / "runtime")},
            "api": {"host": _HERE, "port": self._listener.getsockname()[1]},
        }
        with self.config.open("w") as file:
            YAML().dump(tree | own, file)
        self._settings = settings.load(self.config, environment={})
        self.runtime = settings.runtime_directory(self._settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._latencies: deque[float] = deque(maxlen=_LAST)
        self._answered = 0
        self.failed = 0
        self._waits_for: str | None = None
        self.model: dict[str, Any] = {}
        """What the last reply said of the version it came from."""

    def __enter__(self) -> DemoService:
        watched, self._alive = os.pipe()  # closes when we end, whatever ends us
        in_use = hold(self._folder)  # for as long as the service runs, should it outlive us
        handed = [watched, self._listener.fileno(), in_use]
        given = ["--parent-fd", str(watched), "--listening-fd", str(self._listener.fileno())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                python("run", "--config", str(self.config), *given),
                stderr=log, stdout=log, pass_fds=handed, start_new_session=True,
                env=_environment(),
            )  # fmt: skip
        self._listener.close()
        os.close(watched)
        os.close(in_use)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None, "entered"
        self._process.send_signal(signal.SIGTERM)
        os.close(self._alive)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # its children too: the session is theirs
            self._process.wait()
        if self._process.returncode < 0:  # killed: its children see that, and end by themselves
            wait_for_end(started_in(self._log.read_text(errors="replace")), _END_S)

    def close(self) -> None:
        """Give the port back, where the service was never started."""
        self._listener.close()

    def bootstrap(self) -> str:
        """Return where Kafka is; of the embedded broker as soon as it answers."""
        named = self._settings.kafka.bootstrap_servers
        if named != "embedded":
            return named
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._stopped():
            self.check()
            try:
                return address(self.runtime)
            except BrokerAway:
                time.sleep(_LOOK_S)
        raise HeadwaterError(f"the service did not start:\n{self._last_words()}")

    def check(self) -> None:
        """Raise HeadwaterError, with its last words, where the service has ended."""
        assert self._process is not None, "entered"
        if self._process.poll() is not None:
            raise HeadwaterError(f"the service ended early:\n{self._last_words()}")

    def first(
        self, events: list[dict[str, Any]], say: Callable[[str], None] = lambda _: None
    ) -> list[float]:
        """Wait for the first predictions there are; before anything is learned they are 0.5.

        say: told what is waited for, now and then, where that takes longer than a moment.
        """
        began = time.monotonic()
        lines = Lines(
            Pace(""),
            lambda _: say(waiting(self._waits_for, time.monotonic() - began)),
            after_s=_QUIET_S,
        )
        while (scores := self.ask(events)) is None:
            self.check()
            if self._stopped() or time.monotonic() > began + PATIENCE_S:
                raise HeadwaterError(f"the service did not start:\n{self._last_words()}")
            self._give_up_on_trouble()
            lines.look()
            time.sleep(_LOOK_S)
        return scores

    def _give_up_on_trouble(self) -> None:
        """Raise HeadwaterError where a part of the service has ended twice, saying why."""
        troubles = troubles_in(self._log.read_text(errors="replace"))
        if len(troubles) > 1:
            raise HeadwaterError(
                f"the service does not start: {troubles[-1]}\n"
                f"All that the demo has is in {self._folder}; TMPDIR names another place for it."
            )

    def ask(self, events: list[dict[str, Any]]) -> list[float] | None:
        """Return predictions, None while there are none; what fails is counted from the first on."""
        body = msgspec.json.encode({"events": events})
        request = urllib.request.Request(f"{self.url}/v1/predict", body, method="POST")
        began = time.monotonic()
        try:
            with _open(request, timeout=_REPLY_S if self._latencies else _FIRST_S) as reply:
                answer = msgspec.json.decode(reply.read())
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            self.failed += bool(self._latencies)
            self._waits_for = reason_in(error)
            return None
        self._latencies.append(time.monotonic() - began)
        self._answered += 1
        self.model = answer["model"]
        return [p["click"] for p in answer["predictions"]]

    @property
    def requests(self) -> int:
        """How many were sent since the first that was answered."""
        return self._answered + self.failed

    def answered_in_ms(self) -> tuple[float | None, float | None]:
        """Return how long requests took: (median, 99th percentile)."""
        if not self._latencies:
            return None, None
        found = np.quantile(np.array(self._latencies) * 1000, [0.5, 0.99])
        return round(float(found[0]), 3), round(float(found[1]), 3)

    def freshness_ms(self) -> dict[str, float | None]:
        """Return how old an event is when it is in what is served: {"p50", "p99"}."""
        lines = self._metric("headwater_freshness_seconds_bucket")
        return {"p50": from_buckets(lines, 0.5), "p99": from_buckets(lines, 0.99)}

    def lag(self) -> int | None:
        """Return how many records are not learned yet; None where nobody can tell."""
        try:
            with _open(f"{self.url}/v1/model", timeout=_REPLY_S) as reply:
                found: int | None = msgspec.json.decode(reply.read())["learner"]["lag_records"]
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return None
        return found

    def _metric(self, name: str) -> list[str]:
        try:
            with _open(f"{self.url}/metrics", timeout=_REPLY_S) as reply:
                lines = reply.read().decode().splitlines()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return []
        return [line for line in lines if line.startswith(name)]

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


def from_buckets(lines: list[str], q: float) -> float | None:
    """Return a quantile in milliseconds of a histogram's lines, interpolated as Prometheus does.

    >>> lines = ['x{le="0.1"} 0', 'x{le="0.2"} 10', 'x{le="+Inf"} 10']
    >>> from_buckets(lines, 0.5)
    150.0
    """
    buckets = sorted(
        (float(line.partition('le="')[2].partition('"')[0]), float(line.rpartition(" ")[2]))
        for line in lines
    )
    if not buckets or not buckets[-1][1]:
        return None
    rank, below, counted = q * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= rank:
            edge = below if edge == float("inf") else edge
            return round(1000 * (below + (edge - below) * (rank - counted) / (count - counted)), 2)
        below, counted = edge, count
    return None


def _environment() -> dict[str, str]:
    """Return ours without what would change the demo's settings."""
    return {
        name: value
        for name, value in environment().items()
        if not name.startswith("HEADWATER_") or name.startswith("HEADWATER_CRASHPOINT")
    }


def _listen(wanted: int | None) -> socket.socket:
    """Listen on the wanted port; without a wish on the usual one, or any if that is taken.

    The socket is handed on, so nobody can take the port in between.
    """
    port = _USUAL_PORT if wanted is None else wanted
    try:
        return socket.create_server((_HERE, port), backlog=2048)
    except OSError as error:
        if wanted is not None:
            raise PortTaken(_why(wanted, error)) from None
        return socket.create_server((_HERE, 0), backlog=2048)


def _why(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {_HERE} is taken by another process. "
            "Stop that process, or give another port; 0 takes any free one."
        )
    return f"port {port} on {_HERE}: {error.strerror}. Give another one; 0 takes any free one."
