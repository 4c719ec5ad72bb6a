"""`headwater probe-module`: tries a user's module in a process of its own; and who starts it.

Knows processes. What a module must keep is in learn/module_rules.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from service._settings.challengers import MAIN
from service.cli.modules import alone, place, references, within
from service.cli.options import ConfigOption, JsonOption, SetOption, arguments, overrides
from service.errors import BadSettings, Problem

if TYPE_CHECKING:
    from service.settings import Settings

_PATIENCE_S = 120.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(probe_module)


def probe_module(
    path: ConfigOption = None,
    set_: SetOption = None,
    name: Annotated[str, typer.Option(help="The model: main, or a challenger.")] = MAIN,
    as_json: JsonOption = False,
) -> None:
    """Try the modules of one model of the settings; print what was found."""
    from service import logs, settings

    answers = _kept_for_the_answer()
    logs.configure("probe-module")
    found = alone(settings.load(path, overrides(set_)))[name]
    from service.learn.modules_tried import examine_all
    from service.model.kinds import recipe_of

    try:
        said = examine_all(recipe_of(found))
    except BadSettings as error:
        if not as_json:
            raise
        problems = [asdict(_of(name, one)) for one in error.problems]
        typer.echo(json.dumps({"problems": problems}), answers)
        return
    tree = {
        "parameters": said.parameters, "row_us": said.row_us, "warnings": said.warnings,
        "source": source_of(found),
    }  # fmt: skip
    told = json.dumps(tree) if as_json else "\n".join(f"{k}: {v}" for k, v in tree.items())
    typer.echo(told, answers)


def _kept_for_the_answer() -> IO[str]:
    """Return our stdout, and have whatever a module prints go to stderr from now on."""
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return kept


def probed(found: Settings, path: Path | None, set_: list[str] | None) -> dict[str, Any] | None:
    """Try each module of the settings in a process of its own; return what there is to say of that
    in model.kind, None for a model that is built in. BadSettings when one breaks a rule."""
    said = None
    for name, one in alone(found).items():
        told = _probed(one, name, path, set_)
        if name == MAIN:
            said = told
        else:
            tell(one, told)
    return said


def _probed(
    found: Settings, name: str, path: Path | None, set_: list[str] | None
) -> dict[str, Any]:
    from service.supervise import environment, python

    try:
        done = subprocess.run(
            python(*arguments("probe-module", path, set_), "--name", name, "--json"), env=environment(), check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        what = f"did not come to an end in {_PATIENCE_S:g} s"
        raise _refused(found, name, what, "Let forward take milliseconds.") from None
    last = (done.stdout.splitlines() or [b""])[-1]
    if done.returncode or not last.startswith(b"{"):
        code = done.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        why = (
            "It may write into its weights: the API scores on memory that cannot be written."
            if code in {-signal.SIGSEGV, -signal.SIGBUS}
            else "What it wrote stands above."
        )
        raise _refused(found, name, f"ended the process that tried it: {how}", why)
    said: dict[str, Any] = json.loads(last)
    if "problems" in said:
        raise BadSettings([Problem(**one) for one in said["problems"]])
    return said


def source_of(found: Settings) -> str | None:
    """Return the sha256 of the code of the settings' modules, of several with commas between them;
    None where all models are built in."""
    from service.model.kinds import module_code

    return ",".join(map(module_code.source_of, references(found))) or None


def modules_of(found: Settings) -> str:
    """Return the names of the classes, for people."""
    return ", ".join(found.model.references)


def tell(found: Settings, said: dict[str, Any] | None) -> None:
    """Log what a probe found, warnings one by one."""
    if said is None:
        return
    from service.logs import logger

    log = logger(__name__)
    log.info("module_probed", module=modules_of(found), **{k: said[k] for k in _FIGURES})
    for warning in said["warnings"]:
        log.warning("module_warning", module=modules_of(found), warning=warning)


_FIGURES = ("parameters", "row_us", "source")


def _refused(found: Settings, name: str, what: str, hint: str) -> BadSettings:
    return BadSettings([Problem(place(name, found), None, f"{modules_of(found)} {what}", hint)])


def _of(name: str, problem: Problem) -> Problem:
    """Return a problem of a model that was tried alone, where it stands in the settings."""
    return replace(problem, path=within(name, problem.path))
