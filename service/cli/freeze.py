"""`headwater freeze` and `headwater unfreeze`: whether what is served follows what is learned."""

from __future__ import annotations

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import TimeoutOption, settings_of, show, tell


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(freeze)
    app.command()(unfreeze)


def freeze(
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on answering from the weights of now, and go on learning beside them."""
    reply = tell(settings_of(path, set_), "freeze", timeout_s)
    show(reply, as_json, f"frozen: version {reply.get('published_version')} is served.")


def unfreeze(
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve what was learned meanwhile."""
    reply = tell(settings_of(path, set_), "unfreeze", timeout_s)
    show(reply, as_json, f"unfrozen: the learner is {reply.get('state')}.")
