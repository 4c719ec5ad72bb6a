"""The process in which events may kill: a copy of the learner, forked anew for each trial.

Started by service/learn/probe.py, told everything by files, answers in lines of JSON. It has one
thread, so that it may fork; what a fork does to the state is gone with it. A fork that dies, fails
or does not come to an end is what is looked for.

Memory: a fork may take what the machine and its cgroup have left, and no more; should the kernel
have to kill for memory all the same, it takes the fork first, and neither the learner nor the API.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np

from service.learn import culprits, lethal, warm
from service.learn.learner import Learner
from service.learn.quarantine import set_aside
from service.learn.standing import standing_of
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State
from service.stream.records import Offsets, Record

RECIPE, META, IMAGE, RECORDS = "recipe.json", "meta.json", "state.image", "records.msgpack"
PATIENCE_S = 30.0
"""A trial that takes longer has hung."""
_LEAST_BYTES = 256 << 20
_HUNG_ONCE_S = 5.0


class Told(msgspec.Struct, omit_defaults=True):
    """One line of the answer: how far it is, or how it ended."""

    trials: int
    done: bool = False
    guilty: dict[int, str] = {}
    unclear: str | None = None


def main(folder: Path) -> int:
    """Find the records that kill; return the exit code."""
    lethal.install(trial=True)
    learner, records = load(folder)
    warm.compile_passes(learner.recipe)
    trials = Trials(learner, records)
    try:
        _say(Told(trials.count, True, culprits.find(len(records), trials.dies)))
    except culprits.Unclear as why:
        _say(Told(trials.count, True, unclear=str(why)))
    return 0


def load(folder: Path) -> tuple[Learner, list[Record]]:
    """Return the learner and the records that `probe` wrote."""
    recipe = Recipe.from_json((folder / RECIPE).read_bytes())
    state = State(Layout(recipe))
    state.image[:] = np.fromfile(folder / IMAGE, dtype=np.uint8)
    standing = standing_of(msgspec.json.decode((folder / META).read_bytes()))
    records = msgspec.msgpack.decode((folder / RECORDS).read_bytes(), type=list[Record])
    return Learner(recipe, state, standing), records


class Trials:
    """Runs trials, and keeps count."""

    def __init__(self, learner: Learner, records: list[Record]) -> None:
        self.count = 0
        self._learner = learner
        self._records = records
        self._patience_s = PATIENCE_S
        self._longest_s = 0.0

    def dies(self, upto: int, left_out: set[int]) -> str | None:
        """Learn the first records in a fork; return how it died, None if it did not."""
        if select.select([sys.stdin], [], [], 0)[0]:  # nobody writes: the learner is gone
            os._exit(1)
        self.count += 1
        _say(Told(self.count))
        began = time.monotonic()
        watching, saying = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(watching)
            self._live_through(upto, left_out, saying)
        os.close(saying)
        with os.fdopen(watching, "rb") as file:
            said = file.read().decode(errors="replace")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took_s = time.monotonic() - began
        if code == 0:
            self._longest_s = max(self._longest_s, took_s)
            return None
        if code == -signal.SIGALRM:
            hung_s, self._patience_s = self._patience_s, _HUNG_ONCE_S + 20 * self._longest_s
            self._patience_s = min(self._patience_s, PATIENCE_S)
            return f"hung for {hung_s:g} s"
        return signal.Signals(-code).name if code < 0 else said or f"exit code {code}"

    def _live_through(self, upto: int, left_out: set[int], saying: int) -> NoReturn:
        """In the fork: learn, and end. SIGALRM ends what hangs, even within a kernel."""
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self._patience_s)
            _bound_memory()
            aside = [self._records[at] for at in left_out]
            set_aside(self._learner.standing, [(r.topic, r.partition, r.offset) for r in aside])
            records = self._records[:upto]
            ends: Offsets = {}
            for r in records:
                ends[r.topic, r.partition] = max(r.offset + 1, ends.get((r.topic, r.partition), 0))
            self._learner.take(records, self._learner.decode(records), ends)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the learner would die of it
            os.write(saying, f"{type(error).__name__}: {error}"[:300].encode())
            os._exit(1)
        os._exit(0)


def _bound_memory() -> None:
    """No core files; memory up to what is there; the first to go where the kernel must choose."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return  # elsewhere there is no such file, and the limit is not kept
    with contextlib.suppress(OSError):  # where /proc may not be written
        Path("/proc/self/oom_score_adj").write_text("1000")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + max(_available_bytes(), _LEAST_BYTES)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _available_bytes() -> int:
    """Return what the machine has left, or the cgroup where that is less."""
    meminfo = Path("/proc/meminfo").read_text().splitlines()
    found = next(line for line in meminfo if line.startswith("MemAvailable:"))
    left = int(found.split()[1]) * 1024
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = (Path("/sys/fs/cgroup") / most).read_text().strip()
            taken = (Path("/sys/fs/cgroup") / used).read_text().strip()
        except OSError:
            continue
        if limit != "max":
            left = min(left, int(limit) - int(taken))
    return left


def _say(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()
