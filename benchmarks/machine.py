"""What the figures were measured on, as far as it can be told without asking for more rights."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "numba", "numpy", "confluent-kafka", "msgspec", "fastapi", "uvicorn")


def named(variable: str) -> str | None:
    """Return what a variable of the tests names, which is no setting of the service; None: nothing."""
    return os.environ.get(variable)  # noqa: TID251 - the service's settings are read in one place; these are the tests'


def described(broker: str, load_before: list[float]) -> dict[str, Any]:
    """Return the machine, its libraries, and how busy it was before anything was started."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "broker": broker,
        "load_average_before": load_before,
    }


def load_average() -> list[float]:
    """Return how many processes wanted a core, over the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used, all threads; None where nobody says."""
    if sys.platform != "linux":
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks: int = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; none where nobody says."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _cpu() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    asked = subprocess.run(
        ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or platform.machine()
