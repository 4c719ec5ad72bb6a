"""Image, compose and Kubernetes agree with the settings and the command line, and with each other."""

from __future__ import annotations

import importlib
import socket
import subprocess
from pathlib import PurePosixPath

import pytest

from service import settings
from service.model.kinds import recipe_of
from service.model.layout import Layout
from service.settings import Settings
from tests.deploy.files import CHECKOUT, yaml
from tests.deploy.images import (
    Container,
    compose_containers,
    exec_form,
    image,
    image_environment,
    instructions,
    kubernetes_containers,
    parse,
)

CONTAINERS = [*compose_containers(), *kubernetes_containers()]
EACH = pytest.mark.parametrize("one", CONTAINERS, ids=[one.name for one in CONTAINERS])
OURS = "10001"


def load(one: Container) -> Settings:
    """Return the settings as the container has them."""
    return settings.load(one.settings, environment=without_config(one.environment))


def without_config(environment: dict[str, str]) -> dict[str, str]:
    """The file is where the test says."""
    return {k: v for k, v in environment.items() if k != "HEADWATER_CONFIG"}


def mounted(one: Container, path: str) -> str | None:
    """Return what lies at a path of a container: the innermost mount around it."""
    place = PurePosixPath(path)
    for around in (place, *place.parents):
        if str(around) in one.mounts:
            return one.mounts[str(around)]
    return None


def test_there_is_a_learner_and_an_api_of_each() -> None:
    """
    What is found in the files is what the other tests look at.
    """
    assert ["compose/learner", "compose/api", "compose/producer",
            "kubernetes/learner", "kubernetes/api"] == [one.name for one in CONTAINERS]  # fmt: skip


@EACH
def test_commands_parse(one: Container) -> None:
    """
    The command of a container, and those that ask for its health, are the command line's.
    """
    assert one.command[0] == parse(one.command).info_name
    for check in one.checks:
        assert "headwater" == check[0]
        assert "healthcheck" == parse(check[1:]).info_name


@EACH
def test_the_environment_is_one_of_settings(one: Container) -> None:
    """
    Each HEADWATER_ name is a setting, and image and file go together.
    """
    found = load(one)

    assert one.environment["HEADWATER_STATE__DIRECTORY"] == str(found.state.directory)
    assert one.environment["HEADWATER_RUNTIME__DIRECTORY"] == str(found.runtime.directory)


@EACH
def test_the_settings_file_lies_where_it_is_looked_for(one: Container) -> None:
    """
    HEADWATER_CONFIG leads into a mount.
    """
    assert one.settings.is_file()
    assert mounted(one, one.environment["HEADWATER_CONFIG"]) is not None


@EACH
def test_whatever_is_written_lies_in_a_mount(one: Container) -> None:
    """
    The root is read-only: HOME, temporary files and kernels, and what the process keeps.
    """
    written = {one.environment["HOME"], one.environment["NUMBA_CACHE_DIR"], "/tmp"}
    if one.command == ["learner"]:
        written.add(one.environment["HEADWATER_STATE__DIRECTORY"])
    if one.command in (["learner"], ["api"]):
        written.add(one.environment["HEADWATER_RUNTIME__DIRECTORY"])

    assert [] == [path for path in sorted(written) if mounted(one, path) is None]


@pytest.mark.parametrize("place", ["compose", "kubernetes"])
def test_learner_and_api_map_the_same_memory(place: str) -> None:
    """
    One volume for both: two tmpfs would be two files.
    """
    runtime = [
        mounted(one, one.environment["HEADWATER_RUNTIME__DIRECTORY"])
        for one in CONTAINERS
        if one.name in (f"{place}/learner", f"{place}/api")
    ]

    assert 2 == len(runtime)
    assert [{"compose": "runtime", "kubernetes": "runtime in memory"}[place]] * 2 == runtime


@pytest.mark.parametrize("place", ["compose", "kubernetes"])
def test_the_api_is_asked_on_the_port_it_listens_on(place: str) -> None:
    """
    Beyond loopback, or nobody outside the container could.
    """
    [api] = [one for one in CONTAINERS if one.name == f"{place}/api"]
    found = load(api)

    assert [found.api.port] == api.ports
    assert "0.0.0.0" == found.api.host
    assert found.api.allow_unauthenticated


@EACH
def test_the_live_weights_fit_into_the_memory_that_is_given(one: Container) -> None:
    """
    Two copies of the state of these settings, and again as much for a change of layout.
    """
    nbytes = Layout(recipe_of(load(one))).nbytes

    assert 4 * nbytes + (1 << 20) < 256 << 20


def test_the_image_runs_the_command_as_nobody_in_particular() -> None:
    """
    Exec form, so that SIGTERM reaches it; a user by number, so that Kubernetes can tell it is not
    root; the state in a volume; the port of the settings.
    """
    assert ["headwater"] == exec_form(image("ENTRYPOINT"))
    assert "run" == parse(exec_form(image("CMD"))).info_name
    assert ["headwater", "healthcheck"] == exec_form(image("HEALTHCHECK").partition("CMD ")[2])
    assert f"{OURS}:{OURS}" == image("USER")
    assert image_environment()["HEADWATER_STATE__DIRECTORY"] == image("VOLUME")
    assert str(settings.ApiSettings().port) == image("EXPOSE")
    assert "SIGTERM" == image("STOPSIGNAL")


def test_the_image_alone_takes_settings() -> None:
    """
    Its environment goes with a file that says nothing of places.
    """
    path = CHECKOUT / "deploy" / "compose" / "headwater.yaml"
    found = settings.load(path, environment=without_config(image_environment()))

    assert found.runtime.directory is not None
    assert "127.0.0.1" == found.api.host


def test_the_kernels_of_the_image_are_found() -> None:
    """
    They are compiled in the stage before for the same kind of processor, and the class that finds
    them is there.
    """
    module, _, name = image_environment()["NUMBA_CACHE_LOCATOR_CLASSES"].rpartition(".")
    targets = [rest for word, rest in instructions() if word == "ENV" and "NUMBA_CPU_NAME" in rest]
    froms = [rest for word, rest in instructions() if word == "FROM"]
    compiled = [rest for word, rest in instructions() if "headwater compile-kernels" in rest]

    assert isinstance(getattr(importlib.import_module(module), name), type)
    assert {"cpu-amd64", "cpu-arm64"} <= {rest.split()[-1] for rest in froms}
    assert 2 == len(targets)
    assert ["cpu-${TARGETARCH} AS build", "cpu-${TARGETARCH}"] == froms[-2:]
    assert 1 == len(compiled)
    assert "compile-kernels" == parse(["compile-kernels"]).info_name


def test_the_builder_is_given_what_it_copies() -> None:
    """
    .dockerignore lets through each file that the Dockerfile copies, and the whole of the package.
    """
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source.split("/")[0]
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }

    assert "*" in lines
    assert allowed == copied
    assert all((CHECKOUT / name).exists() for name in copied)


def test_the_image_is_made_of_pinned_versions() -> None:
    """
    Everything from the package index goes by constraints.txt; torch alone comes from elsewhere.
    """
    installs = [
        part
        for word, rest in instructions()
        if word == "RUN"
        for part in rest.split("&&")
        if "pip install" in part
    ]

    assert installs
    assert all("constraints.txt" in one or "--no-deps" in one for one in installs)
    assert ["TORCH_INDEX" in one for one in installs] == ["torch==" in one for one in installs]


def test_kafka_is_healthy_where_its_listener_is() -> None:
    """
    The check of compose, run here: 0 where somebody listens on the port of a listener of Kafka's, else
    not; and it starts nothing but a shell.
    """
    kafka = yaml(CHECKOUT / "docker-compose.yml")["services"]["kafka"]
    _, *command = kafka["healthcheck"]["test"]
    port = command[-1].rpartition("/")[2]
    with socket.create_server(("127.0.0.1", 0)) as there:
        own = [part.replace(port, str(there.getsockname()[1])) for part in command]
        listened = subprocess.run(own, check=False, capture_output=True)
    closed = subprocess.run(own, check=False, capture_output=True)

    assert "bash" == command[0]
    assert f"://:{port}," in kafka["environment"]["KAFKA_LISTENERS"]
    assert (0, 1) == (listened.returncode, closed.returncode)
