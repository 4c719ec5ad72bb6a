"""Services, clusters and mock clusters for the faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import make_service
from tests.faults.clusters import Cluster
from tests.faults.mock_cluster import MockCluster, library

__all__ = ["make_service"]


@pytest.fixture
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers of the test's own."""
    cluster = Cluster(tmp_path_factory.mktemp("kafka-3"), nodes=3)
    yield cluster
    cluster.resume()
    cluster.kill()


@pytest.fixture
def mock_cluster() -> Iterator[MockCluster]:
    """Three brokers of librdkafka's own making."""
    path = library()
    if path is None:
        pytest.skip("this confluent_kafka brings no library of its own")
    with MockCluster(path, brokers=3) as cluster:
        yield cluster
