"""Waiting for what other processes do."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 240.0
"""A net, not a measure: a loaded machine may be many times slower than ours, and may stand still."""

_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to whoever connects (from 32768 on; on macOS from 49152)."""


def until(look: Callable[[], Any]) -> Any:
    """Look again and again until there is something to see; return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def lost_s() -> Iterator[Callable[[], float]]:
    """Give what tells for how many seconds others, or a machine that stood still, kept us from
    running: so much longer may last what is bounded by a time."""
    done, lost, turn_s = threading.Event(), [0.0], 0.02

    def watch() -> None:
        before = time.monotonic()
        while not done.wait(turn_s):
            now = time.monotonic()
            lost[0] += max(0.0, now - before - turn_s)
            before = now

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield lambda: lost[0]
    finally:
        done.set()
        watching.join()


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that somebody still writes, without one that is half there."""
    return path.read_text(errors="replace").rpartition("\n")[0].splitlines()


def is_alive(pid: int) -> bool:
    """Whether it runs. One that has ended counts as gone, though nobody may have fetched its exit
    code yet: in a container the first process may be slow to, or never do it."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it ended between the two, or there is no /proc
        return not Path("/proc/self").exists()
    return state != b"Z"


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody is given who only connects: between
    this and its use, and while a service is started again, it stays free."""
    while True:
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
