"""`headwater status`: what the learner says, or what was last known of one that is down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from service.cli.options import ConfigOption, JsonOption
from service.errors import LearnerAway

_PATIENCE_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(path: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the learner does. A learner that is down is an answer too: exit 0."""
    from service import settings
    from service.control import ask

    directory = settings.runtime_directory(settings.load(path))
    try:
        found = ask(directory / "control.sock", "status", _PATIENCE_S)
    except LearnerAway as away:
        found = _last_known(directory, str(away))
    found.pop("ok", None)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _last_known(directory: Path, why: str) -> dict[str, Any]:
    """Read the live file: the learner may be busy, or gone with its weights still served."""
    import time

    from service.serve.served import learner_seen
    from service.weights.live import LiveReader

    reader = LiveReader(directory)
    try:
        learner = learner_seen(reader.heartbeat(), time.time_ns())
        with reader.pinned() as slot:
            served = dict(slot.meta) if slot is not None else None
    finally:
        reader.close()
    return {
        "state": learner.state,
        "reason": learner.reason or why,
        "heartbeat_age_seconds": learner.heartbeat_age_seconds,
        "lag_records": learner.lag_records,
        "progress": learner.progress,
        "published": served,
    }


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in found.items():
        if value not in (None, [], {}):
            table.add_row(name.replace("_", " "), _told(value))
    Console(highlight=False).print(table)


def _told(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, dict):
        inner = (f"{key} {_told(one)}" for key, one in value.items() if one is not None)
        return ", ".join(inner)
    if isinstance(value, list):
        return "\n".join(_told(one) for one in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return escape(str(value))
