"""The rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from service._settings.tree import kinds_at
from service.settings import Settings

CHECKOUT = Path(__file__).parent.parent
SOURCES = sorted(
    path for room in ("service", "benchmarks") for path in (CHECKOUT / room).rglob("*.py")
)
LONGEST = 320
NAMELESS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def named(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def imports(path: Path) -> set[str]:
    """Names of the packages a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def importers(package: str) -> list[str]:
    return [named(path) for path in SOURCES if package in imports(path)]


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of the settings, kinds of fields included."""
    yield path, model
    for name in model.model_fields:
        for kind in kinds_at(model, (name,)) + kinds_at(model, (name, "NAME")):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind, f"{path}.{name}")


def test_every_file_fits_on_a_few_screens() -> None:
    """
    No source file is longer than the budget.
    """
    long = {named(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > LONGEST}

    assert {} == long


def test_every_file_is_named_by_what_it_holds() -> None:
    """
    No file has a name that could mean anything.
    """
    assert [] == [named(path) for path in SOURCES if path.stem in NAMELESS]


def test_every_file_says_what_it_is() -> None:
    """
    Each module opens with its contract.
    """
    assert [] == [named(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]


def test_the_loop_fits_on_one_page() -> None:
    """
    learn/loop.py can be read at one go.
    """
    assert 120 > len((CHECKOUT / "service/learn/loop.py").read_text().splitlines())


def test_every_setting_says_what_it_does() -> None:
    """
    No setting is without a sentence, no section without a docstring.
    """
    silent = [
        f"{path}.{name}"
        for path, section in sections(Settings)
        for name, field in section.model_fields.items()
        if not field.description or not section.__doc__
    ]

    assert [] == silent


def test_every_duration_and_size_names_its_unit() -> None:
    """
    A setting of time or size says in what it is counted.
    """
    units = re.compile(r"milliseconds|seconds|bytes|events|records|rows|units|snapshots|hours|days")
    unclear = [
        f"{path}.{name}"
        for path, section in sections(Settings)
        for name, field in section.model_fields.items()
        if re.search(r"_(ms|seconds|bytes|rows|events|records)$", name)
        and not units.search(field.description or "")
    ]

    assert [] == unclear


def test_one_file_knows_the_embedded_broker() -> None:
    """
    The broker in a wheel stays behind one file.
    """
    knows = [named(path) for path in SOURCES if "noida" in path.read_text().lower()]

    assert ["service/stream/embedded.py"] == [n for n in knows if n.startswith("service/")]


def test_one_room_knows_the_kafka_client() -> None:
    """
    confluent_kafka is spoken to from the stream only (and measured by the benchmarks).
    """
    rooms = {name.rsplit("/", 1)[0] for name in importers("confluent_kafka")}

    assert {"service/stream"} == rooms - {"benchmarks"}


@pytest.mark.parametrize("package", sorted(UNPICKLERS))
def test_nothing_executable_is_loaded_from_state(package: str) -> None:
    """
    No way to unpickle is imported: state is safetensors and JSON (promise 7).
    """
    assert [] == importers(package)


def test_torch_loads_nothing() -> None:
    """
    torch.load unpickles, so it is not called (promise 7).
    """
    callers = [
        named(path)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"
    ]

    assert [] == callers


def test_constraints_hold_what_the_project_asks_for() -> None:
    """
    Each dependency is pinned in constraints.txt, to a version that its range allows.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==")
        for line in (CHECKOUT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    asked = [
        Requirement(text)
        for texts in (project["dependencies"], *project["optional-dependencies"].values())
        for text in texts
    ]
    unmet = [
        str(one)
        for one in asked
        if one.name != "headwater"
        and not one.specifier.contains(pins.get(canonicalize_name(one.name), "0"))
    ]

    assert [] == unmet
