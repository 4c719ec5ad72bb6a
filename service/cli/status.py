"""`headwater status`: what the learner says, or what was last known of one that is down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from service.cli import rivals
from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import settings_of

if TYPE_CHECKING:
    from service.settings import Settings

_UNLABELLED = "filtered/unlabelled"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Show what the learner does. A learner that is down is an answer too: exit 0."""
    from service import settings
    from service.serve import learner_door

    read = settings_of(path, set_)
    found = learner_door.status(settings.runtime_directory(read))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)
        for hint in _hints(found, read):
            typer.echo(hint, err=True)


def _hints(found: dict[str, Any], read: Settings) -> Iterator[str]:
    """Say what to do where the figures alone do not."""
    if found["state"] == "down":
        yield (
            "no learner runs with these settings: start it (`headwater run`); if it runs with "
            "another state or runtime directory, give the same --config, --set and environment"
        )
    unlabelled = found["outcomes"].get(_UNLABELLED, 0)
    if unlabelled and not found["events_learned"]:
        yield (
            f"nothing is learned: none of {unlabelled:,} events had a label in "
            f"{', '.join(read.event.targets)}; is the field named so in your events?"
        )


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in found.items():
        if name == "published" and found["uptime_seconds"] is not None:
            continue  # the learner's own figures say it
        if name == "challengers" and value:
            table.add_row(name, escape(rivals.lines(value)))
        elif value is not None and (told := _told(value)):
            table.add_row(name.replace("_", " "), told)
    Console(highlight=False).print(table)


def _told(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, dict):
        inner = (f"{key} {_told(one)}" for key, one in value.items() if one not in (None, []))
        return ", ".join(inner)
    if isinstance(value, list):
        return "\n".join(_told(one) for one in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return escape(str(value))
