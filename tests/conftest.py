"""What every test may use: a clean environment, the shared data, the command itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from service import settings
from service.errors import BadSettings, Problem
from service.settings import Settings
from tests.processes import PATIENCE_S

pytest_plugins = ["tests.brokers"]

CHECKOUT = Path(__file__).parent.parent

# A slow machine is no counterexample. The examples are the same every time, so that what fails
# fails for everybody; with HEADWATER_TEST_CHAOS=1 they are drawn anew.
LOOKS_FURTHER = bool(os.environ.get("HEADWATER_TEST_CHAOS"))
hypothesis_settings.register_profile(
    "headwater",
    deadline=None,
    derandomize=not LOOKS_FURTHER,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("headwater")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own HEADWATER_ variables change no test."""
    for name in list(os.environ):
        if name.startswith("HEADWATER_") and not name.startswith("HEADWATER_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logs_of_one_test() -> Iterator[None]:
    """A command that runs inside a test configures logs; the next test finds none configured."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root = logging.getLogger()
        root.setLevel(logging.WARNING)
        for handler in root.handlers[:]:
            if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
                root.removeHandler(handler)


@pytest.fixture
def load_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Load settings from a text, with no environment but the variables given."""

    def load(text: str, overrides: dict[str, object] | None = None, **variables: str) -> Settings:
        path = tmp_path / "headwater.yaml"
        path.write_text(text, encoding="utf-8")
        return settings.load(path, overrides, environment=variables)

    return load


@pytest.fixture
def refused_settings(load_settings: Callable[..., Settings]) -> Callable[..., dict[str, Problem]]:
    """Load settings that must be refused; return the problems by their paths."""

    def refused(text: str, *arguments: object, **variables: str) -> dict[str, Problem]:
        with pytest.raises(BadSettings) as caught:
            load_settings(text, *arguments, **variables)
        return {problem.path: problem for problem in caught.value.problems}

    return refused


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the data sets: HEADWATER_TEST_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("HEADWATER_TEST_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; name their folder in HEADWATER_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def data_file(data_folder: Path) -> Callable[[str], Path]:
    """Path of one data set; the test is skipped where it is not there."""

    def find(name: str) -> Path:
        path = data_folder / name
        if not path.is_file():
            pytest.skip(f"no {name} in {data_folder}")
        return path

    return find


@pytest.fixture
def kserve_python() -> str:
    """Python of a place of its own that has kserve, whose pins do not go with ours."""
    named = os.environ.get("HEADWATER_TEST_KSERVE")
    if not named:
        pytest.skip("name the python of a venv that has kserve in HEADWATER_TEST_KSERVE")
    return named


@pytest.fixture
def headwater(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in an empty folder, with only the variables given; wait for its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        own["PYTHONPATH"] = str(CHECKOUT)
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=tmp_path,
            env=own | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run
