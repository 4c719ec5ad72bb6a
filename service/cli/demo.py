"""`headwater demo`: see a model learn, with nothing else installed.

Starts `headwater run` on an embedded broker in a folder of its own, publishes synthetic clicks
whose taste changes, asks for a prediction of each before its label is known, and holds the live
model against its twin that was frozen early. Leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.cli.demo_view import View

_CHANGE_S = 120.0
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
    bootstrap: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", show_default=False,
                     help="Use this Kafka, with a topic that is deleted at the end."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="A line every five seconds instead of a screen.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:  # fmt: skip
    """Learn synthetic clicks live, and predict them; Ctrl-C stops everything."""
    import tempfile

    from service.cli.demo_run import Demo
    from service.errors import HeadwaterError

    change_s = _CHANGE_S if for_s is None else max(4.0, min(_CHANGE_S, for_s / 3))
    on_screen = sys.stdout.isatty() and not plain and not as_json
    with (
        tempfile.TemporaryDirectory(prefix="headwater-demo-") as folder,
        _view(on_screen, typer.echo if not as_json else _to_stderr) as view,
    ):
        shown = Demo(Path(folder), port, rate, change_s, view, bootstrap)
        try:
            result = shown.run(for_s)
        except HeadwaterError:
            if not shown.stopping:
                raise
            # before there was anything to show
            raise typer.Exit(_INTERRUPTED if shown.interrupted else 0) from None
    typer.echo(json.dumps(result) if as_json else _summary(result))
    if shown.interrupted:
        raise typer.Exit(_INTERRUPTED)


@contextlib.contextmanager
def _view(on_screen: bool, print_line: Any) -> Iterator[View]:
    if on_screen:
        from service.cli.demo_screen import Screen

        with Screen() as screen:
            yield screen
    else:
        from service.cli.demo_view import Lines

        yield Lines(print_line)


def _to_stderr(text: str) -> None:
    typer.echo(text, err=True)


def _summary(result: dict[str, Any]) -> str:
    from service.cli.demo_view import shown_figure, shown_ms

    live, frozen, asked = result["live"], result["frozen"], result["predictions"]
    return (
        f"\n{result['events_learned']:,} events learned in {result['seconds']:.0f} s; "
        f"{asked['requests']:,} requests, {asked['failed']} failed, "
        f"p50 {shown_ms(asked['p50_ms'])}, p99 {shown_ms(asked['p99_ms'])}\n"
        f"log-loss since the freeze: live {shown_figure(live['log_loss'])}, "
        f"frozen {shown_figure(frozen['log_loss'])}; "
        f"AUC: live {shown_figure(live['auc'])}, frozen {shown_figure(frozen['auc'])}"
    )
