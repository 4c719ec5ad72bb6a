"""The machine, as `headwater doctor` finds it: processors and memory as far as a container lets us
have them, and the clock."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from service.cli.doctor_finding import Finding, fail, ok, size, warn
from service.cli.modules import references
from service.learn import crew
from service.settings import Settings

_GROUP = Path("/sys/fs/cgroup")
_LEARNER_BYTES, _SUPERVISOR_BYTES, _WORKER_BYTES = 480 << 20, 60 << 20, 200 << 20
"""What processes need before the first weight, as measured: Python, kernels, numpy, torch."""
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
_UNLIMITED = 1 << 60


def findings(settings: Settings, image: int) -> Iterator[Finding]:
    """`image`: bytes of the model's state."""
    yield _processors(settings)
    yield _memory(settings, image)
    yield _clock()
    yield _versions()


def _processors(settings: Settings) -> Finding:
    seen = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = crew.quota(_GROUP)
    have = seen if quota is None else min(float(seen), quota)
    limit = "" if quota is None else f", of which this container may use {quota:.2g}"
    want = 1 + settings.api.workers
    said = f"{seen}{limit}; one learner and {settings.api.workers} API workers share them"
    if have < 1:
        return warn("processors", said, "Give it at least one: learning and answers take turns.")
    if have < want:
        return ok("processors", f"{said}; more would answer faster under load")
    return ok("processors", said)


def _memory(settings: Settings, image: int) -> Finding:
    limit = _limit()
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    have = there if limit is None else min(limit, there)
    processes = 2 + settings.api.workers
    # two slots in shared memory, the state, one frozen, one before it, one being saved
    worker = _LEARNER_BYTES if references(settings) else _WORKER_BYTES  # a module needs torch there
    need = _LEARNER_BYTES + _SUPERVISOR_BYTES + settings.api.workers * worker + 6 * image
    said = f"{size(have)}; {processes} processes and a state of {size(image)} take about "
    said += size(need)
    if have < need:
        fix = "Give it more, have fewer API workers (api.workers), or a smaller model (buckets)."
        return fail("memory", said, fix)
    if have < 1.3 * need:
        return warn("memory", said, "Leave some room: a backlog is read ahead, too.")
    return ok("memory", said)


def _limit() -> int | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = crew.read(_GROUP / name)
        if text is not None:
            return int(text) if text.isdigit() and int(text) < _UNLIMITED else None
    return None


def _clock() -> Finding:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    state = _clock_state()
    if state is None:
        return ok("clock", f"{now}; whether it is set by others cannot be seen here")
    if state == _UNSYNCHRONISED:
        fix = "Run an NTP client on the machine; ages and freshness come from this clock."
        return warn("clock", f"{now}; the kernel says that nobody keeps it right", fix)
    return ok("clock", f"{now}, kept right")


def _clock_state() -> int | None:
    """Return what adjtimex(2) says, asked without changing anything; None where it is not there."""
    if sys.platform != "linux":
        return None
    buffer = ctypes.create_string_buffer(1024)  # struct timex, modes = 0: only read
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return state if state >= 0 else None


def _versions() -> Finding:
    from importlib.metadata import version

    names = ("headwater", "torch", "numba", "numpy", "confluent-kafka")
    told = ", ".join(f"{name} {version(name)}" for name in names)
    return ok("versions", f"{told}, Python {platform.python_version()}")
