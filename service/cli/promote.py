"""`headwater promote`: another of the models that learn this stream answers from now on."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import TimeoutOption, settings_of, show, tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(promote)


def promote(
    name: Annotated[
        str, typer.Argument(help="A challenger of the settings, or main: the model of `model`.")
    ],
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer from another model. The one that answered goes on learning, and can be promoted back."""
    reply = tell(settings_of(path, set_), "promote", timeout_s, name=name)
    show(
        reply,
        as_json,
        f"promoted: {name} answers from version {reply.get('version')} on; {reply.get('was')} goes "
        "on learning.",
    )
