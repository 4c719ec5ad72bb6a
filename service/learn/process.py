"""The learner process: from settings to the loop, everything opened in one place.

Order: lock, live file (heartbeat from here on), side door, broker, restore, loop; closed in
reverse. SIGTERM and SIGINT set one flag; the loop ends, a last snapshot is written, exit 0.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.control import ControlServer
from service.errors import (
    BadSettings,
    BrokerAway,
    DataLost,
    Halted,
    Problem,
    TopicMissing,
)
from service.learn import inquest, loop, warm
from service.learn.acts import Acts
from service.learn.burial import Burial
from service.learn.crew import working
from service.learn.door import Door, door_of, present_or_new, served_in
from service.learn.drift.telling import Teller
from service.learn.environment import fingerprint
from service.learn.herald import Herald
from service.learn.inbox import Inbox
from service.learn.keeping import Keeper
from service.learn.learner import Learner
from service.learn.losses import Losses
from service.learn.opening import Store, open_learner
from service.learn.orders import Orders
from service.learn.outage import Outage
from service.learn.probe import Command, Prober
from service.learn.publishing import Publisher
from service.learn.reach import reach
from service.learn.saving import Saver
from service.learn.shedding import Shedding
from service.learn.shelf import Shelf
from service.learn.sources import Sources, Stopped, kafka_of
from service.learn.suspect import Suspects
from service.learn.telemetry import Telemetry
from service.learn.tools import Tools
from service.learn.twin.kept import Kept
from service.learn.twin.twin import Twin
from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.settings import Settings, runtime_directory, shown, state_directory
from service.stream.deadletters import DeadLetters
from service.weights import boot
from service.weights.journal import Journal
from service.weights.lock import DirectoryLock
from service.weights.snapshots import Keep, Snapshots

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Options:
    """What the command line says beside the settings."""

    probe: Command
    exit_on_halt: bool = False
    accept_removed: Collection[str] = ()


def main(settings: Settings, options: Options, stop: threading.Event) -> None:
    """Learn until `stop` is set; wait for a disk that is away. Raises HeadwaterError with the exit
    code to end with."""
    make_folder(runtime_directory(settings), "runtime.directory")
    outage = Outage(settings, stop)
    ended = False
    while not ended:
        try:
            _main(settings, options, stop, outage)
            ended = True
        except (OSError, BadSettings) as error:
            if not outage.passes(error):
                raise outage.in_words(error) from error
            outage.wait(error)
            ended = stop.is_set()


def _main(settings: Settings, options: Options, stop: threading.Event, outage: Outage) -> None:
    state_at, runtime_at = state_directory(settings), runtime_directory(settings)
    outage.look()
    make_folder(state_at, "state.directory")
    recipe = recipe_of(settings)
    with ExitStack() as stack:
        lock = stack.enter_context(DirectoryLock.acquire(state_at))
        telemetry = Telemetry(Metrics("learner"))
        door = door_of(settings, present_or_new(runtime_at, recipe), telemetry.metrics)
        stack.callback(door.close)
        stack.enter_context(working(settings.learning.threads))
        door.beat("restoring", "compiling")
        stack.enter_context(ControlServer(runtime_at / "control.sock", door.answer))
        with door:  # a long journal takes its time too, and whoever is silent counts as hung
            store = _open_store(
                settings,
                lock,
                Prober(options.probe, state_at, door.beat, stop.is_set),
                door.shelf,
                stack,
                outage,
            )
            broker = kafka_of(settings)
            stack.callback(broker.close)
            sources = Sources(settings, broker, stop, door.waiting, door.still_here, door.waited)
            try:
                warm.compile_passes(recipe)
                door.beat("restoring")
                learner, frozen = open_learner(
                    settings, broker, sources, store, door.beat, telemetry, options.accept_removed,
                    served_in(runtime_at),
                )  # fmt: skip
                inquest.examine(learner, store, sources, broker, door.beat)
            except Stopped:
                return
            except DataLost as loss:
                if options.exit_on_halt:
                    raise
                _stay_halted(str(loss), door, stop)
                return
        if options.exit_on_halt and learner.standing.halted is not None:
            raise Halted(learner.standing.halted)
        # Until here the old live file was served, whatever the new settings say.
        live = door.go_live(runtime_at, learner.recipe)
        burial = Burial(lambda: DeadLetters(broker, settings.kafka.dead_letter_topic), stop.is_set)
        stack.callback(burial.close)
        publisher = Publisher(
            live, telemetry, settings.runtime.publish_ms / 1000, Herald(settings.kafka.topics)
        )
        stack.callback(publisher.close)
        tools = Tools(
            publisher=publisher,
            keeper=Keeper(
                store.journal,
                store.saver,
                telemetry,
                settings.snapshots.every_seconds,
                lock.check,
                publisher.meanwhile,
            ),
            burial=burial,
            losses=Losses(broker, telemetry.metrics),
            telemetry=telemetry,
            kafka=settings.kafka,
            guard=settings.guard,
            reach=lambda version, told: reach(
                version, store.journal, store.snapshots, sources.patient, told, store.environment
            ),
            tell=door.told,
            tell_drift=_teller(settings, telemetry.metrics, stack).tell,
            open_inbox=lambda now: Inbox(
                sources.live(now), now.decode, in_hand=store.suspects.in_hand
            ),
            topic_id=broker.topic_id,
            in_hand=store.suspects.in_hand,
            shedding=_shedding(settings, telemetry.metrics),
            twin=_twin_of(learner, settings, telemetry.metrics, stack),
            exit_on_halt=options.exit_on_halt,
            should_stop=stop.is_set,
        )
        acts = Acts(learner, frozen, tools)
        _show_deaths(telemetry.metrics, store.suspects, acts)
        stack.enter_context(telemetry.metrics.kept_in(runtime_at))
        _work(acts, Orders(acts, tools), door, stop, state_at)


def _twin_of(learner: Learner, settings: Settings, metrics: Metrics, stack: ExitStack) -> Twin:
    after = settings.learning.frozen_after
    twin = Twin(after, metrics, Kept(state_directory(settings), metrics))
    stack.callback(twin.close)
    twin.open(learner)
    return twin


def _shedding(settings: Settings, metrics: Metrics) -> Shedding:
    of = settings.learning
    return Shedding(of.shed_after_seconds if of.shed == "auto" else None, metrics)


def _teller(settings: Settings, metrics: Metrics, stack: ExitStack) -> Teller:
    teller = Teller(settings.name, settings.drift, metrics)
    stack.callback(teller.close)
    return teller


def _stay_halted(why: str, door: Door, stop: threading.Event) -> None:
    """Answer questions until told to stop: there is no learner to go on with."""
    _log.error("halted", reason=why)
    while not stop.wait(1.0):
        door.beat("halted", why)


def _show_deaths(metrics: Metrics, suspects: Suspects, acts: Acts) -> None:
    gauge = metrics.gauge("headwater_crash_suspect_deaths")
    metrics.before_reading(lambda: gauge.set(float(suspects.deaths(acts.learner.standing.cursors))))


def _work(acts: Acts, orders: Orders, door: Door, stop: threading.Event, state_at: Path) -> None:
    """Learn until told to stop, then end clean. Nothing is read any more, whatever ended it."""
    try:
        _learn(acts, orders, door, stop, state_at)
    finally:  # the process may go on: it waits for a disk, and begins anew
        try:
            acts.stop_reading()
        except Exception as error:  # noqa: BLE001 - what ended the loop is what must be told
            _log.error("source_not_closed", error=str(error))


def _learn(acts: Acts, orders: Orders, door: Door, stop: threading.Event, state_at: Path) -> None:
    door.acts = acts
    try:
        try:
            loop.run(acts, orders, door.commands, stop.is_set)
        finally:
            door.commands.close()  # or who asked last would be waited for
    except (BrokerAway, TopicMissing) as error:
        if not stop.is_set():
            raise
        # A cut whose dead letters are not stored was never journaled: it will be read again.
        _log.warning("stopped_within_a_cut", why=str(error))
        return
    acts.close()
    boot.mark_stopped(state_at, acts.learner.standing.version)
    _log.info("stopped", version=acts.learner.standing.version)


def make_folder(path: Path, setting: str) -> None:
    """Make a folder of this user's own; BadSettings when it cannot be used."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        usable = os.access(path, os.W_OK | os.X_OK)
        why = "this user may not write there"
    except OSError as error:
        usable, why = False, error.strerror or str(error)
    if not usable:
        problem = Problem(setting, None, f"{path} cannot be used: {why}", "Name another folder.")
        raise BadSettings([problem])


def open_journal(
    state_at: Path, lock: DirectoryLock, lost_power: bool, outage: Outage | None = None
) -> Journal:
    """Return the state's journal: it appends only while the lock is ours, and a flush of it that
    fails is remembered for the next start. Raises OSError, JournalDamaged."""

    def remember() -> None:
        if outage is not None:
            outage.doubtful = True
        try:
            boot.mark_unproven(state_at)
        except OSError as error:  # whoever hears of this ends by the flush's own error
            _log.error(
                "failed_flush_not_remembered",
                error=str(error),
                what_to_do=f"remove {state_at / boot.RECORD} before the next start: else that "
                "trusts entries which may not be on the disk",
            )

    return Journal.open(
        state_at / boot.JOURNAL,
        after_power_loss=lost_power,
        still_ours=lock.check,
        on_failure=remember,
    )


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set the flag; a second one ends the process at once."""

    def on_signal(number: int, _: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _open_store(
    settings: Settings,
    lock: DirectoryLock,
    prober: Prober,
    shelf: Shelf,
    stack: ExitStack,
    outage: Outage,
) -> Store:
    state_at = state_directory(settings)
    lost_power = boot.unclean_power_loss(state_at)
    journal = stack.enter_context(open_journal(state_at, lock, lost_power, outage))
    if journal.torn_bytes:
        _log.warning("journal_torn", bytes=journal.torn_bytes, last=journal.last_version)
    keep = settings.snapshots.keep
    snapshots = Snapshots(state_at / "snapshots", Keep(keep.last, keep.hourly, keep.daily))
    shelf.keep_here(snapshots)
    environment = fingerprint()
    saver = Saver(snapshots, journal, environment, shown(settings))
    stack.callback(saver.close)
    suspects = Suspects(state_at, power_lost=lost_power)
    stack.callback(suspects.close)
    return Store(state_at, journal, snapshots, saver, environment, suspects, prober)
