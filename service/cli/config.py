"""`headwater config check | show | init | schema | reference`: what the settings say and may say."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.config_init import init
from service.cli.options import ConfigOption, JsonOption, SetOption, overrides
from service.cli.probe_module import modules_of, probed
from service.cli.problems import told
from service.cli.room import too_large
from service.errors import BadSettings, HeadwaterError, Problem

if TYPE_CHECKING:
    from service.settings import Settings

config = typer.Typer(help="Check and show the settings.", no_args_is_help=True)
config.command()(init)


def register(app: typer.Typer) -> None:
    """Add the command and its parts."""
    app.add_typer(config, name="config")


@config.command()
def check(
    path: ConfigOption = None,
    set_: SetOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run the modules of your own that are named.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find everything that is wrong with the settings. Exit 3 when something is."""
    from service import settings

    said, matched, doubts = None, list[str](), list[Problem]()
    try:
        found, errors = settings.load(path, overrides(set_)), []
        own = [one.learning for one in found.challengers.values() if one.learning is not None]
        if any(
            one.freeze for one in (found.learning, *own)
        ):  # only the model knows the names of its weights
            from service.model.kinds import recipe_of
            from service.model.layout import Layout

            Layout(recipe_of(found))
        _say_armed()
        said = probed(found, path, set_) if probe else None
        matched = _pretrained(found, probe)
        doubts = settings.doubts(found) + too_large(found)
    except BadSettings as error:
        found, errors = None, error.problems
    if as_json:
        checked: dict[str, object] = {"ok": not errors, "errors": [asdict(e) for e in errors]}
        more = {"module": said, "warnings": [asdict(doubt) for doubt in doubts]}
        typer.echo(json.dumps(checked | {name: value for name, value in more.items() if value}))
    elif found is not None:
        features, targets = len(found.event.features), len(found.event.targets)
        typer.echo(
            f"The settings of {found.name} are good: {_count(features, 'feature')}, "
            f"{_count(targets, 'target')}, {_count(len(found.kafka.topics), 'topic')}."
        )
        if said is not None:
            typer.echo(
                f"{modules_of(found)}: the rules are kept, {_count(said['parameters'], 'weight')} to "
                f"learn, {said['row_us']:g} us to score an event."
            )
        of_module = [] if said is None else [f"{warning}." for warning in said["warnings"]]
        of_settings = [f"{doubt.path}: {doubt.msg}.\n    {doubt.hint}" for doubt in doubts]
        for warning in of_module + of_settings:
            typer.echo(f"Warning: {warning}")
        for line in matched:
            typer.echo(line)
    else:
        typer.echo(f"{_count(len(errors), 'problem')}:\n{told(errors)}")
    if errors:
        raise typer.Exit(BadSettings.exit_code)


@config.command()
def show(path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Print the settings in force, defaults and environment included, without secrets."""
    from service import settings

    tree = settings.shown(settings.load(path, overrides(set_)))
    _say_armed()
    if as_json:
        typer.echo(json.dumps(tree))
        return
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.representer.add_representer(
        type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    yaml.dump(tree, sys.stdout)


@config.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of the settings file, for editors."""
    from service.cli.config_schema import schema as made

    text = json.dumps(made(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HeadwaterError(f"{out} cannot be written: {error.strerror}") from None
    typer.echo(f"written: {out}", err=True)


@config.command()
def reference() -> None:
    """Print the page that describes every setting (docs/configuration.md)."""
    from service.cli.reference import page

    typer.echo(page(), nl=False)


def _pretrained(found: Settings, probe: bool) -> list[str]:
    """Return what the file has of the model's weights, in lines."""
    if found.model.pretrained is None:
        return []
    if found.model.references and not probe:
        return ["With --probe, the names in the pretrained file are compared too."]
    from service.learn import pretrained
    from service.model.kinds import recipe_of
    from service.model.layout import Layout

    return pretrained.match(Layout(recipe_of(found)), found.model.pretrained).lines()


def _say_armed() -> None:
    from service import settings

    armed = settings.crash_point()
    if armed is not None:
        typer.echo(
            f"Warning: processes started in this environment kill themselves at the crash point "
            f"{armed.name} (hit {armed.nth}); unset HEADWATER_CRASHPOINT and "
            "HEADWATER_CRASHPOINT_FILE.",
            err=True,
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
