"""The demo as a screen: figures, the live model beside its frozen twin as a chart, what to try.

Knows rich and what a Frame holds. `drawn` is pure: the same history gives the same picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from service.cli.demo_twin import RECENT, Figures
from service.cli.demo_view import TRY, Frame, shown_figure, shown_ms

_HISTORY = 600
"""Seconds of history that are kept."""
_ROWS = 10
_NEWS_S = 12.0
"""How long it is said that the taste has changed."""
_LIVE, _FROZEN, _CHANGE = "bold green", "bold blue", "yellow"


class Screen:
    """A screen of a terminal. Use as a context manager: what the screen replaced comes back, and
    the last picture stays."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._history: deque[Frame] = deque(maxlen=_HISTORY)
        self._changes: list[float] = []

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        if not self._history:
            self._live.update(Text(text), refresh=True)

    def introduce(self, first: str, commands: list[str]) -> None:
        self._live.update(Text(""), refresh=True)
        for text in (first, "", TRY, "", *commands, ""):  # whole lines, to be copied
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def changed(self, elapsed_s: float) -> None:
        self._changes.append(elapsed_s)

    def show(self, frame: Frame) -> None:
        self._history.append(frame)
        picture = drawn(list(self._history), self._changes, self._console.width)
        self._live.update(picture, refresh=True)


def drawn(history: list[Frame], changes: list[float], width: int) -> RenderableType:
    """Return the screen. `changes`: when the taste changed, in seconds; `width` in characters."""
    now = history[-1]
    return Group(
        _head(now),
        _figures(now),
        Panel(
            _chart(history, changes, max(30, width - 16)),
            title=f"log-loss of the last {RECENT:,} events (lower is better)",
            subtitle=_legend(),
            border_style="dim",
        ),
        _news(now, changes),
        Text("Ctrl-C stops everything and leaves nothing behind.", style="dim"),
    )


def _head(now: Frame) -> Text:
    minutes, seconds = divmod(int(now.elapsed_s), 60)
    clock = now.moment.strftime("%A %H:00")
    return Text.assemble(
        ("headwater demo", "bold"), f"   {minutes:02}:{seconds:02}",
        f"   synthetic ad impressions; there it is {clock}, {now.new_ads} ads were new so far",
    )  # fmt: skip


def _figures(now: Frame) -> Table:
    """The service on the left, the two models on the right."""
    both = Table.grid(padding=(0, 4), expand=False)
    service = Table.grid(padding=(0, 2))
    service.add_column(style="dim")
    service.add_column(justify="right")
    lag = "-" if now.lag is None else f"{now.lag:,} records"
    median, slow = now.answered_ms
    for name, value in (
        ("events learned", f"{now.learned:,}"),
        ("events/s", f"{now.events_per_s:,.0f}"),
        ("version", f"{now.version:,}"),
        ("age of the weights", shown_ms(1000 * now.age_s, 0)),
        ("lag", lag),
        ("event to live weights", shown_ms(now.fresh_ms, 0)),
        ("predictions p50, p99", f"{shown_ms(median)}, {shown_ms(slow)}"),
    ):
        service.add_row(name, value)
    models = Table(box=None, pad_edge=False, padding=(0, 2))
    models.add_column("")
    models.add_column("log-loss", justify="right")
    models.add_column("AUC", justify="right")
    for name, figures, style in (("live", now.live, _LIVE), ("frozen", now.frozen, _FROZEN)):
        models.add_row(
            Text(name, style=style),
            shown_figure(figures["log_loss"]),
            shown_figure(figures["auc"]),
        )
    note = "frozen: a copy of the live model that learns nothing any more"
    waiting = "the frozen twin is made within the first minute"
    said = note if now.frozen["log_loss"] is not None else waiting
    both.add_row(service, Group(models, Text(""), Text(said, style="dim")))
    return both


def _news(now: Frame, changes: list[float]) -> Text:
    if changes and now.elapsed_s - changes[-1] < _NEWS_S:
        text = " The taste just changed: what people think of each ad and site is drawn anew. "
        return Text(text, style="bold black on yellow")
    return Text("")


def _legend() -> Text:
    return Text.assemble(
        ("█ live", _LIVE), "   ", ("▒ frozen", _FROZEN), "   ", ("┊ the taste changed", _CHANGE)
    )


def _chart(history: list[Frame], changes: list[float], columns: int) -> Table:
    """Draw both losses over time: one column for each of `columns` spans, newest on the right."""
    last_s = history[-1].elapsed_s
    span_s = max(1.0, min(last_s, _HISTORY) / columns)
    first_s = max(0.0, last_s - columns * span_s)
    live = _spread(history, first_s, span_s, columns, lambda frame: frame.live)
    frozen = _spread(history, first_s, span_s, columns, lambda frame: frame.frozen)
    known = [value for value in (*live, *frozen) if value is not None]
    low, high = _bounds(known)
    at = {int((when - first_s) / span_s) for when in changes if when >= first_s}
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column()
    for row in range(_ROWS - 1, -1, -1):
        line = Text()
        for column in range(columns):
            line.append(*_cell(row, column, live, frozen, at, low, high))
        edge = row in (0, _ROWS - 1)
        label = f"{low + (high - low) * (row + 0.5) / _ROWS:.2f}" if edge or row == 4 else ""
        table.add_row(label, line)
    return table


def _cell(
    row: int, column: int, live: list[float | None], frozen: list[float | None], at: set[int],
    low: float, high: float,
) -> tuple[str, str]:  # fmt: skip
    def is_here(values: list[float | None]) -> bool:
        value = values[column]
        return value is not None and _row_of(value, low, high) == row

    if is_here(live):
        return "█", _LIVE
    if is_here(frozen):
        return "▒", _FROZEN
    return ("┊", _CHANGE) if column in at else (" ", "")


def _row_of(value: float, low: float, high: float) -> int:
    return min(_ROWS - 1, max(0, int((value - low) / (high - low) * _ROWS)))


def _bounds(known: list[float]) -> tuple[float, float]:
    """Return the lower and the upper edge of the chart, in steps of a twentieth."""
    if not known:
        return 0.0, 1.0
    low, high = math.floor(min(known) * 20) / 20, math.ceil(max(known) * 20) / 20
    return low, max(high, low + 0.1)


def _spread(
    history: list[Frame],
    first_s: float,
    span_s: float,
    columns: int,
    of: Callable[[Frame], Figures],
) -> list[float | None]:
    """Return the loss in each span; between two frames the earlier one holds."""
    found: list[float | None] = [None] * columns
    frames: list[tuple[float, Figures]] = [(frame.elapsed_s, of(frame)) for frame in history]
    ends = [*(when for when, _ in frames[1:]), frames[-1][0] + span_s]
    for (when, figures), until in zip(frames, ends, strict=True):
        begin = max(0, int((when - first_s) / span_s))
        end = min(columns, max(begin + 1, int((until - first_s) / span_s)))
        for column in range(begin, end):
            found[column] = figures["log_loss"]
    return found
