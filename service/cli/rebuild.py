"""`headwater rebuild`: make a version again from an older snapshot and the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from service.cli.modules import aside, references
from service.cli.options import ConfigOption, JsonOption, SetOption, overrides


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


def rebuild(
    version: Annotated[int, typer.Option(min=0, help="Version to make again.")],
    out: Annotated[Path, typer.Option(help="Folder for the rebuilt snapshot.")],
    base: Annotated[
        int | None,
        typer.Option(
            "--from", min=0, show_default=False,
            help="Version of the snapshot to start from; 0 is from nothing.",
        ),
    ] = None,
    path: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Replay the journal up to a version; every entry is held against what was journaled.

    Exit 7 when no snapshot leads there, 8 when the replay gives other bits.
    """
    from service import logs, settings
    from service.cli.progress import shown

    logs.configure("rebuild")
    found = settings.load(path, overrides(set_))
    from service.learn.rebuild import rebuild as make
    from service.learn.sources import range_reader
    from service.model.kinds import module_code
    from service.progress import Pace

    for module in references(found):
        module_code.trust(module)

    with shown("replaying", Pace("records")) as pace, range_reader(found) as reader, aside(found):
        result = make(
            settings.state_directory(found), version, out, reader, base=base,
            progress=lambda done: pace.reach(done.records, done.of_records),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(
            f"version {result['version']} of lineage {result['lineage']}, from "
            f"{result['from_snapshot']} and {result['entries_replayed']} entries, verified: "
            f"{out / result['snapshot']}"
        )
