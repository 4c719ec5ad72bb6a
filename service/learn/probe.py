"""Has a process of its own find the records that kill whoever learns them.

The learner's side: writes what the trial needs into a folder of its own, starts it, listens, and
kills it when it is told to stop or when it takes too long.
"""

from __future__ import annotations

import math
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from service.learn.learner import Learner
from service.learn.trials import IMAGE, META, RECIPE, RECORDS, Told
from service.stream.records import Record

_log = structlog.get_logger(__name__)
_PREFIX = ".probe-"
_LIMIT_S = 600.0
_LOOK_S = 0.2


class Command(msgspec.Struct):
    """How a trial is started: its command line before the folder, and its environment."""

    line: Sequence[str]
    environment: Mapping[str, str]


class Prober:
    """Finds what kills, telling how far it is. `beat`: state, reason, progress."""

    def __init__(
        self,
        command: Command,
        directory: Path,
        beat: Callable[[str, str | None, float | None], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.should_stop = should_stop
        self._command = command
        self._directory = directory
        self._beat = beat

    def find(self, learner: Learner, records: list[Record]) -> Told:
        """Return which of the records kill whoever learns them after this learner."""
        expected = 2 + math.ceil(math.log2(len(records) + 1)) + 3

        def progress(trial: int) -> None:
            most = max(expected, trial)
            why = f"finding the event that kills the learner: trial {trial} of about {most}"
            self._beat("restoring", why, round(trial / most, 4))

        self._beat("restoring", "finding the event that kills the learner", None)
        try:
            return probe(
                self._command, self._directory, learner, records, progress, self.should_stop
            )
        except OSError as error:
            return Told(0, unclear=f"no trial could be made: {error}")


def probe(
    command: Command,
    directory: Path,
    learner: Learner,
    records: list[Record],
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> Told:
    """Return which of the records kill (by index) and how; `unclear` says why none can be named.

    progress: told the number of each trial, again while it goes on. Raises OSError when the folder cannot be written.
    """
    for stale in directory.glob(f"{_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
    try:
        (folder / RECIPE).write_bytes(learner.recipe.to_json())
        (folder / META).write_bytes(msgspec.json.encode(learner.meta()))
        (folder / RECORDS).write_bytes(msgspec.msgpack.encode(records))
        learner.state.image.tofile(folder / IMAGE)
        process = subprocess.Popen(
            [*command.line, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(command.environment), start_new_session=True,
        )  # fmt: skip
        try:
            return _listen(process, progress, should_stop)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its fork too
            process.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _listen(
    process: subprocess.Popen[bytes],
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> Told:
    assert process.stdout is not None, "a pipe was asked for"
    give_up, trials, rest = time.monotonic() + _LIMIT_S, 0, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not should_stop():
            if time.monotonic() > give_up:
                return Told(trials, unclear=f"it was not found within {_LIMIT_S:g} s")
            if not selector.select(_LOOK_S):
                progress(trials)  # a trial may take long; that it goes on is a sign of life
                continue
            raw = os.read(process.stdout.fileno(), 1 << 16)
            if not raw:
                return Told(trials, unclear=f"the trials ended with exit code {process.wait()}")
            *lines, rest = (rest + raw).split(b"\n")
            for line in lines:
                told = msgspec.json.decode(line, type=Told)
                if told.done:
                    return told
                trials = told.trials
                progress(trials)
    return Told(trials, unclear="told to stop")
