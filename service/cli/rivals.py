"""Challengers in words and tables. Knows what the learner reports of them, no settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.cli.figures import figure

_TOLD = ("log_loss", "accuracy", "auc", "mae", "rmse")

Report = dict[str, dict[str, Any]]
"""By the name of the model, see service/model/rivals.py."""


def table(report: Report, target: str) -> Iterator[str]:
    """Return the lines of a target: each model on all its events, and on recent ones."""
    if not report:
        return
    figures = {name: one["targets"][target] for name, one in report.items()}
    metrics = [m for m in _TOLD if m in next(iter(figures.values()))["metrics"]]
    head = "".join(f"{m:>12}" for m in metrics) + "".join(f"{'recent ' + m:>19}" for m in metrics)
    yield f"\n  {'model':24}{'events':>10}{head}"
    for name, one in report.items():
        of = figures[name]
        row = "".join(f"{figure(of['metrics'][m]):>12}" for m in metrics)
        row += "".join(f"{figure(of['fading'][m]):>19}" for m in metrics)
        label = f"{name} ({one['kind']})" + (" *" if one["serves"] else "")
        yield f"  {label:24}{of['scored']:>10,}{row}" + _trouble(one)
    yield "  * answers"


def changes(promoted: list[dict[str, Any]]) -> Iterator[str]:
    """Return a line for each change of the model that answers."""
    for one in promoted:
        yield (
            f"\nafter {one['rows']:,} rows {one['name']} took over from {one['from']}: "
            f"{one['reason']}"
        )


def lines(report: Report) -> str:
    """Return a line for each model, as the status shows it."""
    return "\n".join(_line(name, one) for name, one in report.items())


def _line(name: str, one: dict[str, Any]) -> str:
    told = []
    for target, of in one["targets"].items():
        metric = next((m for m in ("log_loss", "mae") if m in of["fading"]), None)
        if metric is not None:
            told.append(f"{target} {metric} {figure(of['fading'][metric])} (recent)")
    answers = ", answers" if one["serves"] else ""
    learned = f"{one['events_learned']:,} events"
    return f"{name} ({one['kind']}){answers}: {learned}, {', '.join(told)}{_trouble(one)}"


def _trouble(one: dict[str, Any]) -> str:
    failures = [f"{reason} {n}" for reason, n in one["failures"].items() if n]
    told = f"  failed: {', '.join(failures)}" if failures else ""
    return told + (f"; sits out {one['rests']:,} events" if one["rests"] else "")
