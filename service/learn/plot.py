"""Draw the curves of evaluations. Needs the extra `evaluate` (matplotlib)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.errors import HeadwaterError

_METRIC = {"binary": "log_loss", "multiclass": "log_loss", "number": "mae"}
_LABEL = {
    "log_loss": "log loss (nats, less is better)",
    "mae": "mean absolute error (less is better)",
}
_PANELS = (
    ("metrics", "baselines", "all rows so far"),
    ("fading", "fading_baselines", "recent rows"),
)
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
"""Okabe and Ito's, told apart by colour-blind eyes too; the pale yellow is left out."""
_STROKES: tuple[Any, ...] = ("-", (0, (1, 1)), (0, (5, 1, 1, 1)))
_BASELINES = (("prior", "prior (mean so far)", "#555555"), ("no_change", "no change", "#A0A0A0"))
_LEGENDED = 21  # more lines than colours and strokes give cannot be told apart

Point = tuple[int, dict[str, Any]]
"""Rows so far, and the report of each target there (Learner.report)."""


def draw(curves: Sequence[tuple[str, Sequence[Point]]], path: Path) -> None:
    """Write the picture as a PNG."""
    picture(curves).savefig(path, dpi=120)


def picture(curves: Sequence[tuple[str, Sequence[Point]]]) -> Any:
    """Return the figure: a row of panels for each target, its main metric over the rows so far and over
    recent rows (a row counts 0.999 as much as the next); a line for each variant, the baselines of
    the first one dashed. A baseline that is far off is named and not drawn."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise HeadwaterError(
            "drawing needs matplotlib: pip install 'headwater[evaluate]'"
        ) from None
    mpl.use("Agg")
    from matplotlib.figure import Figure

    last = curves[0][1][-1][1]
    figure = Figure(figsize=(12, 4.2 * len(last)), layout="constrained")
    panels = figure.subplots(len(last), 2, squeeze=False, sharex=True)
    for row, (target, report) in zip(panels, last.items(), strict=True):
        metric = _METRIC[report["type"]]
        for panel, (window, baselines, what) in zip(row, _PANELS, strict=True):
            _lines(panel, curves, target, (window, metric))
            _dash(panel, curves[0][1], target, (baselines, metric))
            panel.set_title(f"{target}: {what}")
            panel.set_xlabel("rows")
            panel.set_ylabel(_LABEL[metric])
            panel.locator_params(axis="x", nbins=5)
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            panel.grid(visible=True, color="#E6E6E6")
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
        handles, labels = row[0].get_legend_handles_labels()
        row[1].legend(
            handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9
        )
    return figure


def _lines(
    panel: Any, curves: Sequence[tuple[str, Sequence[Point]]], target: str, where: tuple[str, str]
) -> None:
    for at, (name, points) in enumerate(curves):
        rows, values = _series(points, target, *where)
        panel.plot(
            rows,
            values,
            color=_COLOURS[at % len(_COLOURS)],
            linestyle=_STROKES[at // len(_COLOURS) % len(_STROKES)],
            linewidth=1.8,
            marker=_marker(values),
            label=name if at < _LEGENDED else "_more",
        )


def _dash(panel: Any, points: Sequence[Point], target: str, where: tuple[str, str]) -> None:
    """Draw the baselines that lie near the curves; name the others."""
    window, metric = where
    for name, label, colour in _BASELINES:
        rows, values = _series(points, target, window, name, metric)
        there = sorted(value for value in values if not math.isnan(value))
        if not there:
            continue
        middle = there[len(there) // 2]
        low, high = panel.get_ylim()  # of the curves, and of the prior, which comes first
        roof = high + max(0.6 * (high - low), 0.1 * abs(high))
        if name == "no_change" and middle > roof:
            label, rows, values = f"{label}: off the chart, {middle:.3g}", [], []
        panel.plot(
            rows, values, "--", color=colour, linewidth=1.4, marker=_marker(values), label=label
        )


def _marker(values: Sequence[float]) -> str | None:
    """A line of one point would not be seen."""
    return "o" if sum(not math.isnan(value) for value in values) == 1 else None


def _series(points: Sequence[Point], target: str, *keys: str) -> tuple[list[int], list[float]]:
    """Return rows, and a figure at each of them, NaN where it is not defined (yet)."""
    rows, values = [], []
    for done, reports in points:
        found: Any = reports.get(target, {})
        for key in keys:
            found = found.get(key, {})
        rows.append(done)
        values.append(math.nan if found is None or found == {} else float(found))
    return rows, values
