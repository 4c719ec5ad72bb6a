"""`headwater snapshots create`: have the running learner take a snapshot now."""

from __future__ import annotations

import json

import typer

from service.cli.options import ConfigOption, JsonOption
from service.cli.side_door import tell

_PATIENCE_S = 130.0  # longer than the learner's own


def create(path: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take a snapshot now, and wait until it is on disk."""
    reply = tell(path, "snapshot", _PATIENCE_S)
    if as_json:
        typer.echo(json.dumps(reply))
    else:
        typer.echo(reply.get("id", f"version {reply.get('version')}"))
