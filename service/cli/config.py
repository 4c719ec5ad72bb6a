"""`headwater config check | show | schema | reference`: what the settings say and may say."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption, overrides
from service.cli.problems import told
from service.errors import BadSettings

config = typer.Typer(help="Check and show the settings.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command and its parts."""
    app.add_typer(config, name="config")


@config.command()
def check(path: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Find everything that is wrong with the settings. Exit 3 when something is."""
    from service import settings

    try:
        found, errors = settings.load(path, overrides(set_)), []
        if found.learning.freeze:  # only the model knows the names of its weights
            from service.model.layout import Layout
            from service.model.recipe import Recipe

            Layout(Recipe.of(found))
        _say_armed()
    except BadSettings as error:
        found, errors = None, error.problems
    if as_json:
        typer.echo(json.dumps({"ok": not errors, "errors": [asdict(e) for e in errors]}))
    elif found is not None:
        features, targets = len(found.event.features), len(found.event.targets)
        typer.echo(
            f"The settings of {found.name} are good: {_count(features, 'feature')}, "
            f"{_count(targets, 'target')}, {_count(len(found.kafka.topics), 'topic')}."
        )
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
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    from service.settings import Settings

    tree = Settings.model_json_schema()
    kafka = tree["$defs"]["KafkaSettings"]  # `topic: x` is the short spelling of one topic
    kafka["properties"]["topic"] = {"type": "string", "description": "One topic to learn from."}
    kafka["required"].remove("topics")
    kafka["oneOf"] = [{"required": ["topics"]}, {"required": ["topic"]}]
    typer.echo(json.dumps(tree, indent=2))


@config.command()
def reference() -> None:
    """Print the page that describes every setting (docs/configuration.md)."""
    from service.cli.reference import page

    typer.echo(page(), nl=False)


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
