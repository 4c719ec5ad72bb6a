"""`headwater demo`: see a model learn, with nothing else installed.

Starts `headwater run` on an embedded broker in a folder of its own, publishes synthetic clicks
whose taste changes, asks for a prediction of each before its label is known, and holds the live
model against its twin that was frozen early. Leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.cli.demo_view import View

_CHANGE_S = 120.0


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
    change_s: Annotated[
        float | None,
        typer.Option("--change", min=4.0, metavar="S", help="Between changes of taste.",
                     show_default="120, or a third of --for"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the API; 0: any.",
                     show_default="8080, or any free one"),
    ] = None,
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
    from service.cli.demo_ending import Ending

    ending = Ending()  # first: from here on nothing is left behind
    from service.cli.demo_folder import own_folder
    from service.cli.demo_run import Demo, TopicLeft
    from service.cli.demo_service import PortTaken
    from service.errors import HeadwaterError

    if change_s is None:
        change_s = _CHANGE_S if for_s is None else max(4.0, min(_CHANGE_S, for_s / 3))
    on_screen = not plain and not as_json and _can_draw()
    try:
        with (
            own_folder() as folder,
            _view(on_screen, typer.echo if not as_json else _to_stderr) as view,
        ):
            result = Demo(folder, port, rate, change_s, view, ending, bootstrap).run(for_s)
        typer.echo(json.dumps(result) if as_json else _summary(result))
    except PortTaken as error:
        raise typer.BadParameter(str(error), param_hint="--port") from None
    except HeadwaterError as error:
        if isinstance(error, TopicLeft) or not ending.asked:
            raise
    except OSError as error:
        if error.errno != errno.EPIPE and not ending.asked:
            raise
        _nobody_reads()
    raise typer.Exit(ending.exit_code)


def _can_draw() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    from rich.console import Console

    return sys.stdout.isatty() and not Console().is_dumb_terminal


def _nobody_reads() -> None:
    """The terminal or the pipe that we write to is gone: what is still to be said is dropped."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


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
