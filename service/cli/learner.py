"""`headwater learner`: the learning process alone, as in a container of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import arming
from service.cli.announce import announce
from service.cli.leaving import leave
from service.cli.modules import references
from service.cli.options import AcceptRemoved, ConfigOption, SetOption, overrides
from service.cli.probe_module import probed, source_of, tell


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
    tried: Annotated[str | None, typer.Option("--probed", hidden=True)] = None,
) -> None:  # fmt: skip
    """Learn from Kafka until stopped (Ctrl-C, SIGTERM)."""
    import threading

    from service import logs, settings

    logs.configure("learner")
    found = settings.load(path, overrides(set_))
    arming.arm()
    if tried is None or tried != source_of(found):
        tell(found, probed(found, path, set_))
    from service.learn import process  # after the settings: it imports torch
    from service.learn.probe import Command
    from service.supervise import end_with_parent, environment, python

    stop = threading.Event()
    process.stop_on_signals(stop)
    if parent_fd is not None:
        end_with_parent(parent_fd)
    else:
        kafka = found.kafka.bootstrap_servers
        does = f"learns {', '.join(found.kafka.topics)} from {kafka}"
        announce(found, does, kafka=kafka)
    modules = [part for one in references(found) for part in ("--module", one)]
    probe = Command(python("probe", *modules), environment())
    process.main(found, process.Options(probe, exit_on_halt, accept_removed or ()), stop)
    leave()
