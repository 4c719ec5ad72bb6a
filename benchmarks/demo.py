"""What `headwater demo` costs: `python -m benchmarks.demo`, on Linux; a minute, or two with --cold.

Time to the first prediction; then, at the demo's own rate and with the demo itself stopped (so that
nothing is published or asked), the share of a core and the memory (PSS: shared pages are divided
among those who share them) of each of its processes. --cold: kernels are compiled as at the first
start of an installation.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import environment

_NAMES = (
    ("noida-db", "broker"),
    ("service learner", "learner"),
    ("service api-worker", "API"),
    ("service run", "supervisor"),
    ("demo --plain", "demo"),
)
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--cold", action="store_true", help="compile all kernels")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inherited = environment() | {"TMPDIR": folder}
        if given.cold:
            inherited["NUMBA_CACHE_DIR"] = f"{folder}/kernels"
        began_s = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "service", "demo", "--plain", "--port", "0"],
            stdout=subprocess.PIPE, text=True, env=inherited,
        ) as demo:  # fmt: skip
            assert demo.stdout is not None
            while "first prediction" not in (line := demo.stdout.readline()):
                assert line, "the demo ended"
            took_s = time.monotonic() - began_s
            print(
                f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
            )
            print(f"first prediction after {took_s:.1f} s{' (cold)' if given.cold else ''}")
            time.sleep(given.seconds / 2)  # what is compiled or loaded late is there
            report("at 1,000 events a second", demo.pid, given.seconds)
            demo.send_signal(signal.SIGSTOP)
            time.sleep(1)
            report("with nothing published or asked", demo.pid, given.seconds)
            demo.send_signal(signal.SIGCONT)
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=30)


def report(title: str, root: int, seconds: float) -> None:
    """Print the share of a core and the memory of each process of the tree."""
    before = {pid: cpu_s(pid) for pid in tree(root)}
    began_s = time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began_s
    shares: dict[str, tuple[float, int]] = {}
    for pid, used_s in before.items():
        share, mib = 100 * (cpu_s(pid) - used_s) / passed_s, pss_mib(pid)
        known = shares.get(named(pid), (0.0, 0))
        shares[named(pid)] = (known[0] + share, known[1] + mib)
    print(f"\n{title}:\n{'':12}{'% of a core':>12}{'MiB':>8}")
    for name, (share, mib) in shares.items():
        print(f"{name:12}{share:12.1f}{mib:8}")
    whole = sum(one[0] for one in shares.values()), sum(one[1] for one in shares.values())
    print(f"{'together':12}{whole[0]:12.1f}{whole[1]:8}", flush=True)


def tree(root: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield root
    for task in Path(f"/proc/{root}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def named(pid: int) -> str:
    """Return what a process is in the demo."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return next((name for part, name in _NAMES if part in command), "broker")  # its shells


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def pss_mib(pid: int) -> int:
    """Return its memory, shared pages divided."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(kib) // 1024


if __name__ == "__main__":
    main()
