"""Waiting for what other processes do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
