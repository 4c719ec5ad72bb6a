"""`headwater healthcheck`: whether the API answers, or the learner lives, as an exit code.

For containers, which have no curl: 0 is healthy, 1 is not, and one line says why. Knows HTTP and
the heartbeat in the live file. Imports no torch and no compiler: it is run every few seconds.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import settings_of

if TYPE_CHECKING:
    from service.settings import Settings

_SILENT_S = 60.0
_EVERY = frozenset({"0.0.0.0", "::"})


class Health(NamedTuple):
    """What was found, and a line about it."""

    ok: bool
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(healthcheck)


def healthcheck(
    path: ConfigOption = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether predictions can be given (/readyz).")
    ] = False,
    learner: Annotated[
        bool, typer.Option("--learner", help="Look at the learner's heartbeat, not at the API.")
    ] = False,
    within_s: Annotated[
        float | None,
        typer.Option(
            "--within",
            min=0.1,
            metavar="S",
            help="Oldest heartbeat of a learner that lives; else runtime.hang_seconds.",
            show_default=False,
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="S", help="Longest wait for the API.")
    ] = 3.0,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the API (/healthz), or look at the learner's heartbeat; exit 0 if well, 1 if not."""
    if ready and learner:
        raise typer.BadParameter("the learner has no /readyz", param_hint="--ready")
    found = settings_of(path, set_)
    said = of_learner(found, within_s) if learner else of_api(found, timeout_s, ready=ready)
    if as_json:
        typer.echo(json.dumps(said._asdict()))
    else:
        typer.echo(said.detail, err=not said.ok)
    raise typer.Exit(0 if said.ok else 1)


def of_api(found: Settings, timeout_s: float, *, ready: bool) -> Health:
    """Ask the API on the address where the settings have it listen."""
    from http.client import HTTPConnection, HTTPException

    host = found.api.host
    if host in _EVERY:
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    path = "/readyz" if ready else "/healthz"
    at = f"http://{f'[{host}]' if ':' in host else host}:{found.api.port}{path}"
    if found.api.port == 0:
        return Health(False, "api.port is 0, any free port: name one to be asked on")
    connection = HTTPConnection(host, found.api.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return Health(reply.status == 200, f"{at} answers {reply.status}{_why(reply.read(65_536))}")
    except (OSError, HTTPException) as error:
        return Health(False, f"{at} does not answer: {str(error) or type(error).__name__}")
    finally:
        connection.close()


def of_learner(found: Settings, within_s: float | None) -> Health:
    """Look how old the last heartbeat is. A learner that is paused or halted gives them too."""
    from service import settings
    from service.serve.served import learner_seen
    from service.weights.live_reader import LiveReader

    directory = settings.runtime_directory(found)
    limit_s = within_s or found.runtime.hang_seconds or _SILENT_S
    reader = LiveReader(directory)
    try:
        seen = learner_seen(reader.heartbeat(), time.time_ns())
    finally:
        reader.close()
    age_s = seen.heartbeat_age_seconds
    if age_s is None:
        why = f" ({reader.trouble})" if reader.trouble else ""
        return Health(False, f"no learner has given a sign of life in {directory} yet{why}")
    what = f"the last heartbeat of the learner is {age_s:.1f} s old"
    if age_s >= limit_s:
        return Health(False, f"{what}, and {limit_s:g} s is the limit")
    return Health(True, f"{what}: {seen.sentence()}")


def _why(body: bytes) -> str:
    """Return the sentence in a reply of ours; nothing where it has none."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    why = said.get("detail") or said.get("status") or ""
    worse = "; ".join(map(str, said.get("degraded") or ()))
    return f": {why}" + (f" ({worse})" if worse else "")
