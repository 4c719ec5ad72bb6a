"""The learner process: from settings to the loop, everything opened in one place.

Order: lock, live file (heartbeat from here on), side door, broker, restore, loop; closed in
reverse. SIGTERM and SIGINT set one flag; the loop ends, a last snapshot is written, exit 0.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from service import crash
from service.control import ControlServer
from service.errors import (
    BadSettings,
    BrokerAway,
    DataLost,
    Halted,
    LayoutChanged,
    Problem,
    TopicMissing,
)
from service.learn import inquest, loop, warm
from service.learn.acts import Acts
from service.learn.audit import Audit
from service.learn.burial import Burial
from service.learn.commands import Commands, Refused, Reply
from service.learn.course import GUARD
from service.learn.environment import fingerprint
from service.learn.inbox import Inbox
from service.learn.keeping import Keeper
from service.learn.losses import Losses
from service.learn.opening import Sources, Stopped, Store, kafka_of, open_learner
from service.learn.orders import Orders
from service.learn.probe import Command, Prober
from service.learn.publishing import Publisher
from service.learn.reach import reach
from service.learn.saving import Saver
from service.learn.shelf import Shelf
from service.learn.suspect import Suspects
from service.learn.telemetry import Telemetry
from service.learn.tools import Tools
from service.metrics import Metrics
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import Settings, runtime_directory, state_directory
from service.stream.deadletters import DeadLetters
from service.weights import boot
from service.weights.journal import Journal
from service.weights.live_reader import LiveReader
from service.weights.live_writer import LiveWriter
from service.weights.lock import DirectoryLock
from service.weights.snapshots import Keep, Snapshots

_log = structlog.get_logger(__name__)
_PULSE_S = 0.5


@dataclass(frozen=True)
class Options:
    """What the command line says beside the settings."""

    probe: Command
    exit_on_halt: bool = False
    accept_removed: Collection[str] = ()


class Door:
    """What the side door answers before there is a learner, and through it afterwards.

    `beat` gives the signs of life until the loop does; as a context, the door repeats the last
    one while it takes long (compiling, waiting for Kafka, a large snapshot).
    """

    def __init__(self, live: LiveWriter, shelf: Shelf, audit: Audit) -> None:
        self.commands = Commands()
        self.acts: Acts | None = None
        self.live = live
        self.audit = audit
        audit.place = self._place
        self.shelf = shelf
        self._said: Reply = {}
        self._started = time.monotonic()
        self._through = threading.Event()
        self._pulse = threading.Thread(target=self._repeat, name="pulse", daemon=True)

    def __enter__(self) -> Door:
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._through.set()
        self._pulse.join()

    def _repeat(self) -> None:
        while not self._through.wait(_PULSE_S):
            self.live.beat(self._said | {"lag_records": None})

    def beat(self, state: str, reason: str | None = None, progress: float | None = None) -> None:
        """Say what is going on; called by the process's own thread."""
        self._said = {"state": state, "reason": reason, "progress": progress, "pid": os.getpid()}
        self.live.beat(self._said | {"lag_records": None})

    def go_live(self, directory: Path, recipe: Recipe) -> LiveWriter:
        """Return the live file for this recipe; another one is replaced only now."""
        if self.live.layout != recipe.to_json():
            self.live.close()
            crash.point("layout_old_live_closed")
            self.live = _open_live(directory, recipe)
            self.live.beat(self._said)
        return self.live

    def close(self) -> None:
        """Let go of the live file, which goes on being served."""
        self.live.close()

    def waiting(self, why: str) -> None:
        """Say what is waited for."""
        _log.warning("waiting", why=why)
        self.beat("restoring", why)

    def answer(self, request: dict[str, Any]) -> Reply:
        """Answer one command, and record it; called by the door's threads."""
        return self.audit.of(request, self._answer)

    def told(self, by: str, turn: str, why: str) -> None:
        """Record a turn that nobody ordered; one that was ordered is recorded where it came in."""
        if by == GUARD:
            self.audit.note(GUARD, turn, detail=why)

    def _place(self) -> tuple[int | None, str | None]:
        if self.acts is None:
            return None, None
        standing = self.acts.learner.standing
        return standing.version, standing.lineage

    def _answer(self, request: dict[str, Any]) -> Reply:
        if self.shelf.knows(request["command"]):
            return self.shelf.answer(request)
        if self.acts is None and request["command"] != "status":
            why = self._said["reason"] or "it has no model yet"
            raise Refused(f"{request['command']}: the learner is {self._said['state']}: {why}")
        if request["command"] != "status":
            return self.commands.ask(request)
        if self.acts is not None:
            return self.acts.status()
        return self._said | {"uptime_seconds": round(time.monotonic() - self._started, 3)}


def main(settings: Settings, options: Options, stop: threading.Event) -> None:
    """Learn until `stop` is set. Raises HeadwaterError with the exit code to end with."""
    state_at, runtime_at = state_directory(settings), runtime_directory(settings)
    make_folder(state_at, "state.directory")
    make_folder(runtime_at, "runtime.directory")
    recipe = Recipe.of(settings)
    with ExitStack() as stack:
        lock = stack.enter_context(DirectoryLock.acquire(state_at))
        telemetry = Telemetry(Metrics("learner"))
        door = _door(settings, _present_or_new(runtime_at, recipe), telemetry.metrics)
        stack.callback(door.close)
        door.beat("restoring", "compiling")
        stack.enter_context(ControlServer(runtime_at / "control.sock", door.answer))
        store = _open_store(
            settings,
            state_at,
            Prober(options.probe, state_at, door.beat, stop.is_set),
            door.shelf,
            stack,
        )
        broker = kafka_of(settings)
        stack.callback(broker.close)
        sources = Sources(settings, broker, stop, door.waiting)
        with door:
            try:
                warm.compile_passes(recipe.kind)
                door.beat("restoring")
                learner, frozen = open_learner(
                    settings, broker, sources, store, door.beat, telemetry, options.accept_removed
                )
                inquest.examine(learner, store, sources, broker, door.beat)
            except Stopped:
                return
            except DataLost as loss:
                if options.exit_on_halt:
                    raise
                _log.error("halted", reason=str(loss))
                door.beat("halted", str(loss))
                stop.wait()
                return
        if options.exit_on_halt and learner.standing.halted is not None:
            raise Halted(learner.standing.halted)
        # Until here the old live file was served, whatever the new settings say.
        live = door.go_live(runtime_at, recipe)
        burial = Burial(lambda: DeadLetters(broker, settings.kafka.dead_letter_topic), stop.is_set)
        stack.callback(burial.close)
        tools = Tools(
            publisher=Publisher(live, telemetry, settings.runtime.publish_ms / 1000),
            keeper=Keeper(
                store.journal,
                store.saver,
                telemetry,
                settings.snapshots.every_seconds,
                lock.check,
            ),
            burial=burial,
            losses=Losses(broker, telemetry.metrics),
            telemetry=telemetry,
            kafka=settings.kafka,
            guard=settings.guard,
            reach=lambda version, told: reach(
                version, store.journal, store.snapshots, sources.ranges, told
            ),
            tell=door.told,
            open_inbox=lambda now: Inbox(
                sources.live(now), now.decode, in_hand=store.suspects.in_hand
            ),
            topic_id=broker.topic_id,
            in_hand=store.suspects.in_hand,
            exit_on_halt=options.exit_on_halt,
            should_stop=stop.is_set,
        )
        acts = Acts(learner, frozen, tools)
        _show_deaths(telemetry.metrics, store.suspects, acts)
        stack.enter_context(telemetry.metrics.kept_in(runtime_at))
        _work(acts, Orders(acts, tools), door, stop, state_at)


def _show_deaths(metrics: Metrics, suspects: Suspects, acts: Acts) -> None:
    gauge = metrics.gauge("headwater_crash_suspect_deaths")
    metrics.before_reading(lambda: gauge.set(float(suspects.deaths(acts.learner.standing.cursors))))


def _work(acts: Acts, orders: Orders, door: Door, stop: threading.Event, state_at: Path) -> None:
    """Learn until told to stop, then end clean."""
    door.acts = acts
    try:
        try:
            loop.run(acts, orders, door.commands, stop.is_set)
        finally:
            door.commands.close()  # or who asked last would be waited for
    except OSError:
        if acts.journal_failed:
            boot.mark_unproven(state_at)
        raise
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


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set the flag; a second one ends the process at once."""

    def on_signal(number: int, _: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _open_live(directory: Path, recipe: Recipe) -> LiveWriter:
    nbytes = Layout(recipe).nbytes
    return LiveWriter.open(directory, nbytes=nbytes, layout=recipe.to_json())


def _present_or_new(directory: Path, recipe: Recipe) -> LiveWriter:
    """Open the live file that is there, so that it goes on being served; else a new one."""
    reader = LiveReader(directory)
    present = reader.pointed_layout
    reader.close()
    try:
        return _open_live(directory, Recipe.from_json(present) if present else recipe)
    except (LayoutChanged, ValueError) as error:
        _log.warning("live_file_not_continued", why=str(error))
        return _open_live(directory, recipe)


def _door(settings: Settings, live: LiveWriter, metrics: Metrics) -> Door:
    lost = metrics.counter("headwater_audit_failures_total").inc
    return Door(live, Shelf(settings), Audit(state_directory(settings), lost))


def _open_store(
    settings: Settings, state_at: Path, prober: Prober, shelf: Shelf, stack: ExitStack
) -> Store:
    lost_power = boot.unclean_power_loss(state_at)
    journal = stack.enter_context(Journal.open(state_at / "journal", after_power_loss=lost_power))
    if journal.torn_bytes:
        _log.warning("journal_torn", bytes=journal.torn_bytes, last=journal.last_version)
    keep = settings.snapshots.keep
    snapshots = Snapshots(state_at / "snapshots", Keep(keep.last, keep.hourly, keep.daily))
    shelf.keep_here(snapshots)
    environment = fingerprint()
    saver = Saver(snapshots, journal, environment)
    stack.callback(saver.close)
    suspects = Suspects(state_at, power_lost=lost_power)
    stack.callback(suspects.close)
    return Store(state_at, journal, snapshots, saver, environment, suspects, prober)
