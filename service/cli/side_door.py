"""How commands reach a running learner. Knows settings, who asks, and how an answer is shown."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import overrides

if TYPE_CHECKING:
    from service.settings import Settings

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="S",
        help="Give up waiting after so many seconds; the learner may do it all the same. Else it "
        "is waited for as long as the learner gives signs of life.",
        show_default=False,
    ),
]


def settings_of(path: Path | None, set_: list[str] | None) -> Settings:
    """Read the settings as every command does."""
    from service import settings

    return settings.load(path, overrides(set_))


def tell(
    found: Settings, command: str, timeout_s: float | None = None, **arguments: Any
) -> dict[str, Any]:
    """Give the learner a command and return its reply; raises what keeps it from being done."""
    from service import settings
    from service.errors import LearnerAway
    from service.serve import learner_door

    directory = settings.runtime_directory(found)
    try:
        return learner_door.tell(directory, command, who(), timeout_s, **arguments)
    except LearnerAway as away:
        raise LearnerAway(
            f"{away}. Start it (`headwater run`); `headwater status` says what was last known of "
            "it. If it runs with another state or runtime directory, give the same --config, --set "
            "and environment"
        ) from None


def show(reply: dict[str, Any], as_json: bool, sentence: str) -> None:
    """Print the reply as JSON on stdout, or a sentence about it on stderr."""
    if as_json:
        typer.echo(json.dumps({"ok": True, **reply}))
    else:
        typer.echo(sentence, err=True)


def who() -> str:
    """Return who asks, for the audit log: the user that this process belongs to."""
    uid = os.getuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid}"
