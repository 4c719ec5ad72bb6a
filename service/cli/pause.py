"""`headwater pause` and `headwater resume`: whether the running learner takes new events."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from service.cli.options import ConfigOption, JsonOption
from service.cli.side_door import tell

_PATIENCE_S = 130.0  # longer than the learner's own


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)


def pause(path: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Stop learning; go on answering predictions and commands."""
    _do(path, "pause", as_json)


def resume(path: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Learn again, from where pause stopped."""
    _do(path, "resume", as_json)


def _do(path: Path | None, command: str, as_json: bool) -> None:
    reply = tell(path, command, _PATIENCE_S)
    if as_json:
        typer.echo(json.dumps(reply))
    else:
        typer.echo(f"{command}d: the learner is {reply.get('state', 'doing so')}.", err=True)
