"""Fixtures for real brokers; a pytest plugin (register it in tests/conftest.py).

kafka_bootstrap     a real Kafka: HEADWATER_TEST_KAFKA, else ../shared/kafka beside the checkout
                    (started once, stopped at the end), else the test is skipped with the reason
embedded_bootstrap  the embedded broker, started once, stopped at the end
any_bootstrap       a real Kafka where there is one, else the embedded broker
Topics get fresh names in every test: nothing is ever cleaned up between tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.stream.embedded import EmbeddedBroker
from tests.processes import PATIENCE_S

_START_SCRIPT = Path(__file__).parent.parent.parent / "shared" / "kafka" / "kafka"


def _script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(_START_SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Kafka."""
    named = os.environ.get("HEADWATER_TEST_KAFKA")  # noqa: TID251 - names of the suite itself
    if named:
        yield named
        return
    if not _START_SCRIPT.is_file():
        pytest.skip(f"no real Kafka: HEADWATER_TEST_KAFKA is not set, no {_START_SCRIPT}")
    folder = str(tmp_path_factory.mktemp("kafka"))
    bootstrap = _script("start", folder, "--port", "0")
    try:
        yield bootstrap
    finally:
        _script("stop", folder)


@pytest.fixture(scope="session")
def kafka_sasl_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Kafka that asks for a name and a password."""
    if not _START_SCRIPT.is_file():
        pytest.skip(f"no real Kafka with SASL: no {_START_SCRIPT}")
    folder = str(tmp_path_factory.mktemp("kafka-sasl"))
    bootstrap = _script("start", folder, "--port", "0", "--sasl")
    try:
        yield bootstrap
    finally:
        _script("stop", folder)


@pytest.fixture(scope="session")
def embedded_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the embedded broker."""
    pytest.importorskip("noida_db", reason="the extra `embedded` is not installed")
    with EmbeddedBroker(tmp_path_factory.mktemp("embedded")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def any_bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a real Kafka where there is one, else of the embedded broker."""
    named = os.environ.get("HEADWATER_TEST_KAFKA")  # noqa: TID251 - names of the suite itself
    real = named or _START_SCRIPT.is_file()
    return str(request.getfixturevalue("kafka_bootstrap" if real else "embedded_bootstrap"))
