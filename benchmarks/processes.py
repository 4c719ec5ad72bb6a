"""Child processes to measure: the real service, and helpers of ours. Started here, stopped by pid.

The service is watched through its live file, as its own API workers do; nothing in it knows that
it is measured. No variable of the caller's environment is a setting of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks import machine
from benchmarks.results import Failed
from service import settings
from service.weights.live import LiveReader

PREDICT = "/v1/predict"
CHECKOUT = Path(__file__).parent.parent
_STOP_S = 30.0
_LAST_LINES = 20


class Process:
    """One child; what it says goes to files. Use as a context manager."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log, self._output = log, log.with_suffix(".out")
        with log.open("wb") as errors, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment(),
                start_new_session=True,  # Ctrl-C at a terminal is for us alone
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written to stdout."""
        return self._output.read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise Failed with its last words if it has ended."""
        if (code := self._process.poll()) is not None:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise Failed(f"a process ended with {code} while it was measured:\n{last}")

    def wait(self, timeout_s: float) -> None:
        """Wait for its own end, which must be a good one."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"a process did not end in {timeout_s:g} s") from None
        if code != 0:
            self.check()

    def until_answering(self, url: str, body: bytes, timeout_s: float) -> None:
        """Wait until this process answers a POST."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.check()
            try:
                with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5.0):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise Failed(f"{url} does not answer: {error}") from None
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Service(Process):
    """`headwater COMMAND` with these settings, from nothing, in a folder of its own."""

    def __init__(self, command: str, tree: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        config = folder / "settings.yaml"  # JSON is YAML
        tree = tree | {"state": {"directory": str(folder / "state")}}
        config.write_bytes(msgspec.json.encode(tree))
        self._folder = folder
        self.settings = settings.load(config, environment={})
        self.runtime = settings.runtime_directory(self.settings)
        self.state = settings.state_directory(self.settings)
        super().__init__(
            module("service", command, "--config", str(config)), folder / "service.log"
        )
        self.live = LiveReader(self.runtime)

    def until(self, met: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Poll what is published every millisecond or two; return the first meta that meets it."""
        deadline = time.monotonic() + timeout_s
        while True:
            meta = self.published()
            if meta is not None and met(meta):
                return meta
            now = time.monotonic()
            if now > deadline:
                seen = None if meta is None else meta["events_learned"]
                raise Failed(f"not learned in {timeout_s:g} s; events learned by then: {seen}")
            self.check()
            time.sleep(0.002)

    def published(self) -> dict[str, Any] | None:
        """Return what the live file says of its present version."""
        self.live.refresh()
        with self.live.pinned() as slot:
            return None if slot is None else slot.meta

    def learner_pid(self) -> int:
        """Return the pid of the learner, as its heartbeat says."""
        heartbeat = self.live.heartbeat()
        if heartbeat is None:
            raise Failed("the learner gives no sign of life")
        return int(heartbeat["pid"])

    def worker_pid(self) -> int | None:
        """Return the pid of the one API worker of `run`; None where nobody says."""
        others = [pid for pid in machine.children(self.pid) if pid != self.learner_pid()]
        return others[0] if len(others) == 1 else None

    def stop(self) -> None:
        self.live.close()
        super().stop()
        shutil.rmtree(self.runtime, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line of a module of this checkout."""
    return [sys.executable, "-P", "-m", name, *arguments]


def environment() -> dict[str, str]:
    """Return ours for a child: this checkout found, no settings in it."""
    ours = dict(os.environ)  # noqa: TID251 - handed on to children, not read
    inherited = {name: text for name, text in ours.items() if not name.startswith("HEADWATER_")}
    paths = [str(CHECKOUT), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(paths)}


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
