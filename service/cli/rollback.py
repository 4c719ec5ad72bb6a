"""`headwater rollback`: take an older version's weights, and say where learning goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import TimeoutOption, settings_of, show, tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rollback)


def rollback(
    to: Annotated[int, typer.Option(min=0, help="Version whose weights to take.")],
    skip_to: Annotated[
        str | None,
        typer.Option(
            metavar="now|latest|VERSION",
            help="Pass over the records after that version: up to where learning is now, to the "
            "end of the topic, or to where another version was. Not given: learn them again.",
            show_default=False,
        ),
    ] = None,
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to the weights of an older version, under a new version's number."""
    place = _place(skip_to)
    reply = tell(settings_of(path, set_), "rollback", timeout_s, to=to, skip_to=place)
    where = "skipped" if place is not None else "learned again"
    show(
        reply,
        as_json,
        f"rolled back: version {reply.get('version')} has the weights of version {to}; what came "
        f"after it is {where}. The learner is {reply.get('state')}.",
    )


def _place(skip_to: str | None) -> str | int | None:
    if skip_to is None or skip_to in {"now", "latest"}:
        return skip_to
    if not (skip_to.isascii() and skip_to.isdigit()):
        raise typer.BadParameter(
            f"{skip_to!r} is neither now, latest nor a version", param_hint="--skip-to"
        )
    return int(skip_to)
