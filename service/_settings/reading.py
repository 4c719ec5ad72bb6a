"""From a file, the environment and a command line to checked settings, or to every problem."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service._settings import environment, file, problems, rules
from service.errors import BadSettings, Problem

DEFAULT_FILE = "headwater.yaml"

Model = TypeVar("Model", bound=BaseModel)


def read(
    model: type[Model],
    path: Path | None,
    overrides: Mapping[str, object],
    variables: Mapping[str, str],
) -> Model:
    """Read settings: the file, over it the environment's variables, over them the overrides."""
    source = _find(path, variables)
    document = file.read(source)
    tree, lines = document.tree, document.lines
    found = list(rules.spell_out(tree, lines))
    wrong: list[Problem] = []
    sources: dict[tuple[str, ...], str] = {}
    for overlay in (
        environment.from_environment(model, variables, tree),
        environment.from_overrides(model, overrides),
    ):
        overlay.onto(tree)
        wrong += overlay.problems
        sources |= overlay.sources
    found += rules.broken(model, tree)
    settings = None
    try:
        # strict, and as JSON: there a list may become a tuple, but no text a number
        settings = model.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        told = {one.where for one in found}
        explained = (problems.explain(model, e) for e in error.errors(include_url=False))
        found += [one for one in explained if one.where not in told]
    wrong += problems.located(found, lines, sources, str(source))
    if settings is None or wrong:
        raise BadSettings(sorted(wrong, key=lambda p: (p.line is None, p.line or 0, p.path)))
    return settings


def _find(path: Path | None, variables: Mapping[str, str]) -> Path:
    named = variables.get(environment.FILE_NAME)
    chosen = path or Path(named or DEFAULT_FILE)
    if chosen.is_dir():
        raise BadSettings(
            [Problem(str(chosen), None, "is a folder", _named(chosen / DEFAULT_FILE))]
        )
    if not chosen.is_file():
        looked = (
            f"--config ({path or 'not given'}), {environment.FILE_NAME} ({named or 'not set'}), "
            f"./{DEFAULT_FILE}"
        )
        msg = f"there is no such file; looked at {looked}, in this order"
        hint = "Check the path" if path or named else _named(Path("FILE"))[:-1]
        hint += "; `headwater config init` writes such a file from a sample of your events."
        raise BadSettings([Problem(str(chosen), None, msg, hint)])
    return chosen


def _named(file: Path) -> str:
    return f"Name the file: --config {file}."
