"""How far a command is: a bar on stderr where that is a terminal, else a line of the log now and then.

Nothing is shown of what is over within a second. The bar is drawn by a thread of its own, so that
work which says nothing for a while does not look dead; logs and notes come above it. It leaves
nothing behind, also on Ctrl-C, and never hides the cursor: a command that is killed could not bring
it back. stdout is left alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from service.logs import logger
from service.progress import EVERY_S, SOON_S, Clock, Lines, Pace, looking

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

_log = logger(__name__)
_WIDEST, _NARROWEST = 24, 6


@contextmanager
def bar(what: str, total: int | None, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """Show how far the block is while it runs; call the result with how much is done.

    total: how much there is; None when that is not known.
    """
    with shown(what, Pace(unit, total)) as pace:
        yield pace.reach


@contextmanager
def shown(what: str, pace: Pace) -> Iterator[Pace]:
    """Show a pace while the block runs."""
    console = drawable(sys.stderr)
    if console is None:
        lines = Lines(pace, lambda now: _say(what, now), after_s=EVERY_S)
        with looking(lines.look):
            yield pace
        return
    drawn = Bar(what, pace, console)
    try:
        with looking(drawn.look):
            yield pace
    finally:
        drawn.close()


def drawable(stream: TextIO) -> Console | None:
    """Return what draws on a stream; None where that is no terminal, or one that only prints."""
    if not stream.isatty():
        return None
    from rich.console import Console

    class Drawing(Console):
        """A console that leaves the cursor where one can see it."""

        def show_cursor(self, show: bool = True) -> bool:
            del show
            return False

    console = Drawing(file=stream)
    return None if console.is_dumb_terminal else console


class Bar:
    """One line on a terminal that is drawn anew at each `look`, once a second has passed."""

    def __init__(
        self, what: str, pace: Pace, console: Console, clock: Clock = time.monotonic
    ) -> None:
        self._what = what
        self._pace = pace
        self._console = console
        self._clock = clock
        self._from_s = clock() + SOON_S
        self._live: Live | None = None

    def look(self) -> None:
        """Draw it, unless it is too early."""
        if self._clock() < self._from_s:
            return
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                self._line(),
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,  # data goes where the user sent it
            )
            self._live.start()
        self._live.update(self._line(), refresh=True)

    def close(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        told = Text(self._pace.told(), no_wrap=True, overflow="ellipsis")
        what = Text(self._what, no_wrap=True, overflow="ellipsis")
        share = self._pace.share
        room = self._console.width - len(what) - len(told) - 3
        if share is None:
            line.add_row(what, told)
        else:
            line.add_row(
                what, ProgressBar(1.0, share, width=max(_NARROWEST, min(room, _WIDEST))), told
            )
        return line


def _say(what: str, pace: Pace) -> None:
    _log.info("progress", what=what, **pace.figures())
