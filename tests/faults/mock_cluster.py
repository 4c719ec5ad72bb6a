"""librdkafka's own mock cluster: real protocol on a real port, and errors to order.

Spoken to by ctypes through the library that confluent_kafka brings. It lives in this process as
long as the object; anybody may connect to `bootstrap_servers`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType

import confluent_kafka

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT = 0, 1, 2, 3, 8
_PRODUCER = 0
_GROUP = 0


def library() -> Path | None:
    """Return librdkafka as confluent_kafka's wheel brings it; None where the wheel has none."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    return next(iter(sorted(folder.glob("librdkafka*.so*"))), None)


class MockCluster:
    """Some brokers that do what they are told."""

    def __init__(self, path: Path, brokers: int = 1) -> None:
        lib = ctypes.CDLL(str(path))
        for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        said = ctypes.create_string_buffer(512)
        self._lib = lib
        self._client = ctypes.c_void_p(
            lib.rd_kafka_new(_PRODUCER, None, said, ctypes.c_size_t(len(said)))
        )
        assert self._client.value, said.value
        self._cluster = ctypes.c_void_p(lib.rd_kafka_mock_cluster_new(self._client, brokers))
        assert self._cluster.value, "there is no mock cluster in this library"
        self.bootstrap_servers = lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> MockCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)

    def create_topic(self, name: str, partitions: int, copies: int = 1) -> None:
        """Create a topic."""
        self._done(
            self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, copies)
        )

    def push_errors(self, request: int, *errors: int) -> None:
        """Answer the next requests of this kind with these errors, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes
        )

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker (1, 2, ...) the leader of a partition."""
        self._done(
            self._lib.rd_kafka_mock_partition_set_leader(
                self._cluster, topic.encode(), partition, broker
            )
        )

    def coordinate(self, group: str, broker: int) -> None:
        """Make a broker the coordinator of a group."""
        self._done(
            self._lib.rd_kafka_mock_coordinator_set(self._cluster, b"group", group.encode(), broker)
        )

    def set_down(self, broker: int) -> None:
        """A broker refuses every connection."""
        self._done(self._lib.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def set_up(self, broker: int) -> None:
        """It answers again."""
        self._done(self._lib.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def _done(self, error: int) -> None:
        assert 0 == error, f"the mock cluster answers {error}"
