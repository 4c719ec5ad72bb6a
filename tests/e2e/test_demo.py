"""`headwater demo` on a terminal, as people have it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.e2e.service import CHECKOUT
from tests.processes import PATIENCE_S, is_alive, lost_s, until

CHAOS = bool(os.environ.get("HEADWATER_TEST_CHAOS"))  # noqa: TID251 - the suite's own name

pytest.importorskip("noida_db", reason="the extra `embedded` is not installed")


class DemoOnTerminal:
    """A demo on a terminal of its own, whose size can change."""

    def __init__(self, folder: Path, columns: int, lines: int, **environment: str) -> None:
        self.sent = b""
        told = {
            "PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(folder),
            "TERM": "xterm-256color", **environment,
        }  # fmt: skip
        command = [sys.executable, "-m", "service", "demo", "--port", "0"]
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(CHECKOUT)
            os.execve(sys.executable, command, told)
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size; the kernel tells the demo."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press_ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def read(self, timeout_s: float) -> bool:
        """Take what was sent meanwhile; False at its end."""
        if not select.select([self._terminal], [], [], timeout_s)[0]:
            return True
        try:
            self.sent += os.read(self._terminal, 1 << 16)
        except OSError:  # on Linux that is the end
            return False
        return True

    def wait_for(self, pattern: bytes, after: int = 0) -> None:
        """Wait until something is shown, after so many bytes."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.sent[after:], re.DOTALL):
            assert self.read(0.05), self.sent.decode(errors="replace")
            assert time.monotonic() < deadline_s, self.sent.decode(errors="replace")

    def ended(self) -> int:
        """Wait for its end; return the exit code."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self.read(0.05):
            assert time.monotonic() < deadline_s, self.sent.decode(errors="replace")
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.e2e
@pytest.mark.skipif(not CHAOS, reason="`make faults`: tests/test_demo_screen.py holds the pictures")
def test_the_demo_on_a_small_old_terminal(tmp_path: Path) -> None:
    """
    Sixty columns, no block characters, no colours; another size while it runs; Ctrl-C ends it
    within five seconds, leaves the last picture on the screen and nothing in the temporary folder.
    """
    demo = DemoOnTerminal(tmp_path, 60, 20, PYTHONIOENCODING="latin-1", NO_COLOR="1")
    demo.wait_for(rb"# live.*Ctrl-C stops")
    before = len(demo.sent)
    demo.resize(90, 40)
    demo.wait_for(rb"\x1b\[2J.*lower is better.*Ctrl-C stops", before)
    with lost_s() as kept_from_running:
        began_s = time.monotonic()
        demo.press_ctrl_c()
        code = demo.ended()
        took_s = time.monotonic() - began_s - kept_from_running()

    assert 130 == code
    assert took_s < 5
    assert b"events learned in" in demo.sent
    assert demo.sent.isascii()
    assert b"\x1b[3" not in demo.sent
    assert b"Traceback" not in demo.sent
    assert [] == list(tmp_path.iterdir())


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_nothing_is_left_where_its_service_is_killed(tmp_path: Path) -> None:
    """
    A supervisor that is killed leaves a learner that still takes a last snapshot: it must not make
    the demo's folder anew when that is removed.
    """
    demo = DemoOnTerminal(tmp_path, 80, 24)
    demo.wait_for(rb"live.*Ctrl-C stops")
    service = processes_in(tmp_path)
    (supervisor,) = (pid for pid, words in service.items() if b"run" in words)
    os.kill(supervisor, signal.SIGKILL)
    code = demo.ended()

    assert 1 == code
    assert b"the service ended early" in demo.sent
    until(lambda: not any(is_alive(pid) for pid in service))
    assert [] == list(tmp_path.iterdir())


def processes_in(folder: Path) -> dict[int, list[bytes]]:
    """Those whose command line names a folder or something in it, and their words."""
    found = {}
    for told in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            words = told.read_bytes().split(b"\0")
            if any(bytes(folder) in word for word in words):
                found[int(told.parent.name)] = words
    return found


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(not CHAOS, reason="`make faults`: each takes up to ten seconds")
@pytest.mark.parametrize("moment_s", [0.3 + 0.2 * step for step in range(15)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_it_can_be_ended_at_any_moment(
    tmp_path: Path, moment_s: float, number: signal.Signals
) -> None:
    """
    While it starts, too: within five seconds, with no traceback, and nothing is left. Before our
    first line Python's own answer to a signal is to end by it.
    """
    demo = DemoOnTerminal(tmp_path, 80, 24)
    until_s = time.monotonic() + moment_s
    while (rest_s := until_s - time.monotonic()) > 0:
        demo.read(rest_s)
    with lost_s() as kept_from_running:
        began_s = time.monotonic()
        if number == signal.SIGINT:
            demo.press_ctrl_c()
        else:
            os.kill(demo.pid, number)
        code = demo.ended()
        took_s = time.monotonic() - began_s - kept_from_running()

    assert code in {130 if number == signal.SIGINT else 0, -number}
    assert took_s < 5
    assert b"Traceback" not in demo.sent
    assert [] == list(tmp_path.iterdir())
