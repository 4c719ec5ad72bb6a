"""How commands reach a running learner. Knows settings and the control socket's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.errors import HeadwaterError


def control_socket(config: Path | None) -> Path:
    """Return where the learner of these settings answers."""
    from service import settings

    return settings.runtime_directory(settings.load(config)) / "control.sock"


def tell(config: Path | None, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
    """Give the learner a command and return its reply; raises what keeps it from being done."""
    from service.control import ask

    reply = ask(control_socket(config), command, timeout_s, **arguments)
    if not reply["ok"]:
        raise HeadwaterError(f"the learner refused {command!r}: {reply['error']}")
    return reply
