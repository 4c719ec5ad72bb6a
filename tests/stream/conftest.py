"""The three brokers as one fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stream.labs import FakeLab, KafkaLab, Lab


@pytest.fixture(scope="session")
def embedded_lab(embedded_bootstrap: str) -> Iterator[KafkaLab]:
    lab = KafkaLab("embedded", embedded_bootstrap)
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def kafka_lab(kafka_bootstrap: str) -> Iterator[KafkaLab]:
    lab = KafkaLab("kafka", kafka_bootstrap)
    yield lab
    lab.close()


@pytest.fixture(params=["fake", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def lab(request: pytest.FixtureRequest) -> Lab:
    """A broker: in memory, embedded, real. Topics get fresh names."""
    if request.param == "fake":
        return FakeLab()
    found: KafkaLab = request.getfixturevalue(f"{request.param}_lab")
    return found
