"""Options that several commands share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Settings file; else what HEADWATER_CONFIG names, else ./headwater.yaml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Overrule one setting, as learning.learning_rate=0.1; may be repeated.",
        show_default=False,
    ),
]

AcceptRemoved = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-removed",
        metavar="NAME",
        help="Drop the weights of a field that the settings no longer have; may be repeated.",
        show_default=False,
    ),
]


def overrides(given: list[str] | None) -> dict[str, object]:
    """Turn KEY=VALUE texts into overrides for `settings.load`."""
    return dict(map(pair, given or []))


def pair(text: str, hint: str = "--set") -> tuple[str, str]:
    """Take KEY=VALUE apart. `hint`: the option that it was given with."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=hint)
    return key, value


def arguments(command: str, path: Path | None, set_: list[str] | None) -> list[str]:
    """Return a child's command line: the same settings as ours."""
    config = [] if path is None else ["--config", str(path)]
    return [command, *config, *(part for one in set_ or [] for part in ("--set", one))]
