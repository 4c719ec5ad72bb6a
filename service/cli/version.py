"""`headwater version`."""

from __future__ import annotations

import json
import platform

import typer

from service import __version__
from service.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def version(as_json: JsonOption = False) -> None:
    """Say which version of Headwater this is."""
    found = {
        "headwater": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(f"headwater {found['headwater']} (Python {found['python']}, {found['machine']})")
