"""The picture of an evaluation over time: how well the model, its experts, its challengers and the
baselines predicted from place to place, and what each expert counted in the mixture. As SVG.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.learn.chart import Line, Panel, cut, picture
from service.learn.track import between

SHOWN = {"binary": "accuracy", "multiclass": "accuracy", "number": "mae"}
"""The figure of each type of target that is drawn, and told over time."""
_UNIT = {"accuracy": "accuracy (share right)", "mae": "mean absolute error (less is better)"}
_BASELINES = (("no_change", "no change"), ("prior", "prior"))
_COLOURS = (
    "#2f7fd1", "#d9822b", "#3a9d4f", "#d64545", "#7a5bd6", "#17a2a2",
    "#c2527f", "#8a6d3b", "#7f9a1d", "#97a3ae", "#3f5fa8", "#c66be0", "#2bb3d9", "#e0a800",
    "#b5544a", "#5f8f7d", "#ff7fa8", "#6b7f1f", "#a07be8", "#d16d9e",
)  # fmt: skip
"""Of middling lightness: they can be told from a light ground and from a dark one."""
_ORDER = (
    "nets",
    "forest",
    "kernel",
    "newton",
    "cross",
    "bayes",
    "squares",
    "factors",
    "words",
    "prior",
    "steps",
    "quantiles",
    "habits",
)
_NAME = 40
"""Letters of a target's name that a panel has room for."""

Point = tuple[int, dict[str, Any]]
"""Rows so far, and the report of each target there (Learner.report)."""


@dataclass(frozen=True)
class Scores:
    """How somebody did over time: its figure at each place, of the events since the place before."""

    name: str
    rows: Sequence[int]
    values: Sequence[float | None]
    total: float | None
    """Of the whole stream."""
    weights: Sequence[float] = field(default=())
    """What it counted in the mixture at each place, if it is a member."""

    @property
    def family(self) -> str:
        """Return the expert that it is a member of."""
        return self.name.split("/")[0]


def of_model(
    name: str, points: Sequence[Point], target: str, where: tuple[str, ...] = ("metrics",)
) -> Scores:
    """Return how a model did (or with `where` a baseline) by the reports at places."""
    rows: list[int] = []
    values: list[float | None] = []
    before = None
    metric = SHOWN[points[-1][1][target]["type"]]
    for done, reports in points:
        if rows and done <= rows[-1]:
            continue  # the last place is told twice
        rows.append(done)
        values.append(between(before, reports[target], where).get(metric))
        before = reports[target]
    found: Any = points[-1][1][target]
    for key in (*where, metric):
        found = (found or {}).get(key)
    n = _even(rows)
    return Scores(name, rows[:n], values[:n], found)


def of_experts(standings: Iterable[Mapping[str, Any]], target: str, metric: str) -> list[Scores]:
    """Return how the experts of a mixture did, by `experts` in the result of evaluate: the best first."""
    mine = (one for one in standings if one["target"] == target)
    return [_of_places(one["expert"], one, metric) for one in mine]


def of_challengers(models: Mapping[str, Any], target: str, metric: str) -> list[Scores]:
    """Return how the challengers did, by `challengers` in the result of evaluate: {name: {"targets":
    {target: {"metrics", "curve"}}}}, of which the first is the model that they challenge."""
    return [
        _of_places(name, one["targets"][target], metric)
        for name, one in list(models.items())[1:]
        if target in one["targets"]
    ]


def _of_places(name: str, told: Mapping[str, Any], metric: str) -> Scores:
    curve = told.get("curve", ())
    places = curve[: _even([place["rows"] for place in curve])]
    return Scores(
        name,
        [place["rows"] for place in places],
        [place.get(metric) for place in places],
        told["metrics"].get(metric),
        [place.get("weight", 0.0) for place in places],
    )


def _even(rows: Sequence[int]) -> int:
    """Return how many places to show: the last may be of so few rows that its figure is chance."""
    n = len(rows)
    return n - 1 if n > 2 and 2 * (rows[-1] - rows[-2]) < rows[1] - rows[0] else n


def drawn(runs: Sequence[tuple[str, Sequence[Point], Mapping[str, Any]]]) -> str:
    """Return the picture of runs over the same rows: (name, reports at places, result of evaluate).
    Of one run also its experts and challengers, of several a line each, where they have the target."""
    panels: list[Panel] = []
    result, several = runs[0][2], len(runs) > 1
    first = {target: run for run in reversed(runs) for target in run[1][-1][1]}
    for target, (_, points, _) in sorted(first.items(), key=lambda one: runs.index(one[1])):
        kind = points[-1][1][target]["type"]
        metric = SHOWN[kind]
        named = [
            of_model(name or "model", p, target)
            for name, p, _ in runs
            if p[-1][1].get(target, {}).get("type") == kind
        ]
        experts = [] if several else of_experts(result["experts"], target, metric)
        rivals = {} if several else result.get("challengers", {})
        panels.append(
            scores_panel(
                target,
                metric,
                named,
                [of_model(label, points, target, ("baselines", key)) for key, label in _BASELINES],
                experts,
                of_challengers(rivals, target, metric),
            )
        )
        if experts:
            panels.append(weights_panel(target, experts))
    rows = f"{result['rows']:,} rows"
    return picture(f"Scored before learned, over {rows}: {', '.join(first)}", panels)


def scores_panel(
    target: str,
    metric: str,
    models: Sequence[Scores],
    baselines: Sequence[Scores],
    experts: Sequence[Scores],
    rivals: Sequence[Scores],
) -> Panel:
    """Return the panel of figures: the best member of each expert in its colour, others thin."""
    colours = _colours([one.family for one in experts])
    best = {one.family: one for one in reversed(experts)}  # the first of a family is its best
    lines = [
        *(Line(m.name, m.rows, m.values, "rival" if k else "whole",
               _COLOURS[k % len(_COLOURS)] if k else "", _figure(m.total))
          for k, m in enumerate(models)),
        *(Line(r.name, r.rows, r.values, "rival", _COLOURS[~k % len(_COLOURS)], _figure(r.total))
          for k, r in enumerate(rivals)),
        *(Line(e.name, e.rows, e.values, "", colours[e.family], _figure(e.total))
          for e in experts if e is best[e.family]),
        *(Line(b.name, b.rows, b.values, "base", note=_figure(b.total)) for b in baselines),
        *(Line(e.name, e.rows, e.values, "thin", colours[e.family])
          for e in experts if e is not best[e.family]),
    ]  # fmt: skip
    low, high = _limits([*models, *best.values(), *rivals], baselines, metric)
    width = _between_places(models[0].rows)
    return Panel(
        f"{cut(target, _NAME)}: how well it was predicted, each point the {width:,} rows before it",
        _UNIT[metric],
        [_told(line, low, high) for line in lines],
        low,
        high,
        head="of all rows",
    )


def weights_panel(target: str, experts: Sequence[Scores]) -> Panel:
    """Return the panel of weights: what the members of each expert count together."""
    colours = _colours([one.family for one in experts])
    lines = []
    for family, colour in colours.items():
        members = [one for one in experts if one.family == family]
        sums = [sum(at) for at in zip(*(one.weights for one in members), strict=True)]
        lines.append(
            Line(family, members[0].rows, sums, "", colour, f"{sums[-1]:.2f}" if sums else "")
        )
    return Panel(
        f"{cut(target, _NAME)}: what each expert counts in the mixture",
        "weight (all together 1)",
        lines,
        0.0,
        1.0,
        height=190,
        stacked=True,
        head="at the last point",
    )


def _told(line: Line, low: float, high: float) -> Line:
    """Return the line, and say in the legend where none of it can be seen."""
    there = [value for value in line.values if value is not None]
    if line.kind == "thin" or not there or any(low <= value <= high for value in there):
        return line
    return Line(
        f"{line.name} (off the chart)", line.rows, line.values, line.kind, line.colour, line.note
    )


def _limits(
    shown: Sequence[Scores], baselines: Sequence[Scores], metric: str
) -> tuple[float, float]:
    """Return the range of a panel: nearly all of the better two thirds of what is shown, and of a
    baseline that is near them. What is far off does not press the others together."""
    sign = 1.0 if metric == "accuracy" else -1.0
    ranked = sorted(
        ([v * sign for v in one.values if v is not None] for one in shown),
        key=lambda values: -_quantile(values, 0.5),
    )
    good = [values for values in ranked if values][: 1 + len(ranked) * 2 // 3]
    if not good:
        return 0.0, 1.0
    low = min(_quantile(values, 0.05) for values in good)
    high = max(_quantile(values, 1.0) for values in good)
    for one in baselines:
        there = [v * sign for v in one.values if v is not None]
        if there and low - 0.7 * (high - low) <= _quantile(there, 0.5):
            low = min(low, _quantile(there, 0.1))
    low, high = sorted((low * sign, high * sign))
    room = 0.06 * (high - low or abs(high) or 1.0)
    return max(low - room, 0.0), min(high + room, 1.0) if metric == "accuracy" else high + room


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))] if ordered else -math.inf


def _colours(families: Iterable[str]) -> dict[str, str]:
    """Return a colour for each expert: the same in every picture for those that come with the house, and
    in all panels of one picture for others."""
    there = dict.fromkeys(families)
    known = [name for name in _ORDER if name in there]
    own = sorted(name for name in there if name not in _ORDER)
    at = {name: _ORDER.index(name) for name in known}
    at |= {name: len(_ORDER) + k for k, name in enumerate(own)}
    return {name: _COLOURS[at[name] % len(_COLOURS)] for name in [*known, *own]}


def _between_places(rows: Sequence[int]) -> int:
    return rows[1] - rows[0] if len(rows) > 1 else rows[0] if rows else 0


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
