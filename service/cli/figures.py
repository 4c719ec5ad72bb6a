"""How a figure is written in tables and lines."""

from __future__ import annotations

SMALL = 0.0001
"""Below it four decimals say nothing."""
LARGE = 1000.0
"""From it on decimals may be left out."""


def figure(value: float | None, room: int = 11) -> str:
    """Return a figure with four decimals, or so many digits as there is room for where it is too small or
    too large for these; `-` where there is none.

    >>> [figure(value) for value in (0.25, 0.0, 4.123e-7, 123456.5, 1234567890.0, None)]
    ['0.2500', '0.0000', '4.123e-07', '123456.5000', '1234567890', '-']
    """
    if value is None:
        return "-"
    told = [f"{value:.4f}"] if value == 0.0 or abs(value) >= SMALL else []
    told += [f"{value:.1f}", f"{value:.0f}"] if abs(value) >= LARGE else []
    told += [f"{value:.{digits}g}" for digits in (4, 3, 2)]
    return next((text for text in told if len(text) <= room), told[-1])
