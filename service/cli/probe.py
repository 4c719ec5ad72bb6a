"""`headwater probe`: finds the events that kill; started by the learner, not by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.leaving import leave


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(probe)


def probe(
    folder: Annotated[Path, typer.Argument(help="What the learner wrote for it.")],
    modules: Annotated[
        list[str] | None, typer.Option("--module", help="A class that the settings name.")
    ] = None,
) -> None:
    """Learn records in forks of this process, and say which of them it dies of."""
    from service import logs

    logs.configure("probe")
    from service.learn import trials
    from service.model.kinds import module_code

    for module in modules or ():
        module_code.trust(module)
    trials.main(folder)
    leave()
