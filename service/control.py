"""Both ends of the side door: a Unix socket through which the learner takes commands.

Knows the wire: one JSON object per line each way; request {"command": ..., **args}, reply
{"ok": true, ...} or {"ok": false, "error": ..., "code": ...}. Does not know what a command means.
The socket is readable by its owner only (mode 0600), from before anyone can connect to it. A
socket left behind by a dead process is replaced; one that is answered is not. A client that says
nothing, or nonsense, costs the others nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import structlog

from service.errors import HeadwaterError, LearnerAway, Locked

Reply = dict[str, Any]

_LONGEST_LINE = 1 << 20
_LONGEST_ADDRESS = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_MOST_CLIENTS = 16
_PATIENCE_S = 30.0  # for a client that connected and says nothing
_LOOK_S = 1.0  # how often a client that waits looks whether the learner lives

_log = structlog.get_logger(__name__)


class ControlServer:
    """Answers commands on `path` until closed.

    `handle` is called in the thread of the client that asked, so by several threads at once: a
    snapshot that takes long does not keep a status from being answered. What it raises becomes a
    reply with ok=false, and never ends the server.
    """

    def __init__(self, path: Path, handle: Callable[[dict[str, Any]], Reply]) -> None:
        self._path = path
        self._handle = handle
        self._clients: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = _listen(path)
        self._inode = path.stat().st_ino
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; returns when commands under way have been answered."""
        with self._lock:
            self._closing.set()
            clients = dict(self._clients)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            _connect(self._path, 0.2).close()  # macOS: shutdown does not wake accept
        self._thread.join()
        self._listener.close()
        for client in clients.values():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)
        for thread in clients:
            thread.join()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if not self._closing.wait(0.1):  # too many open files: they may close again
                    _log.warning("control_not_accepting", error=str(error))
                continue
            self._welcome(client)

    def _welcome(self, client: socket.socket) -> None:
        with self._lock:
            if self._closing.is_set() or len(self._clients) >= _MOST_CLIENTS:
                client.close()
                return
            thread = threading.Thread(
                target=self._serve, args=(client,), name="control-client", daemon=True
            )
            self._clients[thread] = client
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE_S)
        try:
            with client, client.makefile("rb") as lines:
                while line := lines.readline(_LONGEST_LINE):
                    client.sendall(msgspec.json.encode(self._answer(line)) + b"\n")
        except (OSError, ValueError) as error:
            _log.debug("control_client_lost", error=str(error))
        finally:
            with self._lock:
                del self._clients[threading.current_thread()]

    def _answer(self, line: bytes) -> Reply:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            return _refusal("BAD_REQUEST", f"not one JSON object on one line: {error}")
        if not isinstance(request.get("command"), str):
            return _refusal("BAD_REQUEST", 'the request names no "command"')
        try:
            return {"ok": True, **self._handle(request)}
        except HeadwaterError as error:
            return _refusal(code_of(type(error)), str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one command must not close the door
            _log.exception("control_command_failed", command=request["command"])
            return _refusal("INTERNAL", f"{type(error).__name__}: {error}")


def ask(
    path: Path,
    command: str,
    timeout_s: float,
    *,
    alive: Callable[[], bool] | None = None,
    **args: Any,
) -> Reply:
    """Send one command to the learner and return its reply; LearnerAway when nobody answers.

    `alive`: asked about once a second after `timeout_s`; as long as it says that the learner
    lives, the answer is waited for, however long the command takes.
    """
    began = time.monotonic()
    try:
        with _connect(path, timeout_s) as client:
            client.sendall(msgspec.json.encode({"command": command, **args}) + b"\n")
            line = _read_reply(client, timeout_s, alive)
    except TimeoutError:
        waited_s = timeout_s if alive is None else round(time.monotonic() - began)
        raise LearnerAway(f"no answer to {command!r} within {waited_s:g} s at {path}") from None
    except OSError as error:
        raise LearnerAway(f"no learner answers at {path}: {error.strerror or error}") from None
    if not line.endswith(b"\n"):
        raise LearnerAway(f"the learner at {path} went away before it answered {command!r}")
    return msgspec.json.decode(line, type=dict[str, Any])


def _read_reply(
    client: socket.socket, timeout_s: float, alive: Callable[[], bool] | None
) -> bytearray:
    """Read to the end of the line, or of what comes; TimeoutError when nothing does."""
    line = bytearray()
    client.settimeout(min(timeout_s, _LOOK_S))
    give_up = time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        try:
            some = client.recv(65_536)
        except TimeoutError:
            if time.monotonic() >= give_up and not (alive is not None and alive()):
                raise
            continue
        if not some:
            break
        line += some
    return line


def _refusal(code: str, error: str) -> Reply:
    return {"ok": False, "error": error, "code": code}


def code_of(error: type[HeadwaterError]) -> str:
    """Return the code of a refusal for this reason: DATA_LOST for DataLost."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).upper()


def _connect(path: Path, timeout_s: float) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        with _address(path) as address:
            client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def _listen(path: Path) -> socket.socket:
    _clear_the_way(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(_MOST_CLIENTS)  # only now can anyone connect
    except BaseException:
        listener.close()
        raise
    return listener


def _clear_the_way(path: Path) -> None:
    try:
        _connect(path, 1.0).close()
    except (FileNotFoundError, ConnectionRefusedError):
        path.unlink(missing_ok=True)
    else:
        raise Locked(f"another learner answers at {path}")


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path as the kernel takes it: a long one goes by a private, short-lived link."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    root = tempfile.gettempdir()
    if len(os.fsencode(root)) > _LONGEST_ADDRESS // 2:
        root = "/tmp"
    with tempfile.TemporaryDirectory(prefix="hw-", dir=root) as directory:
        link = Path(directory, "d")
        link.symlink_to(path.parent.absolute())
        yield str(link / path.name)
