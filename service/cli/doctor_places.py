"""Where state is kept and weights are shared, as `headwater doctor` finds it: rights, room, speed,
who is at work there; and the port of the API."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from service.cli.doctor_finding import Finding, fail, ok, size, warn
from service.settings import ApiSettings, Settings, runtime_directory, state_directory
from service.weights import lock
from service.weights.live_format import Geometry

_META_BYTES = 65_536
_FSYNCS = 20
_SLOW_MS = 20.0
_JOURNAL_DAY = 1 << 30
"""Bytes of journal in a day, at most, for a stream that never rests."""
_ON_MEMORY = frozenset({"tmpfs", "ramfs"})


def findings(settings: Settings, image: int) -> Iterator[Finding]:
    """`image`: bytes of the model's state."""
    state, runtime = state_directory(settings), runtime_directory(settings)
    yield from _state(state, settings, image)
    yield from _runtime(runtime, image)
    yield _port(settings.api)


def _state(state: Path, settings: Settings, image: int) -> Iterator[Finding]:
    there = _nearest(state)
    refused = _unwritable(there)
    if refused is not None:
        fix = "Give this user the right to write there, or name another folder in state.directory."
        yield fail("state directory", f"{state}: {refused}", fix)
        return
    yield ok("state directory", f"{state}, may be written")
    kept = settings.snapshots.keep
    snapshots = kept.last + kept.hourly + kept.daily
    wanted = (snapshots + 2) * image + _JOURNAL_DAY
    free = shutil.disk_usage(there).free
    room = f"{size(free)} free; {snapshots} snapshots of {size(image)} and a day's journal take up "
    room += f"to {size(wanted)}"
    if free < 3 * image + (64 << 20):
        fix = "Make room, or keep fewer snapshots (snapshots.keep); without room no snapshot can "
        yield fail("disk", room, f"{fix}be written and the journal stops learning.")
    elif free < wanted:
        yield warn("disk", room, "Make room, or keep fewer snapshots (snapshots.keep).")
    else:
        yield ok("disk", room)
    try:
        yield _fsync(there)
    except OSError as error:
        fix = "Make room there, or mend the disk: without it no journal is written."
        yield fail("fsync", f"{there} takes no page: {error.strerror}", fix)
    yield _learner(state)


def _fsync(there: Path) -> Finding:
    """How long does the disk take to keep a page? The journal asks it for that all the time."""
    took: list[float] = []
    with tempfile.TemporaryFile(dir=there) as file:
        for _ in range(_FSYNCS):
            file.write(b"\0" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1000 * (time.perf_counter() - began))
    median, most = statistics.median(took), max(took)
    said = f"4 KiB in {median:.2g} ms (median of {_FSYNCS}), {most:.2g} ms at most"
    if median <= _SLOW_MS:
        return ok("fsync", said)
    fix = "Use a local disk for state.directory: orders and clean stops wait for it."
    return warn("fsync", said, fix)


def _learner(state: Path) -> Finding:
    if sys.platform != "linux":
        return ok("learner", "not looked at: only Linux lists who holds a lock")
    at_work = lock.holder(state)
    if at_work is None:
        return ok("learner", f"none is at work in {state}")
    return ok("learner", f"{at_work} is at work in {state}; a second one would end with code 5")


def _runtime(runtime: Path, image: int) -> Iterator[Finding]:
    there = _nearest(runtime)
    refused = _unwritable(there)
    if refused is not None:
        fix = "Give this user the right to write there, or name another folder: runtime.directory."
        yield fail("runtime directory", f"{runtime}: {refused}", fix)
        return
    kind = file_system(there)
    if kind is None or kind in _ON_MEMORY:
        yield ok("runtime directory", f"{runtime}" + (f", on {kind}" if kind else ""))
    else:
        what = f"{runtime} is on {kind}: every publish goes through a disk's cache"
        yield warn("runtime directory", what, "Name a folder on a tmpfs in runtime.directory.")
    live = Geometry(image, 1 << 16, _META_BYTES).file_bytes
    free = shutil.disk_usage(there).free + _taken(runtime)
    said = f"the live weights take {size(live)} of {size(free)}; twice that while settings change"
    fix = (
        "Make it larger (docker: --shm-size, or a tmpfs volume with a size; Kubernetes: sizeLimit "
    )
    fix += "of the emptyDir)."
    if free < live:
        yield fail("live weights", said, fix)
    elif free < 2 * live + (16 << 20):
        yield warn("live weights", said, fix)
    else:
        yield ok("live weights", said)


def _port(api: ApiSettings) -> Finding:
    name, where = "port", f"{api.host}:{api.port}"
    if api.port == 0:
        return ok(name, "any that is free")
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((api.host, api.port))
    except OSError as error:
        if _answers(api):
            return ok(name, f"{where} is answered by a Headwater that runs")
        fix = "Stop what holds it, or set api.port (HEADWATER_API__PORT) to a free one."
        return fail(name, f"{where}: {error.strerror or error}", fix)
    return ok(name, f"{where} is free")


def _answers(api: ApiSettings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)
    url = f"http://[{host}]:{api.port}" if ":" in host else f"http://{host}:{api.port}"
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{url}/healthz", timeout=2.0) as reply:
            return b'"status":"ok"' in reply.read(100)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _nearest(folder: Path) -> Path:
    """Return the folder, or what is there of the way to it."""
    while not os.path.exists(folder) and folder.parent != folder:  # noqa: PTH110 - never raises
        folder = folder.parent
    return folder


def _unwritable(there: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written: {error.strerror}"


def _taken(runtime: Path) -> int:
    """Bytes that live weights take there already: they would be replaced."""
    files = runtime.glob("live-*") if runtime.exists() else ()
    return sum(file.stat().st_blocks * 512 for file in files)


def file_system(there: Path) -> str | None:
    """Return the type of the file system that holds a folder; None where nobody tells (macOS)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    best, kind = "", None
    resolved = str(there.resolve())
    for line in mounts.splitlines():
        _, at, found, *_ = line.split(" ")
        at = at.encode().decode("unicode_escape")
        inside = resolved == at or resolved.startswith(at.rstrip("/") + "/")
        if inside and len(at) >= len(best):
            best, kind = at, found
    return kind
