"""`headwater evaluate`: backtest the settings on files, one pass, scored before learned.

Several variants of the settings are learned one after the other, each from a fresh start.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import rivals
from service.cli.board import board
from service.cli.compared import table
from service.cli.figures import figure
from service.cli.modules import aside
from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.probe_module import probed, tell
from service.cli.variants import Variant, variants_of

if TYPE_CHECKING:
    from service.settings import Settings


_TOLD = ("log_loss", "accuracy", "auc", "mae", "rmse")
"""What is said of the frozen copy in a table; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(help="csv, csv.gz, jsonl, jsonl.gz or parquet, oldest event first."),
    ],
    path: ConfigOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most rows to take.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the curves into this .svg, with experts and their weights over time, or "
            "this .png (needs matplotlib).",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KEY=VALUE,...",
            help="Compare this variant of the settings; may be repeated. So does one key given "
            "several times with --set. At most 64 variants.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Learn files as if they came from the topic, and say how good the predictions were."""
    from service import logs, settings
    from service.errors import HeadwaterError
    from service.stream.files import STDIN

    logs.configure("evaluate")
    if plot is not None:
        _see_to(plot)
    variants = variants_of(set_, variant)
    if len(variants) > 1 and STDIN in files:
        raise typer.BadParameter("stdin cannot be read once for each variant", param_hint="FILES")
    found = [settings.load(path, dict(one.overrides)) for one in variants]
    for at, (one, each) in enumerate(zip(variants, found, strict=True)):
        if _tried(each) not in map(_tried, found[:at]):
            tell(each, probed(each, path, [f"{k}={v}" for k, v in one.overrides.items()]))
    with aside(*found):
        runs = [
            _run(one, each, files, limit, f"{at} of {len(variants)}: " if len(variants) > 1 else "")
            for at, (one, each) in enumerate(zip(variants, found, strict=True), start=1)
        ]
    results = [(run.variant.name, run.result) for run in runs]
    if len(runs) == 1:
        typer.echo(json.dumps(runs[0].result) if as_json else _table(runs[0].result))
    elif as_json:
        typer.echo(json.dumps(_compared(runs)))
    else:
        typer.echo(table(results))
    for run in runs:
        _warn(run)
    if plot is not None:
        try:
            _draw(runs, plot)
        except OSError as why:
            raise HeadwaterError(f"the picture cannot be written: {plot}: {why.strerror}") from why
        typer.echo(f"drawn: {plot}", err=True)


def _see_to(plot: Path) -> None:
    """Raise BadParameter where a picture could not be drawn, before minutes go by."""
    msg = None
    if plot.suffix.lower() not in (".svg", ".png") or not plot.parent.is_dir() or plot.is_dir():
        msg = "name a .svg or .png in a folder that exists"
    elif not os.access(plot if plot.exists() else plot.parent, os.W_OK):
        msg = f"{plot} may not be written"
    elif plot.suffix.lower() == ".png" and importlib.util.find_spec("matplotlib") is None:
        msg = "a .png needs matplotlib: pip install 'headwater[evaluate]'; a .svg needs nothing"
    if msg is not None:
        raise typer.BadParameter(msg, param_hint="--plot")


def _draw(runs: list[_Run], into: Path) -> None:
    """Draw the curves of all runs."""
    if into.suffix.lower() == ".svg":
        from service.learn.race import drawn

        svg = drawn([(run.variant.name, run.points, run.result) for run in runs])
        into.write_text(svg, encoding="utf-8")
    else:
        from service.learn.plot import draw

        draw([(run.variant.name or "model", run.points) for run in runs], into)


def _tried(found: Settings) -> object:
    """What a module's code is tried with."""
    return found.model, found.event, found.challengers


@dataclass(frozen=True, slots=True)
class _Run:
    """One pass over the files under one variant."""

    variant: Variant
    result: dict[str, Any]
    reasons: dict[str, int]
    points: list[tuple[int, dict[str, Any]]]


def _run(
    variant: Variant, found: Settings, files: list[Path], limit: int | None, place: str
) -> _Run:
    from service.cli.progress import bar
    from service.errors import HeadwaterError
    from service.learn.evaluate import evaluate as backtest
    from service.stream.files import count_rows, read_files, to_json

    expected = count_rows(files, limit)
    points: list[tuple[int, dict[str, Any]]] = []
    with bar(f"learning {place}{variant.name}".rstrip(), expected) as progress:
        rows = map(to_json, read_files(files, limit, found.event.columns))
        first = next(rows, None)  # before minutes may go by with compiling
        if first is None:
            raise HeadwaterError(f"{', '.join(map(str, files))}: no event in it")
        result, reasons = backtest(
            found,
            chain([first], rows),
            expected,
            progress,
            lambda done, report: points.append((done, report)),
        )
    return _Run(variant, result, reasons, points)


def _compared(runs: list[_Run]) -> dict[str, Any]:
    return {
        "schema": "headwater.evaluate/1-variants",
        "variants": [
            {"name": run.variant.name, "set": run.variant.overrides, "result": run.result}
            for run in runs
        ],
    }


def _warn(run: _Run) -> None:
    """Say what was not learned, and where no label was."""
    who = f"headwater: {run.variant.name}:" if run.variant.name else "headwater:"
    for name, report in run.result["targets"].items():
        if run.result["rows"] and not report["scored"]:
            typer.echo(f"{who} no row had a label in {name!r}; is it named so?", err=True)
    if run.reasons:
        why = ", ".join(f"{n:,} {reason}" for reason, n in run.reasons.items())
        typer.echo(f"{who} not learned: {why}", err=True)


def _table(result: dict[str, Any]) -> str:
    outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in result["outcomes"].items())
    lines = [
        f"{result['rows']:,} rows in {result['seconds']:.1f} s "
        f"({result['events_per_second']:,} events/s): {outcomes}"
    ]
    for name, report in result["targets"].items():
        lines.append(f"\n{name} ({report['type']}, {report['scored']:,} scored)")
        base, held = report["baselines"], report["held_out"]
        lines.append(
            f"  {'':20}{'model':>12}{'recent':>12}{'no change':>12}{'prior':>12}"
            + (f"{'held out':>12}  ({held['scored']:,} scored)" if held else "")
        )
        for metric, value in report["metrics"].items():
            row = (
                value, report["fading"].get(metric), base["no_change"].get(metric),
                base["prior"].get(metric), *([held["metrics"].get(metric)] if held else ()),
            )  # fmt: skip
            lines.append(f"  {metric:20}" + "".join(f"{figure(v):>12}" for v in row))
        if twin := report["frozen_twin"]:
            lines.append(_twin(twin))
        lines += board([one for one in result["experts"] if one["target"] == name])
        lines += rivals.table(result["challengers"], name)
    lines += rivals.changes(result["promoted"])
    return "\n".join(lines)


def _twin(twin: dict[str, Any]) -> str:
    """Return a line: what a copy would have been worth that had stopped learning."""
    pairs = (
        (m, twin["frozen"]["metrics"].get(m), twin["live_paired"]["metrics"].get(m)) for m in _TOLD
    )
    told = ", ".join(
        f"{metric} {figure(frozen)} (live {figure(live)})"
        for metric, frozen, live in pairs
        if frozen is not None
    )
    return f"  frozen after {twin['events']:,} events, on the {twin['scored']:,} since: {told}"
