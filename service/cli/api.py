"""`headwater api`: the API without a learner; another process or container writes the weights."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.announce import announce
from service.cli.options import ConfigOption, SetOption
from service.cli.probe_module import probed, tell
from service.cli.run import chosen, open_api, supervised, workers


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(api)


def api(
    path: ConfigOption = None,
    set_: SetOption = None,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option("--allow-unauthenticated", help="Listen beyond this machine without keys."),
    ] = False,
) -> None:
    """Answer predictions from the live weights until stopped; starts before there are any."""
    from service import logs, settings
    from service.serve.listening import url_of

    logs.configure("supervisor")
    found = settings.load(path, chosen(set_, allow_unauthenticated))
    tell(found, probed(found, path, set_))
    with open_api(found) as listener:
        children = workers(found, listener, path, set_, allow_unauthenticated)
        announce(found, "answers from the live weights of its learner", url=url_of(listener))
        code = supervised(found, children)
    raise typer.Exit(code)
