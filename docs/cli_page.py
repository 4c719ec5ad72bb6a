"""docs/cli.md, made from the commands themselves: `python docs/cli_page.py > docs/cli.md`.

Knows the Typer app. Writes to stdout; opens no file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from service.cli.main import app

_VALUES = {int: "NUMBER", float: "NUMBER", Path: "PATH"}

_HEAD = """# Commands

<!-- Made by `python docs/cli_page.py`. A test fails when this page is out of date. -->

For whoever types `headwater` and wants every option; what the commands are for, and when, is in
[operations](operations.md#commands). A command with `--help` says the same as this page. Data goes to
stdout, logs and progress to stderr. What a command ends with is in the table of
[exit codes](operations.md#exit-codes).

Commands that read settings take `--config FILE`, else what `HEADWATER_CONFIG` names, else
`./headwater.yaml`, and `--set KEY=VALUE` over it, as often as you like.
"""


def page() -> str:
    """Return the page."""
    return _HEAD + "".join(_commands(typer.main.get_command(app), "headwater"))


def _commands(command: Any, name: str) -> Iterator[str]:
    """A section for a command that people type; for a group, those of its commands."""
    for word, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _commands(inner, f"{name} {word}")
    if not hasattr(command, "commands"):
        yield _section(command, name)


def _section(command: Any, name: str) -> str:
    """The usage, what it does, its arguments and options."""
    given = [one for one in command.params if not getattr(one, "hidden", False)]
    usage = [
        name,
        *(_usage(one) for one in given if one.param_type_name == "argument" or one.required),
    ]
    lines = [
        f"\n## {name}\n",
        f"```\n{' '.join(usage)} [OPTIONS]\n```\n",
        f"{_plain(command.help)}\n",
    ]
    if given:
        lines += ["| option | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(one) for one in given]
        lines.append("")
    return "\n".join(lines)


def _usage(one: Any) -> str:
    """How it stands on the command line."""
    if one.param_type_name == "argument":
        word = _word(one) + ("..." if one.nargs == -1 else "")
        return word if one.required else f"[{word}]"
    return f"{one.opts[0]} {_word(one)}"


def _word(one: Any) -> str:
    """What stands for its value."""
    if one.metavar or one.param_type_name == "argument":
        return str(one.metavar or one.name.upper()).strip("[]")
    return _VALUES.get(one.type_descriptor.annotation, "TEXT")


def _row(one: Any) -> str:
    """A line of the table."""
    argument = one.param_type_name == "argument"
    names = (
        [f"`{_word(one)}`"] if argument else [f"`{name}`" for name in one.opts + one.secondary_opts]
    )
    value = "" if argument or one.is_flag else _word(one)
    if one.required:
        default = "required"
    elif one.default in (None, (), [], False) or callable(one.default):
        default = ""
    else:
        default = f"`{one.default}`"
    many = " May be repeated." if _repeats_in_silence(one) else ""
    return f"| {', '.join(names)} | {value} | {default} | {_plain(one.help)}{many} |"


def _repeats_in_silence(one: Any) -> bool:
    """Whether it may be repeated and its help does not say so."""
    return getattr(one, "multiple", False) and "repeated" not in (one.help or "")


def _plain(text: str | None) -> str:
    """Help in one paragraph that a table can hold."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
