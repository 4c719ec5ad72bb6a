"""Results of several variants in one table, best figures marked. Knows results, no settings."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

from service.cli.figures import SMALL, figure

_SHOWN = {
    "binary": ("log_loss", "accuracy", "auc", "average_precision", "f1"),
    "multiclass": ("log_loss", "accuracy", "f1_macro", "kappa"),
    "number": ("mae", "rmse", "r2"),
}
_LESS_IS_BETTER = frozenset(("log_loss", "mae", "rmse"))
_WIDTH = 160

Named = tuple[str, dict[str, Any]]
"""Name of a variant and its result."""


def table(results: Sequence[Named]) -> str:
    """Return a table for each target: a row for each variant, its difference to the first behind
    each figure, `*` at the best, and the baselines below."""
    from rich.console import Console

    shown = io.StringIO()
    on_terminal = sys.stdout.isatty()
    console = Console(
        file=shown,
        force_terminal=on_terminal,
        width=max(Console().width, 80) if on_terminal else _WIDTH,
    )
    for target in dict.fromkeys(name for _, one in results for name in one["targets"]):
        console.print(_one(target, results))
    console.print("* the best of the variants; in brackets the difference to the first.")
    return shown.getvalue().rstrip("\n")


def best(metric: str, values: Sequence[float | None]) -> float | None:
    """Return the best of the values that there are."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return min(there) if metric in _LESS_IS_BETTER else max(there)


def _one(target: str, results: Sequence[Named]) -> Any:
    from rich.table import Table
    from rich.text import Text

    first = next(one["targets"][target] for _, one in results if target in one["targets"])
    metrics = _SHOWN[first["type"]]
    made = Table(
        title=f"{target} ({first['type']}, {first['scored']:,} scored)", title_justify="left"
    )
    made.add_column("variant")
    for metric in metrics:
        made.add_column(metric, justify="right")
    made.add_column("events/s", justify="right")
    found = [(name, result, result["targets"].get(target)) for name, result in results]
    tops = {
        metric: best(metric, [r["metrics"].get(metric) for *_, r in found if r])
        for metric in metrics
    }
    for name, result, report in found:
        cells = []
        for metric in metrics:
            value = report["metrics"].get(metric) if report else None
            text = _figure(value, None if report is first else first["metrics"].get(metric))
            top = value is not None and value == tops[metric]
            cells.append(Text(f"* {text}" if top else text, style="bold" if top else ""))
        made.add_row(Text(name), *cells, f"{result['events_per_second']:,}")
    made.add_section()
    for baseline, figures in first["baselines"].items():
        row = [_figure(figures.get(metric), None) for metric in metrics]
        made.add_row(baseline.replace("_", " "), *row, "", style="dim")
    return made


def _figure(value: float | None, beside: float | None) -> str:
    if value is None or beside is None:
        return figure(value)
    more = value - beside
    return (
        f"{figure(value)} ({more:+.4f})"
        if abs(value) >= SMALL
        else f"{figure(value)} ({more:+.2g})"
    )
