"""The acts of a learner process on a real journal, real snapshots and a real live file, fed by hand.

No Kafka: cuts are given, and read again from memory for a replay. Time is the records' own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.errors import DataLost
from service.learn import history, loop, restore
from service.learn.acts import Acts
from service.learn.burial import Burial
from service.learn.commands import Later
from service.learn.environment import fingerprint
from service.learn.inbox import Inbox, Ready
from service.learn.keeping import Keeper
from service.learn.learner import Learner
from service.learn.losses import Losses
from service.learn.orders import Orders
from service.learn.publishing import Publisher
from service.learn.reach import Progress, reach
from service.learn.restore import Policy
from service.learn.saving import Saver
from service.learn.shedding import Shedding
from service.learn.suspect import InHand
from service.learn.telemetry import Telemetry
from service.learn.tools import Tools
from service.learn.twin.kept import Kept
from service.learn.twin.twin import Twin
from service.metrics import Metrics
from service.model.recipe import Recipe
from service.settings import GuardSettings, KafkaSettings
from service.stream.records import Cut, Epochs, Offsets, Record
from service.weights.journal import Journal
from service.weights.live_reader import LiveReader
from service.weights.live_writer import LiveWriter
from service.weights.snapshots import Keep, Snapshots
from tests.fakes.broker import FakeBroker

PLACE = ("t", 0)


class _Letters(Burial):
    """Takes dead letters."""

    def __init__(self) -> None:
        self.dead: list[object] = []

    def bury(self, dead, standing, beat) -> None:
        self.dead.extend(dead)


class _Range:
    """Reads again what was given."""

    def __init__(self, topic: list[Record], cursor: int) -> None:
        self._topic, self._cursor = topic, cursor

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        end = next_offsets[PLACE]
        if (self._topic and self._topic[0].offset > self._cursor) or not self._topic:
            raise DataLost(f"offsets {self._cursor} to {end - 1} are gone")
        found = [r for r in self._topic if self._cursor <= r.offset < end]
        self._cursor = end
        return found

    def expect(self, epochs: Epochs) -> None:
        """There is one leader."""

    def close(self) -> None:
        """Nothing to let go of."""


def _nothing_to_read(_: Learner) -> Inbox:
    raise AssertionError("cuts are given by hand")


class Desk:
    """One learner process without its threads; `restart` is a new process on the same state."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        topic: list[Record] | None = None,
        *,
        skip_lost: bool = False,
        frozen_lost: bool = False,
        frozen_after: int | None = None,
        shed_after_s: float | None = None,
        **guard: object,
    ) -> None:
        self.folder, self.recipe, self.closed = folder, recipe, False
        self.frozen_after = frozen_after
        self.shed_after_s, self.now_s = shed_after_s, 0.0
        self.settings = GuardSettings.model_validate(guard)
        self.topic = [] if topic is None else topic
        self.told: list[tuple[str, str]] = []
        self.made: list[tuple[int, str]] = []
        self.letters = _Letters()
        self.metrics = Metrics("learner")
        self.broker = FakeBroker()
        self.still_ours: Callable[[], None] = lambda: None
        self.open_inbox: Callable[[Learner], Inbox] = _nothing_to_read
        self.journal = Journal.open(folder / "journal", still_ours=lambda: self.still_ours())
        self.snapshots = Snapshots(folder / "snapshots", Keep(100, 0, 0))
        environment = fingerprint()
        self.saver = Saver(self.snapshots, self.journal, environment)
        frozen = None
        if self.journal.last_version is None:
            learner = restore.begin(recipe, {PLACE: 0}, {"t": "id"}, self.journal, environment)
        else:
            learner = restore.restore(
                recipe, self.journal, self.snapshots, environment, Policy(False, skip_lost, ()),
                self._ranges, lambda *_: None,
            ).learner  # fmt: skip
            if (version := learner.standing.frozen) is not None and not frozen_lost:
                frozen = self._reach(version, lambda *_: None).copy()
                if frozen.recipe != recipe:
                    frozen = history.under(recipe, frozen)
        folder.mkdir(exist_ok=True)
        (folder / "run").mkdir(exist_ok=True)
        image = learner.state.image.nbytes
        self.live = LiveWriter.open(folder / "run", nbytes=image, layout=recipe.to_json())
        telemetry = Telemetry(self.metrics)
        self.publisher = Publisher(self.live, telemetry, 0.0)
        self.twin = Twin(frozen_after, self.metrics, Kept(folder, self.metrics))
        self.twin.open(learner)
        tools = Tools(
            publisher=self.publisher,
            keeper=Keeper(
                self.journal,
                self.saver,
                telemetry,
                1e9,
                lambda: self.still_ours(),
                meanwhile=self.publisher.meanwhile,
            ),
            burial=self.letters,
            losses=Losses(self.broker, self.metrics),
            telemetry=telemetry,
            kafka=KafkaSettings(
                bootstrap_servers="none:1",
                topics=["t"],
                on_data_loss="skip" if skip_lost else "halt",
            ),
            guard=self.settings,
            reach=self._reach,
            shedding=Shedding(self.shed_after_s, self.metrics, lambda: self.now_s),
            tell=self._tell,
            open_inbox=lambda now: self.open_inbox(now),
            topic_id=lambda _: "id",
            in_hand=InHand(folder / "in-hand"),
            twin=self.twin,
            exit_on_halt=False,
            should_stop=lambda: False,
            clock=lambda: self.topic[-1].timestamp_ms / 1000.0,
        )
        self.acts = Acts(learner, frozen, tools)
        self.orders = Orders(self.acts, tools)
        if self.snapshots.list() == []:
            self.saver.now(learner)

    def close(self) -> None:
        """Let go of files and threads, as the end of the process does; again does nothing."""
        if self.closed:
            return
        self.closed = True
        self.publisher.close()
        self.twin.close()
        self.saver.close()
        self.journal.close()
        self.live.close()

    def restart(self) -> Desk:
        """Return a new process on the same state."""
        self.close()
        return Desk(
            self.folder, self.recipe, self.topic, frozen_after=self.frozen_after,
            **self.settings.model_dump(),
        )  # fmt: skip

    @property
    def learner(self) -> Learner:
        return self.acts.learner

    def learn(self, records: list[Record]) -> None:
        """Learn one cut, as the loop does."""
        ends = self.topic[-1].offset + 1 if self.topic else 0
        self.topic.extend(r for r in records if r.offset >= ends)  # others are learned again
        cut = Cut(records, {PLACE: records[-1].offset + 1}, "size", list(range(len(records))))
        loop.learn(self.acts, Ready(cut, self.learner.decode(records)))

    def order(self, command: str, **rest: object) -> dict:
        """Give a command; return its answer, for which the loop may have to go on a while."""
        answer = self.orders.obey({"command": command, "by": "test", **rest})
        if isinstance(answer, Later):
            deadline = time.monotonic() + 60.0
            while (reply := answer.ready()) is None:
                assert time.monotonic() < deadline, f"{command} is not answered"
                self.acts.tick()
            return reply
        return answer

    def live_meta(self) -> dict:
        """Return what the live file says of the version that answers."""
        reader = LiveReader(self.folder / "run")
        reader.refresh()
        try:
            with reader.pinned() as slot:
                assert slot is not None
                return dict(slot.meta)
        finally:
            reader.close()

    def live_image(self) -> bytes:
        """Return the bits that answer."""
        reader = LiveReader(self.folder / "run")
        reader.refresh()
        try:
            with reader.pinned() as slot:
                assert slot is not None
                return np.array(slot.image).tobytes()
        finally:
            reader.close()

    def entries(self) -> list[dict]:
        """Return the journal."""
        return list(self.journal.read(0))

    def kinds(self) -> list[str]:
        """Return the kinds of entries that are not cuts."""
        return [e["kind"] for e in self.entries() if e["kind"] != "cut"]

    def _tell(self, by: str, turn: str, why: str, made: tuple[int, str]) -> None:
        assert why
        self.told.append((by, turn))
        self.made.append(made)

    def _ranges(self, learner: Learner) -> _Range:
        return _Range(self.topic, learner.standing.cursors[PLACE])

    def _reach(
        self,
        version: int,
        told: Progress,
        environment: dict[str, str] | None = None,
    ) -> Learner:
        return reach(
            version, self.journal, self.snapshots, self._ranges, told, environment or fingerprint()
        )
