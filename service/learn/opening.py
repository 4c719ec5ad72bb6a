"""From a state directory and a broker to a learner that can go live.

Kafka is waited for only where it is needed: for the start offsets of a new model, and to read
again what the journal speaks of. Reads the broker; what a loss means is decided by the settings.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import structlog

from service.errors import (
    DataLost,
    HeadwaterError,
    LayoutChanged,
    SnapshotInvalid,
)
from service.learn import herald, history, pretrained, restore
from service.learn.herald import Beat
from service.learn.learner import Learner
from service.learn.probe import Prober
from service.learn.reach import reach
from service.learn.saving import Saver
from service.learn.sources import Sources
from service.learn.suspect import Suspects
from service.learn.telemetry import Telemetry
from service.learn.watched import Watched
from service.model.kinds import recipe_of
from service.model.layout import Layout
from service.settings import Settings
from service.stream.broker import Broker
from service.stream.start import resolve_start
from service.weights import boot
from service.weights.journal import Journal
from service.weights.snapshots import Snapshots

_log = structlog.get_logger(__name__)


class Store(msgspec.Struct):
    """The state directory, opened."""

    state_at: Path
    journal: Journal
    snapshots: Snapshots
    saver: Saver
    environment: dict[str, str]
    suspects: Suspects
    prober: Prober


def open_learner(  # noqa: PLR0913 - what it opens, from what, and whom it tells
    settings: Settings, broker: Broker, sources: Sources, store: Store, beat: Beat,
    telemetry: Telemetry, accept_removed: Collection[str], served: restore.Served | None = None,
) -> tuple[Learner, Learner | None]:  # fmt: skip
    """Return the learner at its last journaled version, or at version 0 of a new model; and the
    one that is served instead of it, while a version is frozen. served: what the live file holds.

    Raises Stopped, DataLost, and whatever says that the state cannot be used.
    """
    _refuse_other_topics(settings.kafka.topics, store)
    power_lost = boot.unclean_power_loss(store.state_at)
    if store.journal.last_version is None and not store.snapshots.list():
        learner = _begin(settings, broker, sources, store)
        must_save = True
    else:
        policy = restore.Policy(
            power_lost, settings.kafka.on_data_loss == "skip", accept_removed, served
        )
        restored = _restore(settings, sources, store, beat, policy)
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
            version, store.journal, store.snapshots, watched.open_reader, watched.progress,
            store.environment,
        )  # fmt: skip
    except (SnapshotInvalid, DataLost) as error:
        _log.error("frozen_version_lost", version=version, why=str(error))
        return None
    frozen = frozen.copy()
    return frozen if frozen.recipe == learner.recipe else history.under(learner.recipe, frozen)


def _begin(settings: Settings, broker: Broker, sources: Sources, store: Store) -> Learner:
    kafka = settings.kafka
    recipe, matched = recipe_of(settings), None
    if settings.model.pretrained is not None:
        matched = pretrained.match(Layout(recipe), settings.model.pretrained)
        pretrained.tell(matched)
    start, ids = sources.ask(
        lambda: (
            resolve_start(broker, kafka.topics, kafka.start),
            {topic: broker.topic_id(topic) for topic in kafka.topics},
        )
    )
    _log.info("new_model", name=settings.name, topics=list(kafka.topics), partitions=len(start))
    boot.mark_running(store.state_at)  # or a kill after the first entry would look like a loss
    return restore.begin(recipe, start, ids, store.journal, store.environment, matched)


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
    settings: Settings, sources: Sources, store: Store, beat: Beat, policy: restore.Policy
) -> restore.Restored:  # fmt: skip
    if settings.kafka.start != "earliest":
        _log.warning(
            "start_ignored", start=settings.kafka.start, why="there is a state to go on from"
        )
    if settings.model.pretrained is not None:
        _log.info("pretrained_ignored", why="there is a state to go on from")
    watched = _watched(sources, store, beat)
    restored = restore.restore(
        recipe_of(settings), store.journal, store.snapshots, store.environment,
        policy, watched.open_reader, watched.progress,
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
    return Watched(sources.ranges, herald.replaying(beat), store.suspects, store.prober)
