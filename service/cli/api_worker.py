"""`headwater api-worker`: one API process, started by `run` and `api`, not by people."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import arming
from service.cli.leaving import leave
from service.cli.options import ConfigOption, SetOption, overrides


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(api_worker)


def api_worker(
    listening_fd: Annotated[int, typer.Option(help="File descriptor of the listening socket.")],
    parent_fd: Annotated[int, typer.Option(help="Pipe that closes when the parent ends.")],
    index: Annotated[int, typer.Option(help="Which worker this is, from 0.")] = 0,
    path: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Answer requests on a socket that is listening already."""
    from service import logs, settings
    from service.supervise import end_with_parent

    logs.configure(f"api-{index}")
    end_with_parent(parent_fd)
    found = settings.load(path, overrides(set_))
    arming.arm()
    from service.serve.worker import work  # after the settings: it imports the compiler

    code = work(found, settings.runtime_directory(found), listening_fd, index)
    if code == 0:
        leave()
    raise typer.Exit(code)
