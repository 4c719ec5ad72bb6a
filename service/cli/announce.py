"""The first lines of `run`, `learner` and `api`: where everything is, and what is there already.

Lines for people on a terminal; elsewhere one line of the log with the same as fields.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from service.logs import logger

if TYPE_CHECKING:
    from pathlib import Path

    from service.settings import Settings

_log = logger(__name__)
_SPANS = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))


def announce(
    found: Settings, does: str, *, url: str | None = None, kafka: str | None = None
) -> None:
    """Say what starts. does: what it does, in words. url: where the API answers, None where it is
    another process. kafka: the address that is read from, None where nothing is read."""
    from service import settings

    places = {}
    if url is not None:
        places = {
            "predictions": f"{url}/v1/predict",
            "try it": f"{url}/docs",
            "metrics": f"{url}/metrics",
        }
    state_at = settings.state_directory(found)
    state = state_of(state_at) if kafka is not None else {}
    runtime = str(settings.runtime_directory(found))
    model = _model(found)
    if not sys.stderr.isatty():
        fields = {name.replace(" ", "_"): place for name, place in places.items()}
        read = {"topics": list(found.kafka.topics), "kafka": kafka, "state": str(state_at)}
        _log.info(
            "starting", name=found.name, does=does, model=model, **fields,
            **(read | state if kafka is not None else {}), runtime=runtime,
        )  # fmt: skip
        return
    lines = {"model": model, **places}
    if "predictions" in lines:
        lines["predictions"] += " (503 until there are weights)"
    if kafka is not None:
        lines["state"] = f"{state_at} ({_told(state, found.kafka.start)})"
    lines["runtime"] = runtime
    shown = "".join(f"\n  {name:12} {text}" for name, text in lines.items())
    typer.echo(f"headwater {found.name}: {does}{shown}", err=True)


def state_of(state_at: Path) -> dict[str, object]:
    """Return what a state directory holds, as fields: `found` is "nothing", "snapshot", "journal"
    (without a snapshot) or why that cannot be seen."""
    from service.weights.glance import glance

    try:
        seen = glance(state_at)
    except OSError as error:
        return {"found": f"cannot be read: {error.strerror or error}"}
    if seen is None:
        return {"found": "nothing"}
    age_s = seen.age_s()
    if age_s is None:
        return {"found": "journal"}
    return {
        "found": "snapshot",
        "version": seen.version,
        "events_learned": seen.events_learned,
        "saved_s_ago": round(age_s),
    }


def _told(state: dict[str, object], start: str) -> str:
    match state["found"]:
        case "nothing":
            return f"nothing there yet: a new model, from {start}"
        case "journal":
            return "no snapshot yet: goes on from the journal"
        case "snapshot":
            ago = _span(int(str(state["saved_s_ago"])))
            return (
                f"version {state['version']:,} of {ago} ago, {state['events_learned']:,} events "
                "learned, and the journal since"
            )
        case why:
            return str(why)


def _span(seconds: int) -> str:
    _, each, name = next(span for span in _SPANS if seconds >= span[0])
    return f"{seconds // each} {name}"


def _model(found: Settings) -> str:
    features, targets = found.event.features, found.event.targets
    predicts = ", ".join(f"{name} ({target.type})" for name, target in targets.items())
    fields = f"{len(features)} feature" + "s" * (len(features) != 1)
    others = ", ".join(f"{name} ({one.kind})" for name, one in found.challengers.items())
    beside = f", challengers {others}" if others else ""
    return f"{found.model.kind}, {fields}, predicts {predicts}{beside}"
