"""What the stream needs of Kafka, and nothing more: the seam between source and client.

Three implementations pass one contract suite (tests/stream/test_broker_contract.py): kafka.py on
a real Kafka, kafka.py on the embedded broker, and the fake in tests/fakes/broker.py.

Every call that asks the broker something raises BrokerAway when it does not answer in time, and
TopicMissing when it says that there is no such topic. A Reader belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from service.stream.records import TP, Epochs, Headers, Offsets, Record


class Run(msgspec.Struct, frozen=True):
    """Records of one partition, in order of their offsets; `times_ms` are their timestamps."""

    topic: str
    partition: int
    records: list[Record]
    times_ms: list[int]
    epoch: int = -1
    """Leader epoch of all of them; -1 where the broker tells none."""


class EndOfPartition(msgspec.Struct, frozen=True):
    """Everything before `offset` has been handed out; nothing readable is behind it yet."""

    topic: str
    partition: int
    offset: int


class OutOfRange(msgspec.Struct, frozen=True):
    """`offset` cannot be read. The partition stays silent until it is added again."""

    topic: str
    partition: int
    offset: int | None
    """None where the client does not say; then it is what it would have read next."""
    cut_off_at: int | None = None
    """The log was cut off here, before `offset`: what follows are other records, or none."""


class Trouble(msgspec.Struct, frozen=True):
    """Something went wrong and the client goes on trying. `topic`: None when it is not one's."""

    code: str
    message: str
    topic: str | None = None


Fetched = Run | EndOfPartition | OutOfRange | Trouble


class TopicSurvey(msgspec.Struct, frozen=True):
    """A topic as it is now. `topic_id`: None where the broker knows none."""

    topic_id: str | None
    watermarks: dict[int, tuple[int, int]]
    """Per partition (low, high): the first readable offset, and the one after the last."""


Survey = Mapping[str, TopicSurvey | None]
"""Per topic; None: there is no such topic."""


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message to send. `partition`: None lets the client choose. `tag` comes back in a Failure."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers | None = None
    timestamp_ms: int | None = None
    partition: int | None = None
    tag: object = None


TOO_LARGE = "MSG_SIZE_TOO_LARGE"
"""Code of a failure: the broker takes no message of that size for that topic."""


class Failure(msgspec.Struct, frozen=True):
    """A message that will not be acknowledged, and why."""

    message: Outgoing
    code: str
    error: str


class Reader(Protocol):
    """Reads partitions from explicit offsets; nothing is ever subscribed to."""

    commit_failures: int

    def add(self, offsets: Offsets, epochs: Epochs | None = None) -> None:
        """Begin to read these partitions at these offsets. `epochs`: where one is known, it is
        checked that the log before the offset is still the one that was read."""

    def remove(self, partitions: Collection[TP]) -> None:
        """Stop reading these partitions; what was fetched ahead of them is thrown away."""

    def fetch(self, max_records: int, timeout_s: float, *, fill: bool = False) -> list[Fetched]:
        """Return what is there, at most `max_records` records and signals; never skips an error.

        Waits at most `timeout_s` for the first of them, or with `fill` for all of them. Fewer
        than `max_records` means that nothing more was waiting. A Run counts as its records.
        """

    def high(self, partition: TP) -> int | None:
        """Return the end of the partition as last heard, without asking; None if never heard."""

    def commit(self, offsets: Offsets) -> None:
        """Tell lag tools how far we are. Does not wait, never raises; failures are counted."""

    def close(self) -> None:
        """Let go of the broker."""


class Producer(Protocol):
    """Sends messages; an acknowledged one is on disk as far as Kafka promises."""

    def send(self, message: Outgoing) -> None:
        """Hand a message over; waits only while too many are on their way."""

    def flush(self, timeout_s: float) -> list[Failure]:
        """Wait for acknowledgements; return what failed since the last flush."""

    def waiting(self) -> int:
        """Return how many messages are not acknowledged and have not failed."""

    def close(self) -> None:
        """Let go of the broker. What is still waiting is dropped."""


class Broker(Protocol):
    """One Kafka cluster."""

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic, in order."""

    def topic_id(self, topic: str) -> str | None:
        """Return the identity of a topic, which a topic made anew does not have."""

    def watermarks(self, partition: TP) -> tuple[int, int]:
        """Return the first readable offset, and the one after the last readable one."""

    def offset_for_time(self, partition: TP, timestamp_ms: int) -> int:
        """Return the first offset of that time or later; the end where there is none."""

    def committed(self, partitions: Iterable[TP]) -> Offsets:
        """Return what was committed; partitions without a commit are left out."""

    def survey(self, topics: Sequence[str]) -> Callable[[float], Survey | None]:
        """Begin to look at topics, without waiting. The result says what was seen, None while the
        answer is not there; its argument is how long to wait for it, in seconds."""

    def create_topic(
        self, topic: str, partitions: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic; one that exists is left as it is."""

    def reader(self, offsets: Offsets, epochs: Epochs | None = None) -> Reader:
        """Return a reader of these partitions; `epochs` as in Reader.add."""

    def producer(self) -> Producer:
        """Return a producer."""

    def close(self) -> None:
        """Let go of the broker."""
