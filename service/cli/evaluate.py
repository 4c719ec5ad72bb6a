"""`headwater evaluate`: backtest the settings on files, one pass, scored before learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption, overrides
from service.cli.probe_module import probed, tell


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
        Path | None, typer.Option(help="Draw the curve into this PNG.", show_default=False)
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn files as if they came from the topic, and say how good the predictions were."""
    from service import logs, settings
    from service.cli.progress import bar

    logs.configure("evaluate")
    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise typer.BadParameter("name a .png in a folder that exists", param_hint="--plot")
    found = settings.load(path, overrides(set_))
    tell(found, probed(found, path, set_))
    from service.learn.evaluate import evaluate as backtest
    from service.stream.files import count_rows, read_files, to_json

    expected = count_rows(files, limit)
    with bar("learning", expected) as progress:
        rows = map(to_json, read_files(files, limit))
        result, reasons = backtest(found, rows, expected, progress)
    typer.echo(json.dumps(result) if as_json else _table(result))
    for name, report in result["targets"].items():
        if result["rows"] and not report["scored"]:
            typer.echo(f"headwater: no row had a label in {name!r}; is it named so?", err=True)
    if reasons:
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        typer.echo(f"headwater: not learned: {why}", err=True)
    if plot is not None:
        from service.learn.plot import draw

        draw(result, plot)
        typer.echo(f"drawn: {plot}", err=True)


def _table(result: dict[str, Any]) -> str:
    outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in result["outcomes"].items())
    lines = [
        f"{result['rows']:,} rows in {result['seconds']:.1f} s "
        f"({result['events_per_second']:,} events/s): {outcomes}"
    ]
    for name, report in result["targets"].items():
        lines.append(f"\n{name} ({report['type']}, {report['scored']:,} scored)")
        lines.append(f"  {'':20}{'model':>12}{'recent':>12}{'no change':>12}{'prior':>12}")
        base = report["baselines"]
        for metric, value in report["metrics"].items():
            row = (
                value, report["fading"].get(metric), base["no_change"].get(metric),
                base["prior"].get(metric),
            )  # fmt: skip
            lines.append(f"  {metric:20}" + "".join(f"{_figure(v):>12}" for v in row))
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
