"""The Dockerfile, compose file and Kubernetes manifests as the tests see them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

from service.cli.main import app
from tests.deploy.files import CHECKOUT, DEPLOY, parsed, yaml

COMPOSE = CHECKOUT / "docker-compose.yml"
KUBERNETES = DEPLOY / "kubernetes"
BASE = KUBERNETES / "base"


class Container(NamedTuple):
    """One container of ours: what the engine is told."""

    name: str
    command: list[str]
    environment: dict[str, str]
    settings: Path
    """The settings file, here."""
    mounts: dict[str, str]
    """By the path in the container: what lies there; "tmpfs" is memory of its own."""
    checks: list[list[str]]
    """Commands that ask for its health."""
    ports: list[int]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as (INSTRUCTION, rest)."""
    text = (CHECKOUT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in whole]


def last_stage() -> list[tuple[str, str]]:
    """Return the instructions of the stage that becomes the image."""
    given = instructions()
    start = max(n for n, (word, _) in enumerate(given) if word == "FROM")
    return given[start:]


def image_environment() -> dict[str, str]:
    """Return what the image's own stage puts into the environment."""
    pairs = (pair for word, rest in last_stage() if word == "ENV" for pair in shlex.split(rest))
    return dict(pair.split("=", 1) for pair in pairs)


def image(word: str) -> str:
    """Return the last instruction of this kind in the image's stage."""
    return [rest for kind, rest in last_stage() if kind == word][-1]


def exec_form(text: str) -> list[str]:
    """Return a command in exec form; ValueError where it is not."""
    found: list[str] = json.loads(text)
    return found


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Return a compose file with ${NAME:-default} filled in, as compose does."""
    filled = re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", lambda m: variables.get(m[1]) or m[2], text)
    assert "$" not in filled, "another way of interpolation"
    return filled


def compose(**variables: str) -> dict[str, Any]:
    """Return the compose file, interpolated, anchors merged."""
    found: dict[str, Any] = parsed(interpolated(COMPOSE.read_text(), variables))
    return found


def parse(command: list[str]) -> Any:
    """Return the context of a command line of ours; raises what is wrong with it."""
    given: Any = typer.main.get_command(app)
    rest = list(command)
    while hasattr(given, "commands"):
        given = given.commands[rest.pop(0)]
    return given.make_context(given.name, rest)


def compose_containers() -> Iterator[Container]:
    """Yield the containers of the compose file that run the image."""
    for name, given in compose()["services"].items():
        if "build" not in given:
            continue
        mounts = {text.split(":")[0]: "tmpfs" for text in given["tmpfs"]}
        settings = Path()
        for text in given["volumes"]:
            source, target = text.split(":")[:2]
            mounts[target] = source
            if target.endswith(".yaml"):
                settings = CHECKOUT / source
        test = given["healthcheck"].get("test", ["CMD", *exec_form(_healthcheck())])
        yield Container(
            f"compose/{name}",
            given["command"],
            image_environment() | given.get("environment", {}),
            settings,
            mounts,
            [] if given["healthcheck"].get("disable") else [test[1:]],
            [int(port.split(":")[-1]) for port in given.get("ports", ())],
        )


def kubernetes_containers() -> Iterator[Container]:
    """Yield the containers of the pod."""
    spec = yaml(BASE / "statefulset.yaml")["spec"]
    pod = spec["template"]["spec"]
    memory = {v["name"] for v in pod["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"}
    for given in pod["containers"]:
        environment = {one["name"]: one["value"] for one in given["env"] if "value" in one}
        probes = [given[key] for key in given if key.endswith("Probe")]
        yield Container(
            f"kubernetes/{given['name']}",
            given["args"],
            image_environment() | environment,
            BASE / "headwater.yaml",
            {m["mountPath"]: m["name"] + " in memory" * (m["name"] in memory)
             for m in given["volumeMounts"]},
            [probe["exec"]["command"] for probe in probes if "exec" in probe],
            [port["containerPort"] for port in given.get("ports", ())],
        )  # fmt: skip


def _healthcheck() -> str:
    return image("HEALTHCHECK").partition("CMD ")[2]
