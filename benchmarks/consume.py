"""The empty consume loop: what is left of reading Kafka when nothing is done with the records.

The client is the one that the service's own reader makes, with whatever settings it has; only the
loop is ours: take messages, count them, drop them. It is over so soon that it reads the topic
several times, each time with a new client. A process of its own, as the learner is:
`python -m benchmarks.consume BOOTSTRAP TOPIC PARTITIONS COUNT SECONDS` prints one JSON object.
"""

from __future__ import annotations

import sys
import time

import msgspec
from confluent_kafka import Message

from benchmarks.results import Failed
from service.stream.kafka import KafkaBroker

_CHUNK = 4096  # what the service's source asks for at a time
_SILENCE_S = 30.0


class Took(msgspec.Struct, frozen=True):
    """Events after the first ones, which start the clock, and what they took.

    Of several readings: their sums. cpu_seconds: of all threads; None where nobody says.
    """

    events: int
    seconds: float
    cpu_seconds: float | None

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float | None:
        """Processor time of one event, in microseconds."""
        return None if self.cpu_seconds is None else 1e6 * self.cpu_seconds / self.events


def consume_for(seconds: float, bootstrap: str, topic: str, partitions: int, count: int) -> Took:
    """Read the topic again and again, until so much time was measured."""
    taken = [consume(bootstrap, topic, partitions, count)]
    while sum(once.seconds for once in taken) < seconds:
        taken.append(consume(bootstrap, topic, partitions, count))
    return Took(
        sum(once.events for once in taken),
        sum(once.seconds for once in taken),
        sum(once.cpu_seconds or 0.0 for once in taken),
    )


def consume(bootstrap: str, topic: str, partitions: int, count: int) -> Took:
    """Read `count` records of a topic that holds as many."""
    broker = KafkaBroker(bootstrap, name=topic)
    reader = broker.reader({(topic, partition): 0 for partition in range(partitions)})
    take, error = reader._consumer.consume, Message.error
    taken = first = 0
    began_s = began_cpu_s = 0.0
    try:
        while taken < count:
            messages = take(min(_CHUNK, count - taken), _SILENCE_S)
            if not messages:
                raise Failed(f"Kafka gave {taken} of {count} records, then nothing more")
            taken += len(messages) - len(list(filter(None, map(error, messages))))
            if first == 0 and taken > 0:
                began_s, began_cpu_s, first = time.monotonic(), time.process_time(), taken
        return Took(taken - first, time.monotonic() - began_s, time.process_time() - began_cpu_s)
    finally:
        reader.close()
        broker.close()


def main() -> None:
    """Consume, and say how it went."""
    bootstrap, topic, partitions, count, seconds = sys.argv[1:]
    result = consume_for(float(seconds), bootstrap, topic, int(partitions), int(count))
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
