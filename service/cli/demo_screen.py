"""The demo on a terminal: draws pictures (demo_picture.py), again when its size changes.

Above the picture stand the first prediction and what to try, in whole lines, to be copied.
"""

from __future__ import annotations

from collections import deque

from rich.console import Console
from rich.live import Live
from rich.text import Text

from service.cli.demo_picture import HISTORY, drawn
from service.cli.demo_view import TRY, Frame


class Screen:
    """A screen of a terminal. Use as a context manager; the last picture stays."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = self._begun()
        self._size = self._console.size
        self._history: deque[Frame] = deque(maxlen=HISTORY)
        self._changes: list[float] = []
        self._above: list[str] = []

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
        self._above = [first, "", TRY, "", *commands, ""]
        self._print_above()

    def changed(self, elapsed_s: float) -> None:
        self._changes.append(elapsed_s)

    def show(self, frame: Frame) -> None:
        self._history.append(frame)
        if self._console.size != self._size:
            self._begin_anew()
        width, height = self._size
        picture = drawn(
            list(self._history), self._changes, width, height,
            ascii_only=self._console.options.ascii_only,
            above=self._lines_above(width),
        )  # fmt: skip
        self._live.update(picture, refresh=True)

    def _begun(self) -> Live:
        return Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def _begin_anew(self) -> None:
        """The terminal has another size: what stands there was broken elsewhere, so wipe it."""
        self._size = self._console.size
        self._live.stop()
        self._console.clear()
        self._print_above()
        self._live = self._begun()
        self._live.start()

    def _print_above(self) -> None:
        for text in self._above:
            self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def _lines_above(self, width: int) -> int:
        return sum(max(1, -(-len(text) // width)) for text in self._above)
