"""The demo's picture: figures, the live model beside its frozen twin as a chart, what is new.

Knows rich and what a Frame holds. `drawn` is pure: the same history gives the same picture, which
fits the terminal: a low one has a lower chart, a narrow one has the figures one above the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from service.cli.demo_twin import RECENT, Figures
from service.cli.demo_view import Frame, shown_figure, shown_ms

HISTORY = 600
"""Seconds of history that are drawn."""
_MOST_ROWS, _FEWEST_ROWS = 10, 3
_NEWS_S = 12.0
"""How long it is said that the taste has changed."""
_LIVE, _FROZEN, _CHANGE = "bold green", "bold blue", "yellow"
_WIDE = 76
"""Columns from which on both groups of figures stand side by side."""
_MARGIN = 10
"""Columns of the panel that are not chart: frame, padding, labels."""


class _Marks(NamedTuple):
    live: str
    frozen: str
    changed: str


_DRAWN, _TYPED = _Marks("█", "▒", "┊"), _Marks("#", "o", "|")


def drawn(
    history: list[Frame], changes: list[float], width: int, height: int,
    *, ascii_only: bool = False, above: int = 0,
) -> RenderableType:  # fmt: skip
    """Return the picture.

    changes: when the taste changed, in seconds; width, height: of the terminal, in characters;
    ascii_only: whether it can show no others; above: lines that stand above the picture.
    """
    now = history[-1]
    figures, lines = _figures(now, width)
    said = [_head(now, width), figures, _line(_twin_note(now, width), "dim")]
    others = lines + 6  # head, note, frame of the chart, news, hint
    rows = min(_MOST_ROWS, height - 1 - others)
    fits = above + others + rows < height
    below = [_news(now, changes, width), _line(_hint(width, fits=fits), "dim")]
    if rows < _FEWEST_ROWS:
        return Group(*said, *below)
    marks = _TYPED if ascii_only else _DRAWN
    chart = _chart(history, changes, max(20, width - _MARGIN), rows, marks)
    title = "log-loss of the last {:,} events (lower is better)" if width >= _WIDE else "log-loss"
    panel = Panel(
        chart, title=title.format(RECENT), subtitle=_legend(marks, width), border_style="dim"
    )
    return Group(*said, panel, *below)


def _line(text: str, style: str = "") -> Text:
    """One line of the terminal, whatever its width."""
    return Text(text, style=style, no_wrap=True, overflow="crop")


def _head(now: Frame, width: int) -> Text:
    minutes, seconds = divmod(int(now.elapsed_s), 60)
    moment = now.moment.strftime("%A %H:00")
    about = f"there it is {moment}"
    if width >= _WIDE:
        about = f"synthetic ads; {about}, new ads: {now.new_ads}"
    return Text.assemble(
        ("headwater demo", "bold"), f"   {minutes:02}:{seconds:02}   {about}",
        no_wrap=True, overflow="crop",
    )  # fmt: skip


def _figures(now: Frame, width: int) -> tuple[Table | Group, int]:
    """The service on the left, the two models on the right, or below; and how many lines."""
    service, models = _service(now), _models(now)
    if width < _WIDE:
        return Group(service, models), service.row_count + models.row_count + 1
    both = Table.grid(padding=(0, 4), expand=False)
    both.add_row(service, models)
    return both, service.row_count


def _service(now: Frame) -> Table:
    found = Table.grid(padding=(0, 2))
    found.add_column(style="dim", no_wrap=True)
    found.add_column(justify="right", no_wrap=True)
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
        found.add_row(name, value)
    return found


def _models(now: Frame) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2))
    found.add_column("")
    found.add_column("log-loss", justify="right", no_wrap=True)
    found.add_column("AUC", justify="right", no_wrap=True)
    for name, figures, style in (("live", now.live, _LIVE), ("frozen", now.frozen, _FROZEN)):
        loss, auc = shown_figure(figures["log_loss"]), shown_figure(figures["auc"])
        found.add_row(Text(name, style=style), loss, auc)
    return found


def _twin_note(now: Frame, width: int) -> str:
    wide = width >= _WIDE
    if now.frozen["log_loss"] is None:
        made = "made within the first minute"
        return f"frozen: waiting; a copy of the live model is {made}" if wide else f"frozen: {made}"
    stays = "that learns nothing any more"
    return f"frozen: a copy of the live model {stays}" if wide else f"frozen: a copy {stays}"


def _hint(width: int, *, fits: bool) -> str:
    ends = "Ctrl-C stops everything"
    ends += " and leaves nothing behind." if width >= _WIDE else "."
    return ends if fits else f"Scroll up for what to try. {ends}"


def _news(now: Frame, changes: list[float], width: int) -> Text:
    if not changes or now.elapsed_s - changes[-1] >= _NEWS_S:
        return Text("")
    text = " The taste just changed"
    if width >= _WIDE:
        text += ": what people think of each ad and site is drawn anew"
    return _line(f"{text}. ", "bold black on yellow")


def _legend(marks: _Marks, width: int) -> Text:
    changed = "the taste changed" if width >= _WIDE else "change"
    return Text.assemble(
        (f"{marks.live} live", _LIVE), "   ", (f"{marks.frozen} frozen", _FROZEN), "   ",
        (f"{marks.changed} {changed}", _CHANGE),
    )  # fmt: skip


def _chart(
    history: list[Frame], changes: list[float], columns: int, rows: int, marks: _Marks
) -> Table:
    """Draw both losses over time: one column for each of `columns` spans, newest on the right."""
    last_s = history[-1].elapsed_s
    span_s = max(1.0, min(last_s, HISTORY) / columns)
    first_s = max(0.0, last_s - columns * span_s)
    live = _spread(history, first_s, span_s, columns, lambda frame: frame.live)
    frozen = _spread(history, first_s, span_s, columns, lambda frame: frame.frozen)
    known = [value for value in (*live, *frozen) if value is not None]
    low, high = _bounds(known)
    at = {int((when - first_s) / span_s) for when in changes if when >= first_s}
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    for row in range(rows - 1, -1, -1):
        line = Text()
        for column in range(columns):
            here = [values[column] for values in (live, frozen)]
            level = [None if one is None else _row_of(one, low, high, rows) for one in here]
            if level[0] == row:
                line.append(marks.live, _LIVE)
            elif level[1] == row:
                line.append(marks.frozen, _FROZEN)
            else:
                line.append(*((marks.changed, _CHANGE) if column in at else (" ", "")))
        edge = row in (0, rows - 1)
        label = f"{low + (high - low) * (row + 0.5) / rows:.2f}" if edge or row == rows // 2 else ""
        table.add_row(label, line)
    return table


def _row_of(value: float, low: float, high: float, rows: int) -> int:
    return min(rows - 1, max(0, int((value - low) / (high - low) * rows)))


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
