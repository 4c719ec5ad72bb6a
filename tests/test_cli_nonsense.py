"""Every command asked for help, given nothing, and given nonsense: usage and 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from service.cli import main as command

NONSENSE = ("--no-such-option", "nonsense " * 9 + "too much")
UNASKED = {"version", "demo", "compile-kernels", "probe-module", "schema", "reference"}
"""Commands that need nothing to do what they are for."""


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return every command, hidden ones too, with the words that name it."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, (*path, name))
        else:
            yield (*path, name), one


COMMANDS = dict(leaves(typer.main.get_command(command.app)))
GROUPS = [(), *sorted({path[:1] for path in COMMANDS if len(path) > 1})]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Give words to the command in an empty folder; return its exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["headwater", *words])
        try:
            code = command.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("path", [*COMMANDS, *GROUPS], ids=" ".join)
def test_help_is_given(path: tuple[str, ...], give: Any) -> None:
    """
    On stdout, with 0, for every command and every group of them.
    """
    code, out, err = give(*path, "--help")

    assert (0, "") == (code, err)
    assert f"Usage: {' '.join(('headwater', *path))} " in out


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("path", [*COMMANDS, *GROUPS], ids=" ".join)
def test_nonsense_is_wrong_usage(path: tuple[str, ...], nonsense: str, give: Any) -> None:
    """
    2, what is wrong, and how to get help; on stderr. `evaluate` takes any number of words as files,
    and misses its settings first.
    """
    if path == ("evaluate",) and nonsense == NONSENSE[1]:
        assert 3 == give(*path, *nonsense.split())[0]
        return
    code, out, err = give(*path, *nonsense.split())

    assert (2, "") == (code, out)
    assert f"Usage: {' '.join(('headwater', *path))} " in err
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("path", [p for p in COMMANDS if not set(p) & UNASKED], ids=" ".join)
def test_a_command_without_anything_says_what_it_lacks(path: tuple[str, ...], give: Any) -> None:
    """
    In an empty folder: arguments (2), or settings (3).
    """
    code, out, err = give(*path)

    assert code in {2, 3}
    assert "Traceback" not in err
    assert "Missing" in err or "the settings cannot be used" in err or "no such file" in out


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_commands(path: tuple[str, ...], give: Any) -> None:
    """
    As --help would.
    """
    code, out, err = give(*path)

    assert code in {0, 2}
    assert "Commands" in out + err
