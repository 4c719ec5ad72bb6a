"""The service under attack: its settings, its processes, what it says of itself.

Reads the supervisor's log for the pids of its children, and the live file for what is published.
"""

from __future__ import annotations

import bisect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from service import control
from service.errors import HeadwaterError
from service.weights.live_reader import LiveReader
from tests.chaos.events import SETTINGS
from tests.chaos.watch import WORKERS
from tests.e2e.service import CHECKOUT
from tests.processes import free_port

PATIENCE_S = 240.0


class Stuck(Exception):
    """What was waited for did not come: the round has failed."""


def until(look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return the first true value of `look`; Stuck says what never came."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Stuck(f"not within {patience_s:g} s: {what}")
        time.sleep(0.01)
    return found


class House:
    """One model's `headwater run` in a folder, started again as often as it is killed."""

    def __init__(self, folder: Path, bootstrap: str, topic: str, dead: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.runtime = folder / "run"
        self.config = folder / "headwater.yaml"
        self.crash_file = folder / "crashpoint"
        self.sections: dict[str, Any] = {
            "name": "counted",
            "kafka": {
                "bootstrap_servers": bootstrap, "topics": [topic], "dead_letter_topic": dead,
                "discovery_seconds": 0.5,
            },
            **SETTINGS,
            "state": {"directory": str(folder / "state")},
            "snapshots": {"every_seconds": 2, "keep": {"last": 3, "hourly": 1, "daily": 1}},
            "runtime": {"directory": str(self.runtime)},
            "api": {"port": self.port, "workers": WORKERS},
        }  # fmt: skip
        self.change()
        self.state_at = folder / "state" / "counted"
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: dict[str, int] = {}
        self.started_s: dict[str, float] = {}
        self._log_at = 0
        self._log_rest = b""

    def change(self, **sections: dict[str, Any]) -> None:
        """Merge sections into the settings file; the next process to start reads them."""
        for name, value in sections.items():
            self.sections[name] = {**self.sections[name], **value}
        with self.config.open("w") as file:
            YAML().dump(self.sections, file)

    def start(self) -> None:
        """Start `headwater run`; crash points come from a file that is not there yet."""
        own = dict(os.environ)  # noqa: TID251 - handed on, not read
        own |= {"HEADWATER_CRASHPOINT_FILE": str(self.crash_file), "PYTHONPATH": str(CHECKOUT)}
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "run", "--config", str(self.config),
                 "--longest-wait", "0.2"],
                cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True, env=own,
            )  # fmt: skip

    def answers(self) -> bool:
        """A prediction can be had."""
        body = json.dumps({"events": [{"id": "asked"}]}).encode()
        return self._get("/v1/predict", body)[0] == 200

    def model(self) -> dict[str, Any]:
        """/v1/model with its digest."""
        status, body = self._get("/v1/model?digest=true")
        return dict(body) if status == 200 else {}

    def look(self) -> None:
        """Read what the log has of children started since the last look."""
        with (self.folder / "run.log").open("rb") as file:
            file.seek(self._log_at)
            more = file.read()
        self._log_at += len(more)
        *lines, self._log_rest = (self._log_rest + more).split(b"\n")
        for line in lines:
            if b'"child_started"' in line:
                said = json.loads(line)
                self.pids[said["child"]] = said["pid"]
                ago_s = (
                    datetime.now(UTC) - datetime.fromisoformat(said["timestamp"])
                ).total_seconds()
                self.started_s[said["child"]] = time.monotonic() - max(0.0, ago_s)

    def pid(self, child: str) -> int:
        """The pid of a living child; 0 where it is dead at the moment."""
        self.look()
        pid = self.pids.get(child, 0)
        return pid if pid and alive(pid) else 0

    def ask(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        """One command at the side door; None when nobody answers or it is refused."""
        try:
            reply = control.ask(self.runtime / "control.sock", command, 30.0, **arguments)
        except HeadwaterError:
            return None
        return reply if reply["ok"] else None

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def kill_supervisor(self, *, with_children: bool) -> None:
        """kill -9 the parent; return when no child of it lives any more."""
        assert self.process is not None
        self.look()
        self.process.kill()
        self.process.wait()
        self.process = None
        for pid in self.pids.values():
            if with_children and alive(pid):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(alive, self.pids.values())), "the end of all children")

    def close(self) -> None:
        """Leave nothing running."""
        if self.process is not None:
            self.kill_supervisor(with_children=True)

    def last_words(self) -> str:
        """The end of the log."""
        return (self.folder / "run.log").read_text(errors="replace")[-3000:]

    def _get(self, path: str, body: bytes | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        pass
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Monitor(threading.Thread):
    """Looks at the live file a hundred times a second: when did which version go live?"""

    def __init__(self, runtime: Path) -> None:
        super().__init__(daemon=True)
        self._reader = LiveReader(runtime)
        self._stop_asked = threading.Event()
        self.times: list[float] = []
        self.versions: list[int] = []

    def run(self) -> None:
        """Until closed."""
        while not self._stop_asked.wait(0.01):
            self._reader.refresh()
            with self._reader.pinned() as slot:
                meta = slot.meta if slot is not None else None
                version = int(meta["version"]) if meta and slot and slot.intact() else None
            if version is not None and version > self.version:
                self.times.append(time.monotonic())
                self.versions.append(version)

    @property
    def version(self) -> int:
        """The newest version seen; -1 before there was one."""
        return self.versions[-1] if self.versions else -1

    def heartbeat(self) -> dict[str, Any]:
        """What the learner last said of itself."""
        return self._reader.heartbeat() or {}

    def learned_again_s(self, since_s: float) -> float | None:
        """Seconds from a moment until the next version went live; None: not yet."""
        at = bisect.bisect_right(self.times, since_s)
        return self.times[at] - since_s if at < len(self.times) else None

    def close(self) -> None:
        """Stop looking."""
        self._stop_asked.set()
        self.join()
        self._reader.close()
