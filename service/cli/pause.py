"""`headwater pause` and `headwater resume`: whether the running learner takes new events."""

from __future__ import annotations

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import TimeoutOption, settings_of, show, tell


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)


def pause(
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop learning; go on answering predictions and commands."""
    reply = tell(settings_of(path, set_), "pause", timeout_s)
    show(reply, as_json, f"paused: the learner is {reply.get('state')}.")


def resume(
    path: ConfigOption = None,
    set_: SetOption = None,
    timeout_s: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn again, from where pause or a halt stopped."""
    reply = tell(settings_of(path, set_), "resume", timeout_s)
    show(reply, as_json, f"resumed: the learner is {reply.get('state')}.")
