"""The leaderboard of experts as lines of a table: their figures, how the main one was at
the beginning, in the middle and at the end of the stream, and their weight over time.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from service.cli.figures import figure

PARTS = ("begin", "middle", "end")
"""Thirds of the stream."""
_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 16
_MAIN = ("accuracy", "mae")
"""Figures that are told over time."""


def board(standings: Sequence[Mapping[str, Any]], *, bars: bool | None = None) -> list[str]:
    """Return the lines of one target's experts, in their order; none if there are none. bars: whether
    the output can show them; None: look."""
    if not standings:
        return []
    metrics = list(standings[0]["metrics"])
    main = next((m for m in _MAIN if m in metrics), metrics[0])
    width = max(24, *(len(one["expert"]) for one in standings))
    shows = _can_show() if bars is None else bars
    head = f"{'weight':>8}" + "".join(f"{metric:>10}" for metric in metrics) + f"{main + ':':>11}"
    head += "".join(f"{part:>8}" for part in PARTS) + ("  weight over time" if shows else "")
    lines = [f"\n  {'expert':{width}}{head}"]
    for one in standings:
        row = (
            f"{one['weight']:>8.3f}"
            + "".join(f"{figure(one['metrics'].get(m), 9):>10}" for m in metrics)
            + " " * 11
        )
        row += "".join(f"{figure(value, 7):>8}" for value in parts(one["curve"], main))
        if shows:
            row += "  " + spark([place["weight"] for place in one["curve"]])
        lines.append(f"  {one['expert']:{width}}{row}".rstrip())
    return lines


def parts(curve: Sequence[Mapping[str, Any]], metric: str) -> list[float | None]:
    """Return the mean of a figure over each third of the places; None where there was none. Of fewer
    than three places, over those that lie in the third: the middle of two is of both."""
    n, found = len(curve), []
    starts = [0, *(place["rows"] for place in curve)]
    whole = len(PARTS) - 1 if n < len(PARTS) else 0  # a place that reaches into a third counts
    for k in range(len(PARTS)):
        first, last = k * n // len(PARTS), ((k + 1) * n + whole) // len(PARTS)
        there = [
            (place["rows"] - start, place[metric])
            for place, start in zip(curve[first:last], starts[first:last], strict=False)
            if place.get(metric) is not None
        ]
        rows = sum(n for n, _ in there)
        found.append(sum(n * value for n, value in there) / rows if rows else None)
    return found


def spark(shares: Sequence[float]) -> str:
    """Return bars for shares from 0 to 1, at most 16: each the mean of as many neighbours."""
    columns = min(_WIDEST, len(shares))
    told = ""
    for k in range(columns):
        some = shares[k * len(shares) // columns : (k + 1) * len(shares) // columns]
        share = min(max(sum(some) / len(some), 0.0), 1.0)
        told += _BARS[round(share * (len(_BARS) - 1))]
    return told


def _can_show() -> bool:
    try:
        _BARS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
