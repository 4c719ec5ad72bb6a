"""`headwater learner`: the learning process alone, as in a container of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import arming
from service.cli.leaving import leave
from service.cli.options import AcceptRemoved, ConfigOption, SetOption, overrides


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(learner)


def learner(
    path: ConfigOption = None,
    set_: SetOption = None,
    exit_on_halt: Annotated[
        bool, typer.Option("--exit-on-halt", help="End (exit 4 or 6) where learning would halt.")
    ] = False,
    accept_removed: AcceptRemoved = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:  # fmt: skip
    """Learn from Kafka until stopped (Ctrl-C, SIGTERM)."""
    import threading

    from service import logs, settings

    logs.configure("learner")
    found = settings.load(path, overrides(set_))
    arming.arm()
    from service.learn import lethal, process  # after the settings: it imports torch
    from service.learn.probe import Command
    from service.supervise import end_with_parent, environment, python

    lethal.install(trial=False)
    stop = threading.Event()
    process.stop_on_signals(stop)
    if parent_fd is not None:
        end_with_parent(parent_fd)
    probe = Command(python("probe"), environment())
    process.main(found, process.Options(probe, exit_on_halt, accept_removed or ()), stop)
    leave()
