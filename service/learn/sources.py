"""The settings' broker and its readers: live, from where a learner stands, and of journaled ranges.

What Kafka does not answer is waited for, and said; what is gone is DataLost.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog

from service import crash
from service.errors import (
    BrokerAway,
    DataLost,
    TopicMissing,
)
from service.learn.inbox import OpenSource
from service.learn.learner import Learner
from service.learn.losses import rewritten, said
from service.learn.reach import RangeReader
from service.settings import Settings, runtime_directory
from service.stream.broker import Broker
from service.stream.embedded import address
from service.stream.kafka import KafkaBroker
from service.stream.records import TP, DataLoss, Epochs, Offsets, Record
from service.stream.source import Source
from service.stream.start import wait_for_topics

_log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
_PATIENCE_S = 30.0
_AGAIN_S = 0.5
ORDER_PATIENCE_S = 20.0
"""How long Kafka may give nothing at all while an order waits for it."""


class Stopped(Exception):
    """Told to stop before there was anything to stop."""


class Sources:
    """Opens readers of the settings' topics."""

    def __init__(
        self, settings: Settings, broker: Broker, stop: threading.Event,
        tell: Callable[[str], None], still_here: Callable[[], None] = lambda: None,
        over: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """tell: told what is waited for, when it changes. still_here: called while waiting. over:
        called when Kafka has shown every topic."""
        self._settings = settings
        self._broker = broker
        self._stop = stop
        self.tell = tell
        self._still_here = still_here
        self._over = over
        self._asked = False

    def wait(self, patience_s: float | None = None) -> None:
        """Wait until every topic is there, or so long. Raises Stopped, BrokerAway."""
        self._wait(patience_s)
        self._over()

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Wait until every topic is there and Kafka answers a question, for as long as it takes.
        Raises Stopped."""
        while True:
            self._wait()
            try:
                found = question()
            except (BrokerAway, TopicMissing) as error:  # a topic just made has no leader yet
                self.tell(str(error))
                self._stop.wait(_AGAIN_S)
                continue
            self._over()
            return found

    def _wait(self, patience_s: float | None = None) -> None:
        kafka = self._settings.kafka
        topics = kafka.topics
        if not self._asked:
            self._asked = True
            _log.info("looking_for_topics", topics=list(topics), kafka=kafka.bootstrap_servers)
        give_up_s = time.monotonic() + (math.inf if patience_s is None else patience_s)

        def stop() -> bool:
            return self._stop.is_set() or time.monotonic() > give_up_s

        tell = self.tell if patience_s is None else _waiting
        if wait_for_topics(self._broker, topics, stop, tell, still_here=self._still_here):
            return
        if self._stop.is_set():
            raise Stopped
        raise BrokerAway(f"Kafka did not show {', '.join(topics)} within {patience_s:g} s")

    def live(self, learner: Learner) -> OpenSource:
        """Return what opens a source where the learner stands now, once Kafka answers."""
        cursors = dict(learner.standing.cursors)
        topic_ids, epochs = dict(learner.standing.topic_ids), dict(learner.standing.epochs)
        topics = self._settings.kafka.topics

        def opened(should_stop: Callable[[], bool], tell: Callable[[str], None]) -> Source | None:
            if not wait_for_topics(self._broker, topics, should_stop, tell):
                return None
            crash.point("restore_before_assign")
            return self._source(topics, cursors, topic_ids, epochs)

        return opened

    def ranges(self, learner: Learner, patience_s: float | None = None) -> RangeSource:
        """Return what reads journaled ranges from where the learner stands. patience_s: BrokerAway
        after so long without anything from Kafka; None: it is waited for, and told."""
        self.wait(patience_s)
        cursors = dict(learner.standing.cursors)
        topics = sorted({*self._settings.kafka.topics, *(topic for topic, _ in cursors)})
        ids, epochs = dict(learner.standing.topic_ids), dict(learner.standing.epochs)
        source = self._source(topics, cursors, ids, epochs)
        tell = self.tell if patience_s is None else _waiting
        return RangeSource(source, self._stop, tell, epochs, patience_s)

    def patient(self, learner: Learner) -> RangeSource:
        """Return what reads journaled ranges for an order, which has no patience without end."""
        return self.ranges(learner, ORDER_PATIENCE_S)

    def _source(
        self, topics: Sequence[str], cursors: Offsets, topic_ids: dict[str, str | None],
        epochs: Epochs,
    ) -> Source:  # fmt: skip
        settings = self._settings
        return Source(
            self._broker,
            topics,
            cursors,
            batch_rows=settings.learning.batch_rows,
            linger_s=settings.learning.linger_ms / 1000,
            buffer_records=settings.kafka.buffer_records,
            topic_ids=topic_ids,
            epochs=epochs,
            discovery_s=settings.kafka.discovery_seconds,
        )


class RangeSource:
    """Reads journaled ranges from the topics; DataLost when records of one are gone."""

    def __init__(
        self, source: Source, stop: threading.Event, tell: Callable[[str], None],
        epochs: Epochs | None = None, patience_s: float | None = None,
    ) -> None:  # fmt: skip
        self._patience_s = math.inf if patience_s is None else patience_s
        self._heard_s, self._fetched = time.monotonic(), 0
        self._source = source
        self._stop = stop
        self._tell = tell
        self._losses: dict[TP, DataLoss] | None = None
        self._epochs: Epochs = dict(epochs or {})

    def expect(self, epochs: Epochs) -> None:
        """Say under which leader epochs the next cut was read, where they had changed."""
        self._epochs.update(epochs)

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        """Return the records of one cut. Raises BrokerAway where patience ends."""
        self._heard_s = time.monotonic()
        while not self._stop.is_set():
            try:
                if self._losses is None:
                    losses = self._source.check()
                    self._losses = {(loss.topic, loss.partition): loss for loss in losses}
                for place in next_offsets:
                    if (loss := self._losses.get(place)) is not None:
                        raise DataLost(said(loss, loss.wanted))
                found = self._source.read_range(next_offsets, timeout_s=2.0)
            except (BrokerAway, TopicMissing) as error:
                if self._silent_s() > self._patience_s:
                    raise
                self._tell(str(error))
                continue
            if isinstance(found, DataLoss):
                raise DataLost(said(found, found.wanted))
            for place, epoch in found.epochs.items():
                if epoch > self._epochs.setdefault(place, epoch):
                    raise DataLost(rewritten(place, next_offsets[place]))
            return found.records
        raise Stopped

    def close(self) -> None:
        """Let go of the broker."""
        self._source.close()

    def _silent_s(self) -> float:
        """How long no record has come that was waited for."""
        if self._source.records_fetched != self._fetched:
            self._heard_s, self._fetched = time.monotonic(), self._source.records_fetched
        return time.monotonic() - self._heard_s


def _waiting(why: str) -> None:
    _log.warning("waiting", why=why)


@contextmanager
def range_reader(settings: Settings) -> Iterator[Callable[[Learner], RangeReader]]:
    """Give what reads journaled ranges, for commands outside a learner process."""
    broker = kafka_of(settings)
    sources = Sources(settings, broker, threading.Event(), _waiting)

    def ranges(learner: Learner) -> RangeSource:
        sources.wait(_PATIENCE_S)
        return sources.ranges(learner)

    try:
        yield ranges
    finally:
        broker.close()


def kafka_of(settings: Settings) -> KafkaBroker:
    """Return the broker that the settings name."""
    kafka = settings.kafka
    servers = kafka.bootstrap_servers
    if servers == "embedded":
        servers = address(runtime_directory(settings))
    return KafkaBroker(servers, name=settings.name, client=kafka.client)
