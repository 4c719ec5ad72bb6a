"""`headwater run`: the learner and the API together, supervised."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import arming
from service.cli.announce import announce
from service.cli.options import AcceptRemoved, ConfigOption, SetOption, arguments, overrides
from service.cli.probe_module import probed, source_of, tell

if TYPE_CHECKING:
    import socket

    from service.settings import Settings
    from service.supervise import Child
    from service.weights.pulse import Pulse

EMBEDDED = "embedded"
_SNAPSHOT_GRACE_S = 120.0
_PART_GRACE_S = 1.0
"""Of a child, where we are a part of a demo: it keeps nothing, and ends within five seconds."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    path: ConfigOption = None,
    set_: SetOption = None,
    exit_on_halt: Annotated[
        bool, typer.Option("--exit-on-halt", help="End (exit 4 or 6) where learning would halt.")
    ] = False,
    accept_removed: AcceptRemoved = None,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option("--allow-unauthenticated", help="Listen beyond this machine without keys."),
    ] = False,
    longest_wait_s: Annotated[
        float, typer.Option("--longest-wait", min=0.0, hidden=True, help="Before a restart.")
    ] = 5.0,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    listening_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Learn from Kafka and answer predictions until stopped (Ctrl-C, SIGTERM)."""
    from service import logs, settings
    from service.serve.listening import url_of
    from service.supervise import Child, end_with_parent, python

    logs.configure("supervisor")
    if parent_fd is not None:
        end_with_parent(parent_fd)
    found = settings.load(path, chosen(set_, allow_unauthenticated))
    arming.warn()
    tell(found, probed(found, path, set_))
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(open_api(found, listening_fd))
        broker = _broker(found, stack)
        given = [*(set_ or []), *broker]
        dropped = (part for name in accept_removed or [] for part in ("--accept-removed", name))
        learner = [*arguments("learner", path, given), *dropped]
        learner += ["--exit-on-halt"] * exit_on_halt
        learner += ["--probed", source] if (source := source_of(found)) is not None else []
        children = [
            Child("learner", python(*learner), grace_s=_SNAPSHOT_GRACE_S, pulse=_pulse(found)),
            *workers(found, listener, path, given, allow_unauthenticated),
        ]
        if parent_fd is not None:
            for child in children:
                child.grace_s = _PART_GRACE_S
        topics = ", ".join(found.kafka.topics)
        kafka = found.kafka.bootstrap_servers
        kafka = f"{kafka} ({broker[0].partition('=')[2]})" if broker else kafka
        does = f"learns {topics} from {kafka}, and answers"
        announce(found, does, url=url_of(listener), kafka=kafka)
        code = supervised(found, children, longest_wait_s)
    raise typer.Exit(code)


def supervised(found: Settings, children: list[Child], longest_wait_s: float = 5.0) -> int:
    """Run the children until all is stopped; keep count of those that are started again."""
    from service import settings
    from service.metrics import Metrics
    from service.supervise import Supervisor

    metrics = Metrics("supervisor")
    restarts = metrics.counter("headwater_restarts_total")
    for child in children:
        for reason in ("ended", "hung") if child.pulse else ("ended",):
            restarts.inc(0.0, child.name, reason)
    with metrics.kept_in(settings.runtime_directory(found)):
        return Supervisor(
            children,
            restarting=lambda child, reason: restarts.inc(1.0, child, reason),
            longest_wait_s=longest_wait_s,
        ).run()


def _pulse(found: Settings) -> Pulse | None:
    """Return what tells that the learner hangs, unless the settings say that nothing shall."""
    from service import settings
    from service.weights.pulse import HeartbeatIn, Pulse

    if found.runtime.hang_seconds is None:
        return None
    return Pulse(HeartbeatIn(settings.runtime_directory(found)), found.runtime.hang_seconds)


def chosen(set_: list[str] | None, allow_unauthenticated: bool) -> dict[str, object]:
    """Return what the command line says over the settings file."""
    allowed = {"api.allow_unauthenticated": "true"} if allow_unauthenticated else {}
    return {**overrides(set_), **allowed}


def open_api(found: Settings, listening_fd: int | None = None) -> socket.socket:
    """Listen where the settings say, if not already, and make the runtime directory."""
    import socket

    from service import settings
    from service.serve.listening import listen
    from service.supervise import prepare

    # first: where the port is taken, the directory may be in use
    given = listening_fd is not None
    listener = socket.socket(fileno=listening_fd) if given else listen(found.api)
    try:
        prepare(settings.runtime_directory(found))
    except BaseException:
        listener.close()
        raise
    return listener


def workers(
    found: Settings,
    listener: socket.socket,
    path: Path | None,
    set_: list[str] | None,
    allow_unauthenticated: bool,
) -> list[Child]:
    """Return the API processes to run."""
    from service.supervise import Child, python

    allowed = ["api.allow_unauthenticated=true"] if allow_unauthenticated else []
    fd = str(listener.fileno())
    given = [*arguments("api-worker", path, [*(set_ or []), *allowed]), "--listening-fd", fd]
    return [
        Child(f"api-{n}", python(*given, "--index", str(n)), inherits=[int(fd)], stops=1)
        for n in range(found.api.workers)
    ]


def _broker(found: Settings, stack: contextlib.ExitStack) -> list[str]:
    """Start the embedded broker where the settings want it; return what children are told."""
    if found.kafka.bootstrap_servers != EMBEDDED:
        return []
    from service import settings
    from service.stream.embedded import EmbeddedBroker

    broker = stack.enter_context(
        EmbeddedBroker(
            settings.state_directory(found) / "broker",
            runtime_directory=settings.runtime_directory(found),
        )
    )
    return [f"kafka.bootstrap_servers={broker.bootstrap_servers}"]
