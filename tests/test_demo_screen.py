"""The demo's screen: what it says, and that it fits every terminal."""

from __future__ import annotations

import io
import math
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from rich.console import Console

from service.cli.demo_picture import drawn
from service.cli.demo_screen import Screen
from service.cli.demo_view import CHANGED, Frame, Lines

NOTHING = {"log_loss": None, "auc": None}
COMMANDS = ["echo '{}' | headwater publish -c " + 150 * "x" + " -", "curl -s http://127.0.0.1:1"]


def frame(second: int, **other: object) -> Frame:
    """A look at a demo whose live model swings about 0.45 and whose twin is at 0.6."""
    given = {
        "elapsed_s": float(second),
        "moment": datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=second),
        "version": 20 * second,
        "learned": 1000 * second,
        "age_s": 0.05,
        "lag": 20,
        "fresh_ms": 31.0,
        "answered_ms": (2.4, 6.6),
        "new_ads": second,
        "live": {"log_loss": 0.45 + 0.04 * math.sin(second / 5), "auc": 0.8},
        "frozen": {"log_loss": 0.6, "auc": 0.66} if second > 20 else NOTHING,
        "events_per_s": 1000.0,
    }
    return msgspec.convert(given | other, Frame)


def lines_of(
    history: list[Frame], changes: list[float], width: int = 100, height: int = 36, above: int = 0
) -> list[str]:
    """The picture on a terminal of this size, line by line."""
    console = Console(width=width, height=height, file=io.StringIO())
    picture = drawn(history, changes, width, height, above=above)
    return ["".join(part.text for part in line) for line in console.render_lines(picture)]


def chart_of(lines: list[str]) -> list[str]:
    return [line[7:-2] for line in lines if line.startswith("│")]


MINUTE = [frame(second) for second in range(1, 61)]


class Terminal(io.TextIOWrapper):
    """What a terminal of an encoding was sent."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def sent(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def console_on(terminal: Terminal, width: int, height: int, *, no_color: bool = False) -> Console:
    return Console(
        file=terminal, width=width, height=height, force_terminal=True, _environ={},
        no_color=no_color,
    )  # fmt: skip


@pytest.mark.parametrize("height", [10, 16, 24, 30, 60])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("history", [MINUTE[:1], MINUTE], ids=["start", "minute"])
def test_a_picture_fits_its_terminal(history: list[Frame], width: int, height: int) -> None:
    """No line is longer than the terminal is wide; from 16 lines on there are not too many either."""
    lines = lines_of(history, [52.0], width, height)

    assert width >= max(map(len, lines))
    assert len(lines) < height or height < 16
    assert any("frozen" in line for line in lines)


def test_the_chart_shows_both_models_and_the_change() -> None:
    """Live is low and swings, the twin stands above it from second 21 on, a line marks second 52."""
    chart = chart_of(lines_of(MINUTE, [52.0]))

    assert 10 == len(chart)
    of_live = {row for row, line in enumerate(chart) if "█" in line}
    [of_frozen] = {row for row, line in enumerate(chart) if "▒" in line}
    assert of_frozen < min(of_live)
    assert len(of_live) > 3
    assert 21 == chart[of_frozen].index("▒")
    assert {52} == {line.index("┊") for line in chart if "┊" in line}
    columns = {line.index("█") for line in chart if "█" in line}
    assert 1 == min(columns)


def test_a_long_history_fills_the_chart() -> None:
    """What is older than the chart is wide is drawn closer together; the newest is on the right."""
    chart = chart_of(lines_of([frame(second) for second in range(1, 500)], []))

    assert max(line.rfind("█") for line in chart) == max(line.rfind("▒") for line in chart) >= 88


def test_without_a_twin_it_says_what_it_waits_for() -> None:
    """Before the freeze: a dash for each of its figures, and when there will be some."""
    lines = lines_of(MINUTE[:10], [])

    assert any("frozen: waiting" in line and "first minute" in line for line in lines)
    assert any(line.split()[-3:] == ["frozen", "-", "-"] for line in lines)


def test_missing_figures_are_dashes() -> None:
    """A service that does not answer leaves figures out, not the screen."""
    silent = frame(1, lag=None, fresh_ms=None, answered_ms=(None, None), live=NOTHING)
    text = "\n".join(lines_of([silent], []))

    for name in ("lag", "event to live weights"):
        assert f"{name} " in text
    assert "None" not in text
    assert "█" not in "".join(chart_of(text.splitlines()))


@pytest.mark.parametrize("width", [60, 100])
def test_a_change_of_taste_is_said_for_a_while(width: int) -> None:
    """For twelve seconds; the mark in the chart stays."""
    soon, later = ("\n".join(lines_of(MINUTE[:until], [40.0], width)) for until in (45, 55))

    assert "The taste just changed" in soon
    assert "The taste just changed" not in later
    assert "┊" in "".join(chart_of(later.splitlines()))


def test_what_is_out_of_sight_is_said() -> None:
    """Where the commands have scrolled away, the last line says where they are."""
    assert "Scroll up" in lines_of(MINUTE, [], 80, 24, above=11)[-1]
    assert "Scroll up" not in lines_of(MINUTE, [], 100, 36, above=11)[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_block_characters_gets_others(encoding: str) -> None:
    """The whole screen can be written in its encoding."""
    terminal = Terminal(encoding)
    with Screen(console_on(terminal, 80, 24)) as screen:
        screen.say("starting ...")
        screen.introduce("first prediction", COMMANDS)
        screen.changed(52.0)
        for one in MINUTE[-3:]:
            screen.show(one)

    assert terminal.sent.isascii()
    assert all(mark in terminal.sent for mark in ("# live", "o frozen", "| the taste changed"))


@pytest.mark.parametrize("width", [40, 80])
def test_commands_are_whole_lines(width: int) -> None:
    """The terminal may wrap them; no line end is put into one."""
    terminal = Terminal("utf-8")
    with Screen(console_on(terminal, width, 24)) as screen:
        screen.introduce("first prediction", COMMANDS)

    for command in COMMANDS:
        assert f"{command}\n" in terminal.sent.replace("\r", "")


def test_without_colours_none_is_sent() -> None:
    """NO_COLOR: the models are told apart by their marks."""
    terminal = Terminal("utf-8")
    with Screen(console_on(terminal, 80, 24, no_color=True)) as screen:
        screen.show(MINUTE[-1])

    assert "\x1b[3" not in terminal.sent
    assert "█ live" in terminal.sent


def test_another_size_begins_anew() -> None:
    """What was broken elsewhere is wiped; the commands are there again, the picture fits."""
    terminal = Terminal("utf-8")
    console = console_on(terminal, 100, 36)
    with Screen(console) as screen:
        screen.introduce("first prediction", COMMANDS)
        screen.show(MINUTE[0])
        console.size = (60, 24)
        before = len(terminal.sent)
        screen.show(MINUTE[1])
        after = terminal.sent[before:]

    assert "\x1b[2J" in after
    assert COMMANDS[0] in after.rpartition("\x1b[2J")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", after)
    assert {60} == {len(line) for line in plain.splitlines() if line.startswith("╭")}


def test_lines_tell_every_five_seconds() -> None:
    """Pipes and logs: a line now and then, the change at once, nothing where there is nothing."""
    printed: list[str] = []
    lines = Lines(printed.append)
    for one in MINUTE[:12]:
        lines.show(one)
    lines.changed(12.0)
    lines.show(frame(20, live=NOTHING, fresh_ms=None))

    assert 4 == len(printed)
    assert "live 0.4" in printed[0]
    assert "frozen" not in printed[0]
    assert CHANGED in printed[2]
    assert "log-loss" not in printed[3]
