"""Figures over time: how members of a mixture, models and baselines did between one place of a
stream and the next, where a leaderboard only says how they did altogether.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from service.learn.leaderboard import figures_of, members_of
from service.learn.learner import Learner

MEANS = ("accuracy", "log_loss", "mae")
"""Figures that are means over events, so that those of a part can be told from those of a whole."""


class Track:
    """Follows the members of each target from place to place."""

    def __init__(self) -> None:
        self._curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._before: dict[tuple[str, str], tuple[float, float, float]] = {}
        self._curves_of_models: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._reports: dict[tuple[str, str], Mapping[str, Any]] = {}

    def note(self, learner: Learner, rows: int) -> None:
        """Take how all members have done after that many rows of the stream; once for each."""
        for target, scale, one in members_of(learner):
            name = (target.name, one.member)
            curve = self._curves.setdefault(name, [])
            if curve and curve[-1]["rows"] == rows:
                continue
            now = (one.rows, one.rows * one.loss * scale**2, one.rows * one.mark * scale)
            if target.kind != "number":
                now = (one.rows, one.rows * one.loss, one.rows * one.mark)
            n, loss, mark = (
                b - a for a, b in zip(self._before.get(name, (0.0,) * 3), now, strict=True)
            )
            self._before[name] = now
            found = figures_of(target, max(loss, 0.0) / n, max(mark, 0.0) / n, 1.0) if n > 0 else {}
            curve.append({
                "rows": rows, "weight": round(one.weight, 4),
                **{metric: _short(value) for metric, value in found.items()},
            })  # fmt: skip

    def curve(self, target: str, member: str) -> list[dict[str, Any]]:
        """Return [{"rows", "weight", and its metrics on the events since the place before}]; a place
        before which it predicted nothing has no metrics."""
        return self._curves.get((target, member), [])

    def note_models(self, models: Mapping[str, Any], rows: int) -> None:
        """Take how challengers have done after that many rows: {name: {"targets": {target: report}}}."""
        for model, one in models.items():
            for target, report in one["targets"].items():
                name = (target, model)
                curve = self._curves_of_models.setdefault(name, [])
                if curve and curve[-1]["rows"] == rows:
                    continue
                figures = between(self._reports.get(name), report, ("metrics",))
                known = {m: _short(v) for m, v in figures.items() if v is not None}
                curve.append({"rows": rows, **known})
                self._reports[name] = report

    def curve_of_model(self, target: str, model: str) -> list[dict[str, Any]]:
        """Return [{"rows", and its metrics on the events since the place before}] of a challenger."""
        return self._curves_of_models.get((target, model), [])


def between(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], where: tuple[str, ...]
) -> dict[str, float | None]:
    """Return the means over the events between two reports of a target (see prequential.report).
    where: the keys that lead to the metrics. None: nothing was scored between them."""
    n = now["scored"] - (before["scored"] if before else 0)
    found: dict[str, float | None] = {}
    for metric in MEANS:
        last, first = _at(now, where, metric), _at(before, where, metric) if before else 0.0
        if last is None:
            continue
        total = last * now["scored"] - (first or 0.0) * (before["scored"] if before else 0)
        found[metric] = total / n if n > 0 else None
    return found


def _at(report: Mapping[str, Any], where: tuple[str, ...], metric: str) -> float | None:
    found: Any = report
    for key in (*where, metric):
        found = (found or {}).get(key)
    return None if found is None or math.isnan(found) else float(found)


def _short(value: float) -> float:
    """Return a figure to seven digits, however small it is."""
    return float(f"{value:.7g}")
