"""The Kafka to measure on: a named one, one started beside the checkout, or the embedded one.

Whatever was started here is stopped here. On a cluster that was named, topics and the consumer
groups of the learners are deleted again.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks import machine
from benchmarks.results import Failed
from service.stream.embedded import EmbeddedBroker
from service.stream.kafka import KafkaBroker

START_SCRIPT = Path(__file__).parent.parent.parent / "shared" / "kafka" / "kafka"
NAMED_BY = "HEADWATER_TEST_KAFKA"
_PATIENCE_S = 120.0
_ABSENT = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)

Say = Callable[[str], None]


class Cluster:
    """A Kafka that answers. `real`: whether figures on it say anything about Kafka."""

    def __init__(self, bootstrap: str, kind: str, *, real: bool, stays: bool) -> None:
        self.bootstrap = bootstrap
        self.kind = kind
        self.real = real
        self._stays = stays

    @contextlib.contextmanager
    def topic(self, purpose: str, partitions: int) -> Iterator[tuple[str, KafkaBroker]]:
        """Make a topic; give its name, and a broker whose group has the same name."""
        name = f"bench-{purpose}-{uuid.uuid4().hex[:8]}"
        broker = KafkaBroker(self.bootstrap, name=name)
        try:
            broker.create_topic(name, partitions)
            yield name, broker
        finally:
            if self._stays:
                self._forget(name, broker.group)
            broker.close()

    def _forget(self, topic: str, group: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        asked = {**admin.delete_topics([topic]), **admin.delete_consumer_groups([group])}
        for name, future in asked.items():
            try:
                future.result(_PATIENCE_S)
            except KafkaException as error:
                if error.args[0].code() not in _ABSENT:
                    raise Failed(f"{name} could not be deleted again: {error}") from None


@contextlib.contextmanager
def found(named: str | None, folder: Path, say: Say) -> Iterator[Cluster]:
    """Give a cluster: the one named, else that of the environment, else one started here."""
    told = named or machine.named(NAMED_BY)
    if told:
        yield Cluster(told, f"Kafka at {told}", real=True, stays=True)
    elif START_SCRIPT.is_file():
        say("starting a Kafka of our own ...")
        kafka = folder / "kafka"
        try:
            bootstrap = _script("start", str(kafka), "--port", "0")
            kind = "Apache Kafka on this machine, one node, started for this run"
            yield Cluster(bootstrap, kind, real=True, stays=False)
        finally:
            if any(kafka.glob("*")):  # also when it was interrupted while it started
                _script("stop", str(kafka))
    else:
        say(
            "no Kafka: neither --bootstrap nor HEADWATER_TEST_KAFKA names one. Measuring on the "
            "embedded broker, which is no Kafka and works beside them: these figures say little."
        )
        with EmbeddedBroker(folder / "broker") as broker:
            kind = "the embedded broker (figures on it say little)"
            yield Cluster(broker.bootstrap_servers, kind, real=False, stays=False)


def _script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(START_SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"Kafka: {arguments[0]} failed:\n{done.stderr.strip()}")
    return done.stdout.strip()
