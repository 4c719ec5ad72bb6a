"""Waiting for what other processes do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


def until(look: Callable[[], Any]) -> Any:
    """Look again and again until there is something to see; return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)
    return found


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
