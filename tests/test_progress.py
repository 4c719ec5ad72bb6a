"""How far a long work is: its figures, its lines in a log, its bar on a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from service import logs
from service.cli import progress
from service.cli.progress import Bar, drawable
from service.progress import Lines, Pace
from service.supervise import environment
from tests.processes import PATIENCE_S
from tests.test_logs import _as_before

__all__ = ["_as_before"]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rate_is_that_of_the_last_seconds_and_tells_what_is_left(clock: Clock) -> None:
    """
    What went before the first sign, such as compiling, says nothing about it.
    """
    pace = Pace("rows", 100_000, clock)
    clock.now_s += 20.0
    pace.reach(0)
    for done in range(1000, 40_001, 1000):
        clock.now_s += 1.0 if done <= 10_000 else 0.5
        pace.reach(done)

    assert 2000 == pytest.approx(pace.rate, rel=0.1)
    assert 30 == pytest.approx(pace.left_s, rel=0.1)
    assert pace.told().startswith("40,000 of 100,000 rows (40%), ")
    assert pace.told().endswith(" s left")
    assert {
        "done": 40_000, "total": 100_000, "unit": "rows", "share": 0.4,
        "rate": round(pace.rate or 0), "left_s": round(pace.left_s or 0),
    } == pace.figures()  # fmt: skip


def test_what_stands_still_becomes_slower_and_slower(clock: Clock) -> None:
    """
    A rate of long ago is no promise.
    """
    pace = Pace("rows", 100, clock)
    for done in (0, 10, 20):
        pace.reach(done)
        clock.now_s += 1.0
    before = pace.left_s
    clock.now_s += 30.0

    assert before is not None
    assert (pace.left_s or 0) > 5 * before


def test_work_that_begins_again_is_told_from_there(clock: Clock) -> None:
    """
    No rate below nothing, and no error in whoever only wanted to say how far it is.
    """
    pace = Pace("records", 100, clock)
    pace.reach(50)
    clock.now_s += 1.0
    pace.reach(20)
    assert "20 of 100 records (20%)" == pace.told()
    clock.now_s += 1.0
    pace.reach(30)

    assert "30 of 100 records (30%), 10/s, about 7 s left" == pace.told()


def test_where_nobody_knows_the_end_there_is_a_counter_and_a_rate(clock: Clock) -> None:
    """
    And when it becomes known, or moves, that is taken up.
    """
    pace = Pace("records", None, clock)
    pace.reach(0)
    clock.now_s += 2.0
    pace.reach(3000)

    assert "3,000 records, 1,500/s" == pace.told()
    assert {"done": 3000, "unit": "records", "rate": 1500} == pace.figures()
    pace.reach(3000, 6000)
    assert "3,000 of 6,000 records (50%), 1,500/s, about 2 s left" == pace.told()


def test_more_than_there_seemed_to_be_is_not_more_than_all(clock: Clock) -> None:
    """
    How many rows a file has may be a guess.
    """
    pace = Pace("rows", 10, clock)
    pace.reach(12)

    assert 1.0 == pace.share
    assert "12 of 10 rows (100%)" == pace.told()


@pytest.mark.parametrize(
    ("left", "said"),
    [(30, "about 30 s left"), (600, "about 10 min left"), (9000, "about 2 h left")],
)
def test_bytes_and_long_times_are_said_in_large_units(clock: Clock, left: int, said: str) -> None:
    """
    As people read them.
    """
    pace = Pace("bytes", (left + 1) * 2_000_000, clock)
    pace.reach(0)
    clock.now_s += 1.0
    pace.reach(2_000_000)

    assert pace.told().startswith("2 MB of ")
    assert pace.told().endswith(f", 2 MB/s, {said}")


def test_lines_come_after_a_second_and_then_every_five(clock: Clock) -> None:
    """
    However often somebody looks.
    """
    said: list[float] = []
    began_s = clock.now_s
    lines = Lines(Pace("rows"), lambda _: said.append(clock.now_s - began_s), clock=clock)
    for _ in range(120):
        lines.look()
        clock.now_s += 0.125

    assert [1.0, 6.0, 11.0] == said


@contextlib.contextmanager
def terminal() -> Iterator[tuple[TextIO, int]]:
    """Give a stream that is a terminal of 80 columns, and where its screen can be read."""
    screen, line = pty.openpty()
    with os.fdopen(line, "w") as stream:
        yield stream, screen
    os.close(screen)


def seen(screen: int) -> str:
    """Return what was drawn since the last look."""
    found = b""
    while select.select([screen], [], [], 0)[0]:
        found += os.read(screen, 65536)
    return found.decode()


def test_a_bar_is_drawn_after_a_second_and_taken_away(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With how many of how many, how fast, and what is left; the cursor stays where one sees it.
    """
    monkeypatch.setenv("TERM", "xterm")
    pace = Pace("rows", 1000, clock)
    with terminal() as (stream, screen):
        console = drawable(stream)
        assert console is not None
        bar = Bar("learning", pace, console, clock)
        pace.reach(0)
        clock.now_s += 0.9
        bar.look()
        assert "" == seen(screen)
        clock.now_s += 0.6
        pace.reach(300)
        bar.look()
        drawn = seen(screen)
        bar.close()
        removed = seen(screen)

    assert "learning" in drawn
    assert "━" in drawn
    assert "300 of 1,000 rows (30%), 200/s, about 4 s left" in drawn
    assert removed.endswith("\x1b[2K")
    assert "\x1b[?25l" not in drawn + removed


def test_a_bar_has_no_colour_where_none_is_wanted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    NO_COLOR; without it there is some.
    """
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = []
    for wanted in (None, "1"):
        if wanted:
            monkeypatch.setenv("NO_COLOR", wanted)
        with terminal() as (stream, screen):
            console = drawable(stream)
            assert console is not None
            bar = Bar("learning", Pace("rows", 10, clock), console, clock)
            clock.now_s += 2.0
            bar.look()
            coloured.append(re.search(r"\x1b\[[39]\d", seen(screen)) is not None)
            bar.close()

    assert [True, False] == coloured


def test_no_bar_is_drawn_on_a_terminal_that_only_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    TERM=dumb, as in editors; nor in a pipe, even where colours are forced.
    """
    monkeypatch.setenv("TERM", "dumb")
    with terminal() as (stream, _):
        assert drawable(stream) is None
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert drawable(io.StringIO()) is None


def test_in_a_pipe_there_is_a_line_now_and_then_with_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    JSON with done, total and rate, no carriage return; nothing on stdout.
    """
    logs.configure("evaluate")
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    pace = Pace("rows", 8)
    with progress.shown("learning", pace):
        pace.reach(0)
        pace.reach(4)
        deadline_s = time.monotonic() + PATIENCE_S
        while not (written := capsys.readouterr()).err:
            assert time.monotonic() < deadline_s

    line = json.loads(written.err.splitlines()[0])
    assert ("progress", "learning", 4, 8, "rows", 0.5) == tuple(
        line[name] for name in ("event", "what", "done", "total", "unit", "share")
    )
    assert "\r" not in written.err
    assert "" == written.out


WORK = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from service import logs
from service.cli.progress import bar
logs.configure("work")
print("data", flush=True)
with bar("working", 1000) as progress:
    for done in range(1000):
        progress(done)
        if done == 30:
            logs.logger("x").warning("noted")
        time.sleep(0.05)
"""


def test_ctrl_c_leaves_a_clean_line_and_logs_stand_above_the_bar() -> None:
    """
    The whole, on a terminal: stdout is another's and gets only data.
    """
    screen, line = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=line, stdout=subprocess.PIPE, stderr=line,
        start_new_session=True, env=environment() | {"TERM": "xterm", "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(line)
    drawn, deadline_s = "", time.monotonic() + PATIENCE_S
    while "working" not in drawn.rpartition("noted")[2] or "noted" not in drawn:
        assert time.monotonic() < deadline_s, drawn
        if select.select([screen], [], [], 0.1)[0]:
            drawn += os.read(screen, 65536).decode()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
        while text := os.read(screen, 65536):
            drawn += text.decode()
    os.close(screen)
    data = process.communicate(timeout=PATIENCE_S)[0]

    assert b"data\n" == data
    noted = drawn[: drawn.index("noted")]
    assert "\x1b[2K" == noted[noted.rindex("\r") + 1 :][:4]  # the bar made room for it
    last_bar = drawn.rindex("working")
    after = drawn[last_bar:]
    assert after.index("\x1b[2K") < after.index("Traceback")
    assert "\x1b[?25l" not in drawn
