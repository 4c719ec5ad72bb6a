"""What a benchmark finds: figures with the baseline of the same run, as JSON or as a table.

Knows no benchmark. The ratio of each run is the figure over its own baseline; the ratio that is
shown is the median of those, never a ratio of medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


class Failed(Exception):
    """A benchmark could not be made, or what it measured was not true. Nothing is to be shown."""


class Run(msgspec.Struct, frozen=True):
    """One round: the figure, its baseline measured beside it, and their ratio."""

    value: float
    baseline: float | None = None
    ratio: float | None = None

    @classmethod
    def against(cls, value: float, baseline: float) -> Run:
        """Return a round with its ratio."""
        return cls(value, baseline, value / baseline)


class Baseline(msgspec.Struct, frozen=True):
    """What the figure is held against. value: None where it could not be had; the name says why."""

    name: str
    value: float | None


class Result(msgspec.Struct, frozen=True):
    """One figure. `details`: whatever else was seen, for people who ask."""

    name: str
    value: float
    unit: str
    baseline: Baseline | None
    ratio: float | None
    runs: Sequence[Run]
    details: dict[str, Any] = {}


def of_rounds(
    name: str, unit: str, baseline: str, runs: Sequence[Run], details: dict[str, Any] | None = None
) -> Result:
    """Return the medians over rounds."""
    return Result(
        name=name,
        value=statistics.median(run.value for run in runs),
        unit=unit,
        baseline=Baseline(baseline, _median(run.baseline for run in runs)),
        ratio=_median(run.ratio for run in runs),
        runs=runs,
        details=details or {},
    )


def as_json(results: Sequence[Result], machine: dict[str, Any]) -> bytes:
    """Return the contract's object."""
    return msgspec.json.encode({"results": results, "machine": machine})


def as_table(results: Sequence[Result], machine: dict[str, Any]) -> str:
    """Return medians and their spread for people, and the machine below them."""
    rows: list[tuple[str, ...]] = [
        ("", "", "median", "min - max", "baseline", "median", "ratio", "min - max")
    ]
    rows += [_row(result) for result in results]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    left = {0, 1, 4}
    lines = [
        "  ".join(
            text.ljust(width) if at in left else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.append("")
    lines += [f"{name}: {_said(value)}" for name, value in machine.items()]
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    ratios = [run.ratio for run in result.runs if run.ratio is not None]
    baseline = result.baseline
    return (
        result.name,
        result.unit,
        _figure(result.value),
        _spread([run.value for run in result.runs]),
        "" if baseline is None else baseline.name,
        "" if baseline is None or baseline.value is None else _figure(baseline.value),
        "" if result.ratio is None else _figure(result.ratio),
        _spread(ratios),
    )


def _median(values: Iterable[float | None]) -> float:
    return statistics.median(value for value in values if value is not None)


def _spread(values: Sequence[float]) -> str:
    return f"{_figure(min(values))} - {_figure(max(values))}" if values else ""


def _figure(value: float) -> str:
    """Four digits say all that such a figure knows."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value else "0"


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return str(value)
