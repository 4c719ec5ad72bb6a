"""From a state directory and a broker to a learner that can go live.

Kafka is waited for only where it is needed: for the start offsets of a new model, and to read
again what the journal speaks of. Reads the broker; what a loss means is decided by the settings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from service import crash
from service.errors import (
    BrokerAway,
    DataLost,
    HeadwaterError,
    LayoutChanged,
    SnapshotInvalid,
    TopicMissing,
)
from service.learn import history, restore
from service.learn.inbox import OpenSource
from service.learn.learner import Learner
from service.learn.losses import rewritten, said
from service.learn.probe import Prober
from service.learn.reach import RangeReader, reach
from service.learn.saving import Saver
from service.learn.suspect import Suspects
from service.learn.telemetry import Telemetry
from service.learn.watched import Watched
from service.model.recipe import Recipe
from service.settings import Settings, runtime_directory
from service.stream.broker import Broker
from service.stream.embedded import address
from service.stream.kafka import KafkaBroker
from service.stream.records import TP, DataLoss, Epochs, Offsets, Record
from service.stream.source import Source
from service.stream.start import resolve_start, wait_for_topics
from service.weights import boot
from service.weights.journal import Journal
from service.weights.snapshots import Snapshots

_log = structlog.get_logger(__name__)
_PATIENCE_S = 30.0
Beat = Callable[[str, str | None, float | None], None]


class Stopped(Exception):
    """Told to stop before there was anything to stop."""


class Store(msgspec.Struct):
    """The state directory, opened."""

    state_at: Path
    journal: Journal
    snapshots: Snapshots
    saver: Saver
    environment: dict[str, str]
    suspects: Suspects
    prober: Prober


class Sources:
    """Opens readers of the settings' topics."""

    def __init__(
        self, settings: Settings, broker: Broker, stop: threading.Event, tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._stop = stop
        self.tell = tell

    def wait(self) -> None:
        """Wait until every topic is there. Raises Stopped."""
        topics = self._settings.kafka.topics
        if not wait_for_topics(self._broker, topics, self._stop.is_set, self.tell):
            raise Stopped

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

    def ranges(self, learner: Learner) -> RangeSource:
        """Return what reads journaled ranges from where the learner stands."""
        self.wait()
        cursors = dict(learner.standing.cursors)
        topics = sorted({*self._settings.kafka.topics, *(topic for topic, _ in cursors)})
        ids, epochs = dict(learner.standing.topic_ids), dict(learner.standing.epochs)
        source = self._source(topics, cursors, ids, epochs)
        return RangeSource(source, self._stop, self.tell, epochs)

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
        epochs: Epochs | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._stop = stop
        self._tell = tell
        self._losses: dict[TP, DataLoss] | None = None
        self._epochs: Epochs = dict(epochs or {})

    def expect(self, epochs: Epochs) -> None:
        """Say under which leader epochs the next cut was read, where they had changed."""
        self._epochs.update(epochs)

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        """Return the records of one cut."""
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


def open_learner(  # noqa: PLR0913 - what it opens, from what, and whom it tells
    settings: Settings, broker: Broker, sources: Sources, store: Store, beat: Beat,
    telemetry: Telemetry, accept_removed: Collection[str],
) -> tuple[Learner, Learner | None]:  # fmt: skip
    """Return the learner at its last journaled version, or at version 0 of a new model; and the
    one that is served instead of it, while a version is frozen.

    Raises Stopped, DataLost, and whatever says that the state cannot be used.
    """
    _refuse_other_topics(settings.kafka.topics, store)
    power_lost = boot.unclean_power_loss(store.state_at)
    if store.journal.last_version is None and not store.snapshots.list():
        learner = _begin(settings, broker, sources, store)
        must_save = True
    else:
        restored = _restore(
            settings, sources, store, beat, power_lost=power_lost, accept_removed=accept_removed
        )
        learner, must_save = restored.learner, restored.must_save
        telemetry.saved(restored.snapshot_version, restored.snapshot_cursors)
        for _ in store.snapshots.refused:
            telemetry.metrics.counter("headwater_snapshots_total").inc(1.0, "refused")
        if restored.replayed.diverged_at is not None:
            telemetry.metrics.counter("headwater_replay_divergence_total").inc(1.0)
    if must_save or not store.snapshots.list():
        saved = store.saver.now(learner)
        if saved.error is not None:
            raise HeadwaterError(f"the first snapshot cannot be written: {saved.error}")
        telemetry.saved(saved.version, saved.cursors)
    boot.mark_running(store.state_at)
    return learner, _frozen(learner, sources, store, beat)


def _frozen(learner: Learner, sources: Sources, store: Store, beat: Beat) -> Learner | None:
    """Return the frozen version; None when nothing is frozen, or it cannot be made again: then
    what the live file holds goes on being served, and an operator decides."""
    version = learner.standing.frozen
    if version is None:
        return None
    try:
        watched = _watched(sources, store, beat)
        frozen = reach(
            version, store.journal, store.snapshots, watched.open_reader, watched.progress
        )
    except (SnapshotInvalid, DataLost) as error:
        _log.error("frozen_version_lost", version=version, why=str(error))
        return None
    frozen = frozen.copy()
    return frozen if frozen.recipe == learner.recipe else history.rebuilt(frozen, learner.recipe)


def _begin(settings: Settings, broker: Broker, sources: Sources, store: Store) -> Learner:
    kafka = settings.kafka
    while True:
        sources.wait()
        try:
            start = resolve_start(broker, kafka.topics, kafka.start)
            ids = {topic: broker.topic_id(topic) for topic in kafka.topics}
        except (BrokerAway, TopicMissing) as error:  # a topic just made has no leader yet
            sources.tell(str(error))
            continue
        break
    _log.info("new_model", name=settings.name, topics=list(kafka.topics), partitions=len(start))
    return restore.begin(Recipe.of(settings), start, ids, store.journal, store.environment)


def _refuse_other_topics(topics: Sequence[str], store: Store) -> None:
    """A state that knows none of the topics was learned from something else: a backup's, say."""
    newest = next((e.manifest for e in store.snapshots.list() if e.manifest), None)
    known = set(newest.meta["cursors"]) if newest is not None else set()
    if known and not known & set(topics):
        raise LayoutChanged(
            f"the state in {store.state_at} has learned from {', '.join(sorted(known))}, the "
            f"settings name {', '.join(topics)}. Give this model another name or state directory, "
            "or restore the state that belongs to it"
        )


def _restore(
    settings: Settings, sources: Sources, store: Store, beat: Beat, *, power_lost: bool,
    accept_removed: Collection[str],
) -> restore.Restored:  # fmt: skip
    if settings.kafka.start != "earliest":
        _log.warning(
            "start_ignored", start=settings.kafka.start, why="there is a state to go on from"
        )
    watched = _watched(sources, store, beat)
    restored = restore.restore(
        Recipe.of(settings), store.journal, store.snapshots, store.environment,
        restore.Policy(power_lost, settings.kafka.on_data_loss == "skip", accept_removed),
        watched.open_reader, watched.progress,
    )  # fmt: skip
    for note in restored.notes:
        _log.warning("restored_note", note=note)
    _log.info(
        "restored",
        version=restored.learner.standing.version,
        snapshot=restored.snapshot_version,
        entries_replayed=restored.replayed.entries,
    )
    return restored


def _watched(sources: Sources, store: Store, beat: Beat) -> Watched:
    return Watched(sources.ranges, _shown(beat), store.suspects, store.prober)


def _shown(beat: Beat) -> Callable[[float, Learner], None]:
    shown_s = 0.0

    def show(done: float, learner: Learner) -> None:
        nonlocal shown_s
        now = time.monotonic()
        if now - shown_s > 0.2 or done == 1.0:
            shown_s = now
            beat("replaying", f"at version {learner.standing.version}", round(done, 4))

    return show


def _waiting(why: str) -> None:
    _log.warning("waiting", why=why)


@contextmanager
def range_reader(settings: Settings) -> Iterator[Callable[[Learner], RangeReader]]:
    """Give what reads journaled ranges, for commands outside a learner process."""
    broker = kafka_of(settings)
    sources = Sources(settings, broker, threading.Event(), _waiting)

    def ranges(learner: Learner) -> RangeSource:
        overdue_s = time.monotonic() + _PATIENCE_S
        topics = settings.kafka.topics
        if not wait_for_topics(broker, topics, lambda: time.monotonic() > overdue_s, _waiting):
            raise BrokerAway(f"Kafka did not show {', '.join(topics)} within {_PATIENCE_S:g} s")
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
