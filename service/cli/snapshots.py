"""`headwater snapshots list | inspect | verify | create | pin | unpin`: the states on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import snapshots_create, snapshots_pin
from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.quality import quality
from service.cli.side_door import settings_of

if TYPE_CHECKING:
    from service.settings import Settings

snapshots = typer.Typer(help="List, check, take and keep snapshots.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command and its parts."""
    snapshots.command()(snapshots_create.create)
    snapshots.command()(snapshots_pin.pin)
    snapshots.command()(snapshots_pin.unpin)
    app.add_typer(snapshots, name="snapshots")


@snapshots.command("list")
def list_(path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """List the snapshots, newest first."""
    from service import settings

    found = settings_of(path, set_)
    from service.learn.inventory import inventory

    with _reading("reading snapshots", settings.state_directory(found)) as told:
        listed = inventory(found, told)
    if as_json:
        typer.echo(json.dumps({"snapshots": listed}))
        return
    if not listed:
        typer.echo(_none_in(found), err=True)
        return
    typer.echo(
        f"{'id':26}{'events':>12}{'bytes':>12}  {'created':22}{'valid':7}{'replayable':11}pinned"
    )
    for one in listed:
        flags = [
            {True: "yes", False: "no", None: "?"}[one[k]] for k in ("valid", "replayable", "pinned")
        ]
        events = one["events_learned"]
        typer.echo(
            f"{one['id']:26}{'-' if events is None else events:>12}{one['bytes']:>12}  "
            f"{(one['created_at'] or '-')[:19]:22}{flags[0]:7}{flags[1]:11}{flags[2]}"
        )
        for line in quality(one):
            typer.echo(f"    {line}")


@snapshots.command()
def inspect(
    id: Annotated[str, typer.Argument(help="Id of the snapshot, as `list` shows it.")],
    path: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print one snapshot's manifest: versions, offsets, settings, results, digests."""
    import msgspec

    from service.errors import SnapshotInvalid

    for entry in _reader(path, set_).list():
        if entry.id == id and entry.manifest is not None:
            indent = None if as_json else 2
            typer.echo(json.dumps(msgspec.to_builtins(entry.manifest), indent=indent))
            return
    raise SnapshotInvalid(f"there is no readable snapshot {id!r}; `headwater snapshots list`")


@snapshots.command()
def verify(path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Read every snapshot and the journal whole, and hold them against their checksums. Exit 7 when
    one is damaged."""
    from service import settings
    from service.errors import SnapshotInvalid
    from service.weights import soundness
    from service.weights.boot import JOURNAL

    read = settings_of(path, set_)
    state_at = settings.state_directory(read)
    with _reading("verifying", state_at) as told:
        failures: list[Any] = [*soundness.verify(state_at, told)]
    if not any((state_at / part).is_dir() for part in (JOURNAL, soundness.SNAPSHOTS)):
        failures.append({"id": None, "file": str(state_at), "reason": _none_in(read)})
    if as_json:
        typer.echo(json.dumps({"ok": not failures, "failures": failures}))
    else:
        for one in failures:
            id = "" if one["id"] is None else f"{one['id']}: "
            typer.echo(f"{id}{one['file']}: {one['reason']}")
        said = "not sound: see above" if failures else "all snapshots and the journal are whole"
        typer.echo(said, err=True)
    if failures:
        raise typer.Exit(SnapshotInvalid.exit_code)


@contextmanager
def _reading(what: str, state_at: Path) -> Iterator[Callable[[int], None]]:
    """Show how much of a state directory is read; call the result with how much more it is."""
    from service import logs
    from service.cli.progress import shown
    from service.progress import Pace
    from service.weights import soundness

    logs.configure("snapshots")
    with shown(what, Pace("bytes", soundness.nbytes(state_at))) as pace:
        yield pace.add


def _none_in(read: Settings) -> str:
    from service import settings

    return (
        f"there is no snapshot in {settings.state_directory(read)}: either nothing was learned with "
        "these settings yet (the learner writes the first one as soon as it has found its topics), "
        "or they name another state.directory or name than the learner's"
    )


def _reader(path: Path | None, set_: list[str] | None) -> Any:
    from service import settings
    from service.weights.snapshot_reader import SnapshotReader

    return SnapshotReader(settings.state_directory(settings_of(path, set_)) / "snapshots")
