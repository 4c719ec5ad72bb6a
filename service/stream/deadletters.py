"""Send events that cannot be used to the dead-letter topic, and know that they arrived.

At least once: (topic, partition, offset, row) in the headers tells doubles apart. The cursor must
not pass a cut before `flush` has returned. Without a topic, dead letters are only counted.
"""

from __future__ import annotations

from collections import Counter

from service.errors import BrokerAway, TopicMissing
from service.logs import logger
from service.stream.broker import TOO_LARGE, Broker, Failure, Outgoing, Producer
from service.stream.records import Record

_log = logger(__name__)


class DeadLetters:
    """What to say about an event that was not learned, and to whom."""

    def __init__(self, broker: Broker, topic: str | None) -> None:
        """Create the topic if it is missing. If that is refused, raise TopicMissing."""
        self.counts: Counter[str] = Counter()
        """Dead letters by reason."""
        self.acknowledged = 0
        self._topic = topic
        self._sent = 0
        self._again: list[Outgoing] = []
        self._producer: Producer | None = None
        if topic is not None:
            _make_sure(broker, topic)
            self._producer = broker.producer()

    @property
    def pending(self) -> int:
        """Letters that are not acknowledged."""
        return self._sent + len(self._again)

    def add(
        self, record: Record, *, row: int, reason: str, error: str, version: int, lineage: str
    ) -> None:
        """Send one event's record. `version`: the one that will have passed it."""
        self.counts[reason] += 1
        if self._producer is None or self._topic is None:
            return
        said = {
            "reason": reason,
            "error": error,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "row": row,
            "timestamp": record.timestamp_ms,
            "version": version,
            "lineage": lineage,
        }
        headers = tuple((f"headwater-{name}", str(value).encode()) for name, value in said.items())
        self._send(
            Outgoing(self._topic, record.value, record.key, (*(record.headers or ()), *headers))
        )

    def flush(self, timeout_s: float) -> None:
        """Return when every letter is acknowledged. Raises BrokerAway if some are not in time.

        None is given up: the next flush waits for those on their way and repeats those that
        failed. One that is too large for its topic is repeated without its value.
        """
        if self._producer is None or not self.pending:
            return
        again, self._again = self._again, []
        for letter in again:
            self._send(letter)
        failures = self._producer.flush(timeout_s)
        tries = [_next_try(failure) for failure in failures]
        self._again = [letter for letter in tries if letter is not None]
        waiting = self._producer.waiting()
        self.acknowledged += self._sent - len(failures) - waiting
        self._sent = waiting
        if self.pending:
            why = failures[0].error if failures else f"no answer in {timeout_s:g} s"
            raise BrokerAway(f"{self.pending} dead letters for {self._topic} are not stored: {why}")

    def close(self) -> None:
        """Let go of the broker. Letters not acknowledged are not waited for."""
        if self._producer is not None:
            self._producer.close()

    def _send(self, letter: Outgoing) -> None:
        assert self._producer is not None, "only with a topic"
        self._producer.send(letter)
        self._sent += 1


def _next_try(failure: Failure) -> Outgoing | None:
    letter = failure.message
    headers = letter.headers or ()
    if failure.code != TOO_LARGE:
        return letter
    if letter.value is not None:
        size = ("headwater-value-left-out", f"{len(letter.value)} bytes".encode())
        return Outgoing(letter.topic, None, letter.key, (*headers, size))
    ours = tuple((name, value) for name, value in headers if name.startswith("headwater-"))
    if letter.key is not None or len(ours) < len(headers):
        return Outgoing(letter.topic, None, None, (*ours, ("headwater-key-left-out", b"")))
    _log.error("dead letter given up: larger than its topic takes", headers=str(ours))
    return None


def _make_sure(broker: Broker, topic: str) -> None:
    try:
        broker.partitions(topic)
    except TopicMissing:
        try:
            broker.create_topic(topic, 1)
        except BrokerAway as error:
            raise TopicMissing(
                f"dead-letter topic {topic} does not exist and could not be created ({error}); "
                "create it, or allow it to be created"
            ) from None
        _log.info("dead-letter topic created", topic=topic)
