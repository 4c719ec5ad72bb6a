"""`headwater demo`: see a model learn, with nothing else installed.

Starts `headwater run` on an embedded broker in a folder of its own, publishes synthetic clicks
whose taste changes, asks for a prediction of each before its label is known, and holds the live
model against its twin that was frozen early. Leaves nothing behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

_CHANGE_S = 60.0
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    for_s: Annotated[
        float | None,
        typer.Option("--for", min=5.0, metavar="S", help="Stop after so many seconds.",
                     show_default=False),
    ] = None,
    rate: Annotated[int, typer.Option(min=20, max=5000, help="Events per second.")] = 1000,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0: any.")] = 8080,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:  # fmt: skip
    """Learn synthetic clicks live, and predict them; Ctrl-C stops everything."""
    import tempfile

    from service.cli.demo_run import Demo
    from service.errors import HeadwaterError

    say = _to_stderr if as_json else typer.echo
    change_s = _CHANGE_S if for_s is None else max(4.0, min(_CHANGE_S, for_s / 3))
    with tempfile.TemporaryDirectory(prefix="headwater-demo-") as folder:
        shown = Demo(Path(folder), port, rate, change_s, say)
        try:
            result = shown.run(for_s)
        except HeadwaterError:
            if shown.interrupted:  # before there was anything to show
                raise typer.Exit(_INTERRUPTED) from None
            raise
    typer.echo(json.dumps(result) if as_json else _summary(result))
    if shown.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _to_stderr(text: str) -> None:
    typer.echo(text, err=True)


def _summary(result: dict[str, Any]) -> str:
    live, frozen, asked = result["live"], result["frozen"], result["predictions"]
    return (
        f"\n{result['events_learned']:,} events learned in {result['seconds']:.0f} s; "
        f"{asked['requests']:,} requests, {asked['failed']} failed, "
        f"p50 {_ms(asked['p50_ms'])}, p99 {_ms(asked['p99_ms'])}\n"
        f"log-loss since the freeze: live {_figure(live['log_loss'])}, "
        f"frozen {_figure(frozen['log_loss'])}"
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
