"""The parent process: starts the learner and the API workers, and keeps them alive.

Knows processes, signals, the listening socket and the embedded broker. Does not know what its
children do. Guarantees:
- The parent holds the listening socket and every worker accepts from it: a connection that no
  worker has taken yet outlives any worker.
- A child that dies is started again, after 0.2 s, doubling to 5 s while it keeps dying. An exit
  code in FINAL says that starting again would fail the same way: everything stops with that code.
  But one that had got going and finds settings that are bad by now, or its directory taken, ends alone.
- A child that gives no sign of life any more (its `pulse` says so) is killed and started again.
- SIGTERM or SIGINT: first the learner, which takes its last snapshot while the API still answers,
  then the workers, then the embedded broker. A second signal kills at once.
- Children end with their parent, however it ends: each watches a pipe that only the parent holds
  open (`end_with_parent`), and stops as on SIGTERM when it closes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import service
from service.errors import BadSettings, Problem
from service.logs import logger
from service.weights.pulse import Pulse

FINAL = frozenset({2, 3, 4, 5, 6, 7, 8})
"""Exit codes of a child after which starting it again cannot help (see service/errors.py)."""

ONLY_AT_FIRST = frozenset({3, 5})
"""Final only for a child that never got going. Settings, or the code of a module that they name, were good
when it started: who changed them since may mend them. A directory that is locked is the learner's matter alone."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
SETTLED_S = 15.0
"""A child that lived this long is forgiven its earlier deaths."""

INTERRUPTED = 130
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logger(__name__)


@dataclass
class Child:
    """One process to keep alive.

    `stops`: children of the lowest number are stopped first, together. `grace_s`: how long one
    may take to stop before it is killed. `pulse`: what tells that it hangs; None: nothing does.
    """

    name: str
    command: Sequence[str]
    inherits: Sequence[int] = ()
    stops: int = 0
    grace_s: float = 15.0
    pulse: Pulse | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_s: float = field(default=0.0, init=False)
    wait_s: float = field(default=FIRST_WAIT_S, init=False)
    due_s: float = field(default=0.0, init=False)
    hung: bool = field(default=False, init=False)
    pid: int = field(default=0, init=False)
    got_going: bool = field(default=False, init=False)
    """A process of this child gave a sign of life, or lived long where nothing gives signs."""

    @property
    def alive(self) -> bool:
        return self.process is not None

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Runs `children`: all at once to start, in the order of their `stops` to stop.

    `restarting` is told the name of each child that is started again, and why: ended or hung.
    """

    def __init__(
        self,
        children: Sequence[Child],
        clock: Callable[[], float] = time.monotonic,
        restarting: Callable[[str, str], None] = lambda _, __: None,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._children = list(children)
        self._clock = clock
        self._restarting = restarting
        self._longest_wait_s = longest_wait_s
        self._signals: list[int] = []

    def run(self) -> int:
        """Return the exit code of the whole when everything has stopped."""
        watched, held = os.pipe()
        try:
            with self._signals_heard() as woken:
                return self._run(watched, woken)
        finally:
            os.close(held)
            os.close(watched)

    def _run(self, watched: int, woken: int) -> int:
        while True:
            if self._signals:
                first = signal.Signals(self._signals[0])
                _log.info("stopping", signal=first.name)
                return self._stop(INTERRUPTED if first == signal.SIGINT else 0, woken)
            for child in self._children:
                code = _ended(child)
                if code is not None:
                    self._note_if_it_got_going(child)
                if code in FINAL and not (code in ONLY_AT_FIRST and child.got_going):
                    _log.error("stopping_for_good", child=child.name, exit_code=code)
                    return self._stop(code, woken)
                if code is not None:
                    self._plan_restart(child, code)
                self._kill_if_hung(child)
            now_s = self._clock()
            for child in self._children:
                if not child.alive and child.due_s <= now_s:
                    self._start(child, watched)
            self._wait(woken)

    def _kill_if_hung(self, child: Child) -> None:
        """End a child that gives no sign of life; its end is then seen like any other."""
        if child.pulse is None or child.process is None or child.hung:
            return
        if child.pulse.hung(child.process.pid):
            child.hung = True
            _log.error(
                "child_hung", child=child.name, pid=child.process.pid, silent_s=child.pulse.hang_s
            )
            child.signal(signal.SIGKILL)

    def _note_if_it_got_going(self, child: Child) -> None:
        lived_s = self._clock() - child.started_s
        felt = child.pulse.was_felt(child.pid) if child.pulse else lived_s >= SETTLED_S
        child.got_going = child.got_going or felt

    def _start(self, child: Child, watched: int) -> None:
        child.started_s = self._clock()
        try:
            child.process = subprocess.Popen(
                [*child.command, "--parent-fd", str(watched)],
                stdin=subprocess.DEVNULL,
                pass_fds=(watched, *child.inherits),
                env=environment(),
                start_new_session=True,  # Ctrl-C at a terminal is for us alone
            )
        except OSError as error:
            _log.error("child_not_started", child=child.name, error=str(error))
            self._plan_restart(child, error.errno or 1)
            return
        child.pid = child.process.pid
        _log.info("child_started", child=child.name, pid=child.process.pid)

    def _plan_restart(self, child: Child, code: int) -> None:
        now_s = self._clock()
        if now_s - child.started_s >= SETTLED_S:
            child.wait_s = FIRST_WAIT_S
        child.due_s = now_s + child.wait_s
        reason, child.hung = "hung" if child.hung else "ended", False
        self._restarting(child.name, reason)
        _log.warning(
            "child_ended",
            child=child.name,
            exit_code=code,
            reason=reason,
            restart_in_s=child.wait_s,
            lived_s=round(now_s - child.started_s, 1),
        )
        child.wait_s = min(child.wait_s * 2, self._longest_wait_s)

    def _wait(self, woken: int) -> None:
        """Sleep until a child ends, a signal comes, a restart is due, or a pulse is to be felt."""
        now_s = self._clock()
        looks_s = [one.pulse.look_s for one in self._children if one.alive and one.pulse]
        due_s = [max(0.0, child.due_s - now_s) for child in self._children if not child.alive]
        timeout_s = min([*due_s, *looks_s, 1.0])
        select.select([woken], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while os.read(woken, 512):
                pass

    def _stop(self, code: int, woken: int) -> int:
        """Stop the children in order; the first one that ends badly decides the exit code.

        One that had ended before it was told to stop (it would have been started again) decides
        nothing.
        """
        heard = len(self._signals)
        alive = sorted((c for c in self._children if self._still_alive(c)), key=lambda c: c.stops)
        for _, together in itertools.groupby(alive, key=lambda c: c.stops):
            group = [child for child in together if self._still_alive(child)]
            for child in group:
                child.signal(signal.SIGTERM)
            asked_s = self._clock()
            for child in group:
                ended = self._wait_for(child, asked_s + child.grace_s, woken, heard)
                if code == 0 and ended not in (0, -signal.SIGTERM):
                    code = ended if ended > 0 else 1
            if len(self._signals) > heard:
                self._kill()
                return INTERRUPTED
        return code

    @staticmethod
    def _still_alive(child: Child) -> bool:
        code = _ended(child)
        if code is not None:
            _log.warning("child_ended", child=child.name, exit_code=code, reason="ended")
        return child.alive

    def _wait_for(self, child: Child, deadline_s: float, woken: int, heard: int) -> int:
        while True:
            code = _ended(child)
            if code is not None:
                _log.info("child_stopped", child=child.name, exit_code=code)
                return code
            if len(self._signals) > heard or self._clock() >= deadline_s:
                _log.warning("child_killed", child=child.name)
                self._kill(child)
                return -signal.SIGKILL
            self._wait(woken)

    def _kill(self, *children: Child) -> None:
        for child in children or self._children:
            if child.process is not None:
                child.process.kill()
                child.process.wait()
                child.process = None

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[int]:
        """Yield a file descriptor that becomes readable when a signal arrives or a child ends."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        before = {n: signal.signal(n, lambda n, _: self._signals.append(n)) for n in _SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        old_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(wake)


def python(*arguments: str) -> list[str]:
    """Return the command line of another process of this package.

    -P: a folder named "service" may lie where the user is, and is not this package.
    """
    return [sys.executable, "-P", "-m", "service", *arguments]


def _unusable(why: str) -> BadSettings:
    hint = "Name a folder of your own in runtime.directory."
    return BadSettings([Problem("runtime.directory", None, why, hint)])


def prepare(directory: Path) -> None:
    """Make the runtime directory, for this user alone; forget metrics of workers before us."""
    try:
        for path in (directory.parent, directory):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = directory.stat().st_uid
    except OSError as error:
        raise _unusable(f"{directory} cannot be used: {error.strerror or error}") from None
    if owner != os.getuid():
        raise _unusable(f"{directory} belongs to another user (id {owner})")
    for stale in directory.glob("metrics-api-*.json"):
        stale.unlink(missing_ok=True)


def end_with_parent(watched: int) -> None:
    """In a child: stop as on SIGTERM when the parent is gone. Returns at once."""

    def watch() -> None:
        while os.read(watched, 1):  # nobody writes; the end of the file is the parent's end
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _ended(child: Child) -> int | None:
    """Return the exit code of a child that has ended since the last look."""
    if child.process is None:
        return None
    code = child.process.poll()
    if code is not None:
        child.process = None
    return code


def environment() -> dict[str, str]:
    """Return ours, with this package's place in it: -P hides what lies in the working folder."""
    inherited = dict(os.environ)  # noqa: TID251 - handed on to children, not read
    home = Path(service.__file__).resolve().parent.parent
    if not home.is_relative_to(sys.prefix):
        paths = [str(home), *filter(None, [inherited.get("PYTHONPATH")])]
        inherited["PYTHONPATH"] = os.pathsep.join(paths)
    return inherited
