"""`headwater snapshots create`: have the running learner take a snapshot now."""

from __future__ import annotations

import json

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import TimeoutOption, settings_of, tell


def create(
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a snapshot now, and wait until it is on disk."""
    reply = tell(settings_of(path, set_), "snapshot", timeout_s)
    if as_json:
        typer.echo(json.dumps({"ok": True, **reply}))
    else:
        typer.echo(reply.get("id", f"version {reply.get('version')}"))
