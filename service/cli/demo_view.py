"""What the demo tells, and who shows it: line by line, or a screen (demo_screen.py)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from service.cli.demo_twin import Figures

CHANGED = "*** the taste just changed: what people click is drawn anew ***"
TRY = "Three things to try in another terminal:"
_TELL_S = 5.0


class Frame(msgspec.Struct):
    """One look at the service and at the two models."""

    elapsed_s: float
    moment: datetime
    """What time it is in the stream."""
    version: int
    learned: int
    age_s: float
    """Age of the weights that answer."""
    lag: int | None
    fresh_ms: float | None
    answered_ms: tuple[float | None, float | None]
    """Median and 99th percentile of the requests."""
    new_ads: int
    live: Figures
    frozen: Figures
    """Of the last events; nothing while there is no frozen twin."""
    events_per_s: float = 0.0


class View(Protocol):
    """Shows a demo."""

    def say(self, text: str) -> None:
        """Tell what is going on."""

    def introduce(self, first: str, commands: list[str]) -> None:
        """Show the first prediction, and commands to copy."""

    def changed(self, elapsed_s: float) -> None:
        """The taste changed."""

    def show(self, frame: Frame) -> None:
        """Show how it stands; called every second."""


class Lines:
    """A line every five seconds, for logs and pipes."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._told_s = 0.0

    def say(self, text: str) -> None:
        self._print(text)

    def introduce(self, first: str, commands: list[str]) -> None:
        self._print("\n".join([first, "", TRY, *(f"  {one}" for one in commands), ""]))

    def changed(self, elapsed_s: float) -> None:
        self._print(f"{elapsed_s:5.0f} s  {CHANGED}")

    def show(self, frame: Frame) -> None:
        if frame.elapsed_s - self._told_s < _TELL_S:
            return
        self._told_s = frame.elapsed_s
        live, frozen = frame.live["log_loss"], frame.frozen["log_loss"]
        figures = f"log-loss of the last 5,000: live {live:.3f}" if live is not None else ""
        if frozen is not None:
            figures += f", frozen {frozen:.3f}"
        self._print(
            f"{frame.elapsed_s:5.0f} s  version {frame.version:>6}  "
            f"{frame.learned:>9,} events learned, fresh in {shown_ms(frame.fresh_ms, 0)}  {figures}"
        )


def shown_ms(value: float | None, digits: int = 1) -> str:
    """Return milliseconds for people."""
    return "-" if value is None else f"{value:.{digits}f} ms"


def shown_figure(value: float | None) -> str:
    """Return a loss or an AUC for people."""
    return "-" if value is None else f"{value:.3f}"
