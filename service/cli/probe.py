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
    module: Annotated[
        list[str] | None, typer.Option(help="A class of the user's own that a model is made of.")
    ] = None,
) -> None:
    """Learn records in forks of this process, and say which of them it dies of."""
    from service import logs

    logs.configure("probe")
    from service.learn import trials
    from service.model.kinds import module_code

    for one in module or []:
        module_code.trust(one)
    trials.main(folder)
    leave()
