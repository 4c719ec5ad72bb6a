"""A constant stream of events into Kafka, with the moment of each in a file afterwards.

The producer has the defaults of librdkafka (it gathers for 5 ms, and waits for all replicas). A
process of its own, so that its clock is not kept waiting by those who watch:
`python -m benchmarks.stream BOOTSTRAP TOPIC RATE SECONDS FILE.npz`. Times are those of the wall
clock, in ns: one machine, several processes, and versions carry it.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import KafkaError, Message, Producer
from numpy.typing import NDArray

from benchmarks import events
from benchmarks.results import Failed

_TICK_S = 0.002
_FLUSH_S = 30.0


class Sent(msgspec.Struct, frozen=True):
    """One entry per event, in the order of sending."""

    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    acked_ns: NDArray[np.int64]

    def save(self, path: Path) -> None:
        np.savez(path, **{name: getattr(self, name) for name in self.__struct_fields__})

    @classmethod
    def load(cls, path: Path) -> Sent:
        with np.load(path) as arrays:
            return cls(*(arrays[name] for name in cls.__struct_fields__))


def send(bootstrap: str, topic: str, rate: float, seconds: float) -> Sent:
    """Send, as evenly as the machine lets us."""
    count = round(rate * seconds)
    values = [msgspec.json.encode(event) for event in events.made(count, seed=2)]
    sent = Sent(
        np.array(events.partitions_of(count, seed=2), dtype=np.int64),
        *(np.full(count, -1, dtype=np.int64) for _ in range(3)),
    )
    partitions = sent.partition.tolist()
    producer = Producer({"bootstrap.servers": bootstrap})

    def acked(at: int, error: KafkaError | None, message: Message) -> None:
        if error is None and (offset := message.offset()) is not None:
            sent.acked_ns[at] = time.time_ns()
            sent.offset[at] = offset

    done, began = 0, time.monotonic()
    while done < count:
        due = min(count, int((time.monotonic() - began) * rate) + 1)
        for at in range(done, due):
            sent.sent_ns[at] = time.time_ns()
            producer.produce(
                topic, values[at], partition=partitions[at], on_delivery=partial(acked, at)
            )
        done = due
        next_tick = time.monotonic() + _TICK_S
        while (left := next_tick - time.monotonic()) > 0:
            producer.poll(left)
    producer.flush(_FLUSH_S)
    if (lost := int((sent.acked_ns < 0).sum())) > 0:
        raise Failed(f"{lost} of {count} events were not acknowledged")
    return sent


def main() -> None:
    """Send, and keep when."""
    bootstrap, topic, rate, seconds, path = sys.argv[1:]
    send(bootstrap, topic, float(rate), float(seconds)).save(Path(path))


if __name__ == "__main__":
    main()
