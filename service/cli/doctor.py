"""`headwater doctor`: looks at all that a learner needs, before it needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.modules import aside
from service.cli.options import ConfigOption, JsonOption, SetOption, overrides

if TYPE_CHECKING:
    from service.cli.doctor_finding import Finding
    from service.settings import Settings

_MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    path: ConfigOption = None,
    set_: SetOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Let the Kafka client speak for itself too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check Kafka, topics, disks, memory, clock and processors. Exit 1 when a check fails.

    Changes nothing: no topic, no offset, no state. A learner may be at work meanwhile. Looks from
    this machine, as this user: run it where, and as whom, the learner will run.
    """
    from service import settings
    from service.stream.kafka_log import unheard

    found = settings.load(path, overrides(set_))
    seen: list[Finding] = []
    with unheard(unless=verbose):
        for one in _findings(found):
            seen.append(one)
            if not as_json:
                typer.echo(_line(one))
    ok = all(one.status != "fail" for one in seen)
    if as_json:
        checks = [
            {"name": s.name, "status": s.status, "detail": s.detail, "fix": s.fix} for s in seen
        ]
        typer.echo(json.dumps({"ok": ok, "checks": checks}))
    else:
        typer.echo(_sentence(seen))
    if not ok:
        raise typer.Exit(1)


def _findings(found: Settings) -> Iterator[Finding]:
    from service.cli import doctor_kafka, doctor_machine, doctor_places
    from service.model.kinds import recipe_of
    from service.model.layout import Layout

    with aside(found):
        image = Layout(recipe_of(found)).nbytes
    yield from _or_failure("kafka", doctor_kafka.findings(found))
    yield from _or_failure("folders", doctor_places.findings(found, image))
    yield from _or_failure("machine", doctor_machine.findings(found, image))


def _or_failure(name: str, checks: Iterator[Finding]) -> Iterator[Finding]:
    """Give what checks find; what the system refuses them is a finding too."""
    from service.cli.doctor_finding import fail

    try:
        yield from checks
    except OSError as error:
        yield fail(
            name, f"cannot be looked at: {error}", "See the error; run it as the learner's user."
        )


def _line(one: Finding) -> str:
    fix = "" if one.fix is None else f"\n{'':6}{one.fix}"
    return f"{_MARKS[one.status]}  {one.name}: {one.detail}{fix}"


def _sentence(seen: list[Finding]) -> str:
    failed = sum(one.status == "fail" for one in seen)
    warned = sum(one.status == "warn" for one in seen)
    if failed:
        return f"{len(seen)} checks: {failed} failed, {warned} to think about."
    if warned:
        return f"{len(seen)} checks: none failed, {warned} to think about."
    return f"{len(seen)} checks: all is well."
