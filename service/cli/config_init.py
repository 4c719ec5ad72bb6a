"""`headwater config init`: from a sample of events to a settings file that learns at once."""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from service.errors import HeadwaterError

SCHEMA_NAME = "headwater.schema.json"
_STDOUT = Path("-")


def init(
    file: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Sample: csv, csv.gz, jsonl, jsonl.gz or parquet, oldest event first; - is jsonl "
            "on stdin.",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option(help="Name of the column to predict.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Settings file to write; - is stdout.")] = Path(
        "headwater.yaml"
    ),
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model; else that of the file.", show_default=False),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Topic to learn from; else the name.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to look at.")] = 5000,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the settings file.")] = False,
) -> None:
    """Guess the settings from a sample of events; the reason of each guess stands behind it."""
    from service.cli.written import Origin, settings_text
    from service.events.guess.table import guess_table

    if out != _STDOUT and out.exists() and not force:
        raise typer.BadParameter(
            f"{out} is there already; --force overwrites it, --out names another",
            param_hint="--out",
        )
    if out != _STDOUT and not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    rows, unread = _sample(file, limit)
    _check_target(file, target, rows)
    name = name or _name_of(file)
    schema = SCHEMA_NAME if out != _STDOUT and (out.parent / SCHEMA_NAME).is_file() else None
    table = guess_table(rows, target)
    text = settings_text(table, Origin(file, name, topic or name, schema))
    _write(text, out)
    if unread:
        typer.echo(f"headwater: {unread:,} lines of {file} hold no JSON object", err=True)
    left = sum(guess.left_out for guess in table.features)
    learned = len(table.features) - left
    typer.echo(
        f"{out if out != _STDOUT else 'the settings'}: {_count(learned, 'feature')}, {target} is "
        f"{table.target.type}; {_count(left, 'column')} left out, each with its reason",
        err=out == _STDOUT,
    )
    if out != _STDOUT:
        typer.echo(f"Next: headwater evaluate --config {out} {file}", err=True)


def _sample(file: Path, limit: int) -> tuple[list[dict[str, object]], int]:
    """Return the first events of a file as objects, and how many lines were none."""
    import msgspec

    from service.stream.files import rows

    found: list[dict[str, object]] = []
    unread = 0
    for row in islice(rows(file), limit):
        try:
            given = msgspec.json.decode(row) if isinstance(row, bytes) else row
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            given = None
        objects = list(_objects(given))
        unread += not objects
        found += objects
    return found, unread


def _objects(given: object) -> Iterator[dict[str, object]]:
    if isinstance(given, dict):
        yield given
    elif isinstance(given, list):
        yield from (each for each in given if isinstance(each, dict))


def _check_target(file: Path, target: str, rows: Sequence[dict[str, object]]) -> None:
    from service.events.guess.table import names_of

    names = names_of(rows)
    if target in names:
        return
    if not names:
        what = "every cell of its first rows is empty" if rows else "it holds no event"
        raise HeadwaterError(f"{file}: {what}, there is nothing to guess from")
    close = difflib.get_close_matches(target.lower(), [name.lower() for name in names], n=1)
    meant = next((name for name in names if close and name.lower() == close[0]), None)
    there = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise typer.BadParameter(
        f"{file} has no column {target!r}; "
        + (f"did you mean {meant!r}?" if meant is not None else f"there are {there}"),
        param_hint="--target",
    )


def _name_of(file: Path) -> str:
    """Return a name that the settings take, made of that of the file."""
    stem = file.name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64]
    return name or "model"


def _write(text: str, out: Path) -> None:
    """Write the settings, whole or not at all; what `config check` would refuse is not written."""
    from service import settings

    folder = None if out == _STDOUT else out.parent
    try:
        handle, made = tempfile.mkstemp(".yaml", ".headwater-", folder)
    except OSError as error:
        raise HeadwaterError(f"{out} cannot be written: {error.strerror}") from None
    draft = Path(made)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        settings.load(draft, environment={})
        if out == _STDOUT:
            typer.echo(text, nl=False)
        else:
            draft.chmod(0o644)
            draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
