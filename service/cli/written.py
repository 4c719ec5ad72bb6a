"""A guessed table as the YAML of a settings file, each guess with its reason behind it.

What is written is one line for each field. Texts that YAML could take for something else, and
every odd one, stand in double quotes with escapes; the reader of the settings gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.events.guess.kinds import Guess
    from service.events.guess.table import Table

_COMMENT_AT = 44
_WIDEST_PAD = 72
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
"""Words that some reader of YAML takes for no text."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table came from, and what the model is called."""

    file: Path
    name: str
    topic: str
    schema: str | None
    """Name of a JSON Schema that lies beside the settings, for editors."""


def settings_text(table: Table, origin: Origin) -> str:
    """Return the YAML, its last newline included."""
    return "".join(f"{line.rstrip()}\n" for line in _lines(table, origin))


def _lines(table: Table, origin: Origin) -> Iterator[str]:
    if origin.schema is not None:
        yield f"# yaml-language-server: $schema={origin.schema}"
    rows = f"{table.rows:,} rows" if table.rows != 1 else "row"
    yield f"# Guessed from the first {rows} of {_printable(origin.file.name)}. Each guess has its"
    yield "# reason behind it: read them, and change what you know better."
    yield f"name: {scalar(origin.name)}"
    yield "kafka:"
    yield "  bootstrap_servers: localhost:9092"
    yield f"  topics: [{scalar(origin.topic)}]"
    yield f"  dead_letter_topic: {scalar(origin.topic + '.dead')}"
    yield "event:"
    if table.id is not None:
        yield _said(f"  id: {scalar(table.id.column.name)}", table.id.reason)
    if table.time is not None:
        when = flow({"field": table.time.column.name, "format": table.time_format})
        yield _said(f"  time: {when}", table.time.reason)
    yield "  features:"
    for guess in table.features:
        if not guess.left_out:
            yield _said(f"    {_feature(guess)}", guess.reason)
    yield from _left_out(table)
    yield "  targets:"
    target = f"    {scalar(table.target.name)}: {flow(table.target.settings)}"
    yield _said(target, table.target.reason)
    yield _said(
        "model: {kind: auto}",
        "many models, each heard as it predicts well; cheapest: headwater evaluate --set model.kind=linear",
    )


def _left_out(table: Table) -> Iterator[str]:
    left = [guess for guess in table.features if guess.left_out]
    if left:
        yield "    # Left out; take the first # away to learn from one."
    for guess in left:
        yield _said(f"    # {_feature(guess)}", guess.reason)
    if table.unnamed:
        yield f"    # {table.unnamed} more: a column without a name, or with one that is too long."


def _feature(guess: Guess) -> str:
    settings, path = dict(guess.settings), guess.column.path
    if len(path) > 1:
        settings["path"] = list(path) if any("." in key for key in path) else ".".join(path)
    return f"{scalar(guess.column.name)}: {flow(settings)}"


def _said(line: str, reason: str) -> str:
    """Put a reason behind a line, where the reasons of short lines stand below each other."""
    width = _COMMENT_AT if len(line) < _COMMENT_AT else min(_WIDEST_PAD, len(line) + 8) // 8 * 8
    return f"{line:{width}}  # {_printable(reason)}"


def flow(value: object) -> str:
    """Return a value in one line: {a: 1, b: [x, y]}."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(str(k))}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return scalar(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def scalar(text: str) -> str:
    """Return a text as YAML reads it back, quoted where it must be.

    >>> [scalar(text) for text in ("amount", "NO", "1", "a b", "true", "é\\n")]
    ['amount', '"NO"', '"1"', '"a b"', '"true"', '"é\\\\n"']
    """
    plain = bool(text) and set(text) <= _SAFE and text[0].isalpha()
    if plain and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if letter in named:
        return named[letter]
    if letter.isprintable() and letter != "\ufeff":
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
