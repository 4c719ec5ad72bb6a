"""F3: the power goes out, and what was not flushed is gone, torn or out of order.

A learner's whole store (journal, snapshots, the record of the boot) works on a disk that notes
every change; then each state that a power cut can leave is built and recovered from, with the real
restoring over a real learner. Kafka keeps what it has.
"""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.learn import restore
from service.learn.learner import Learner
from service.learn.restore import Journaling, Policy
from service.learn.sources import RangeSource
from service.learn.standing import nested
from service.stream.records import Cut
from service.stream.source import Source
from service.weights import boot, durable
from service.weights.digest import digest
from service.weights.journal import Entry, Journal
from service.weights.snapshots import Keep, SnapshotReader, Snapshots
from tests.fakes.broker import FakeBroker
from tests.learn.cuts import recipe, records
from tests.weights.disk_model import (
    All,
    BytesOnly,
    Choices,
    Disk,
    Drawn,
    Killed,
    NamesOnly,
    NewestNameOnly,
    Recorder,
    Tree,
    write_tree,
)

ENVIRONMENT = {"cpu": "a"}
BEFORE, AFTER = "the boot before", "the boot after"
STEPS = ("learn", "learn_bad", "sync", "save", "save_and_die", "kill", "stop", "pause")


class Life:
    """A learner's process on a disk that notes everything, and what the world saw of it."""

    def __init__(self, home: Path, recorder: Recorder, kind: str = "linear") -> None:
        self.home = home / "state"
        self.recorder = recorder
        self.recipe = recipe(kind)
        self.broker = FakeBroker()
        self.broker.create_topic("t", 1)
        self.sent = 0
        self.born = 0
        """Processes so far."""
        self.entries: dict[int, Entry] = {}
        self.digests: dict[int, dict[str, str]] = {}
        self.seen: list[tuple[int, str, int]] = []
        """(notes on the disk by then, lineage, version) of what was published."""
        self.promised: list[tuple[int, int]] = []
        """(notes on the disk by then, version) of what was said to be durable."""
        self.saved: list[tuple[int, int]] = []
        """The same of snapshots."""
        try:
            self.start()
        except Killed:
            self.kill()

    @property
    def moment(self) -> int:
        return len(self.recorder.ops)

    def start(self) -> None:
        self.born += 1
        self.journal, self.snapshots, self.learner = opened(self.home, self, BEFORE)
        self._publish()

    def learn(self, value: bytes | None = None) -> None:
        for record in records(6, self.sent):
            self.broker.append(("t", 0), value or record.value, timestamp_ms=self.sent)
            self.sent += 1
        source = source_of(self, self.learner)
        cut = source.next_cut(0.5)
        source.close()
        assert isinstance(cut, Cut)
        step = self.learner.take(cut.records, self.learner.decode(cut.records), cut.next_offsets)
        self.journal.append({
            "version": step.version, "kind": "cut", "next": nested(cut.next_offsets),
            "records": step.records, "keys": step.keys, "loss": step.loss,
        })  # fmt: skip
        self._publish()

    def learn_bad(self) -> None:
        self.learn(b"{")

    def pause(self) -> None:
        self.learner.standing.paused = True
        Journaling(self.journal).append(self.learner, "pause")
        self._publish()

    def sync(self) -> None:
        self.journal.sync()
        self.promised.append((self.moment, self.learner.standing.version))

    def save(self, *, drop: bool = True) -> None:
        """As the keeper and the thread that writes snapshots do it."""
        self.journal.sync()
        meta = self.learner.meta() | {"environment": ENVIRONMENT}
        self.snapshots.write(self.learner.state.parts(), meta)
        for promised in (self.promised, self.saved):
            promised.append((self.moment, self.learner.standing.version))
        self.snapshots.collect()
        self.learn()  # the loop does not wait for the snapshot
        kept = [entry.manifest.version for entry in self.snapshots.list() if entry.manifest]
        self.journal.rotate()
        if drop:
            self.journal.drop_before(min(kept))

    def save_and_die(self) -> None:
        """What the journal need not keep any more is for the next snapshot to drop."""
        self.save(drop=False)
        self.kill()

    def kill(self) -> None:
        """The process dies; its writes stay with the kernel, and another process goes on."""
        self.recorder.revive()
        self.start()

    def stop(self) -> None:
        """A clean end, and a new beginning."""
        self.save()
        self.sync()
        self.journal.close()
        boot.mark_stopped(self.home, self.learner.standing.version, BEFORE)
        self.promised.append((self.moment, self.learner.standing.version))
        self.start()

    def die_within(self, step: str, changes: int) -> bool:
        """Be killed in the middle of a step, after so many changes of the disk, and go on.

        False: the step had no more changes than that.
        """
        self.recorder.dies_after = changes
        try:
            getattr(self, step)()
        except Killed:
            self.kill()
            return True
        self.recorder.revive()
        return False

    def _publish(self) -> None:
        standing = self.learner.standing
        found = digest(self.learner.state.parts())
        assert found == self.digests.setdefault(standing.version, found)
        for entry in self.journal.read(max(self.journal.first_version or 0, standing.version)):
            self.entries[entry["version"]] = entry
        self.seen.append((self.moment, standing.lineage, standing.version))


def source_of(life: Life, learner: Learner) -> Source:
    return Source(
        life.broker, ["t"], dict(learner.standing.cursors), batch_rows=100, linger_s=0.01,
        buffer_records=1000, clock=life.broker.clock, wall_ms=life.broker.clock.wall_ms,
    )  # fmt: skip


def opened(home: Path, life: Life, boot_id: str) -> tuple[Journal, Snapshots, Learner]:
    """What the process does with its state directory when it starts."""
    lost = boot.unclean_power_loss(home, boot_id)
    journal = Journal.open(home / "journal", after_power_loss=lost)
    snapshots = Snapshots(home / "snapshots", Keep(2, 0, 0))
    if journal.last_version is None and not snapshots.list():
        ids = {"t": life.broker.topic_id("t")}
        boot.mark_running(home, boot_id)
        learner = restore.begin(life.recipe, {("t", 0): 0}, ids, journal, ENVIRONMENT)
        must_save = True
    else:
        restored = restore.restore(
            life.recipe, journal, snapshots, ENVIRONMENT, Policy(lost, False, ()),
            lambda of: RangeSource(source_of(life, of), threading.Event(), lambda _: None),
            lambda *_: None,
        )  # fmt: skip
        assert restored.replayed.diverged_at is None
        learner, must_save = restored.learner, restored.must_save
    if must_save or not snapshots.list():
        snapshots.write(learner.state.parts(), learner.meta() | {"environment": ENVIRONMENT})
    boot.mark_running(home, boot_id)
    return journal, snapshots, learner


class Found(NamedTuple):
    """What a power cut leaves on the disk, and what the world knows by then."""

    tree: Tree
    lineages: frozenset[str]
    seen: int
    """The newest version that was published; -1: none."""
    promised: int
    """The newest version that was said to be durable."""
    saved: int
    """The newest snapshot that was."""


def cut_off(life: Life, notes: int, choices: Choices) -> Found:
    """The power goes out after so many changes of the disk."""
    seen = [one for one in life.seen if one[0] <= notes]

    def newest(of: list[tuple[int, int]]) -> int:
        return max((version for moment, version in of if moment <= notes), default=-1)

    return Found(
        Disk(life.recorder.ops[:notes]).left(choices),
        frozenset(lineage for _, lineage, _ in seen),
        max((version for _, _, version in seen), default=-1),
        newest(life.promised),
        newest(life.saved),
    )


def wrong_after(life: Life, where: Path, cut: Found) -> str | None:
    """What is wrong with the learner that comes up after the power cut, if anything."""
    write_tree(cut.tree, where)
    there = SnapshotReader(where / "state" / "snapshots").list()
    with life.recorder.looking_away():
        journal, snapshots, learner = opened(where / "state", life, AFTER)
        found = list(journal.read(journal.first_version or 0))
        journal.close()
    prefix = [entry for entry in found if life.entries.get(entry["version"]) == entry]
    reached = prefix[-1]["version"] if prefix else -1
    rest = [entry["kind"] for entry in found[len(prefix) :]]
    if [] != snapshots.verify():
        return f"snapshots: {snapshots.verify()}"
    if max((e.manifest.version for e in there if e.manifest), default=-1) < cut.saved:
        return f"the snapshot of version {cut.saved} was promised to be durable, it is not there"
    if not prefix and cut.lineages:
        return "everything is gone, and something was published"
    if rest not in ([], ["environment"]) and prefix:
        return f"after the entries of before come {rest}"
    if reached < cut.promised:
        return f"version {cut.promised} was promised to be durable, {reached} is there"
    if prefix and digest(learner.state.parts()) != life.digests[reached]:
        return f"version {reached} has other bits"
    if cut.seen > reached and learner.standing.lineage in cut.lineages:
        return f"clients saw {cut.seen}, the same lineage goes on from {reached}"
    return None


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    root = tmp_path / "disk"
    root.mkdir()
    return Recorder(monkeypatch, root)


@pytest.mark.parametrize(
    "choices",
    [Choices(), All(), NamesOnly(), BytesOnly(), NewestNameOnly()],
    ids=lambda c: type(c).__name__,
)
def test_f03_a_power_cut_at_any_moment_leaves_a_state_that_is_recovered(
    tmp_path: Path, recorder: Recorder, choices: Choices
) -> None:
    """Before and after every single change of the disk over a long life: a whole snapshot, a whole
    prefix of the journal, nothing gone that was durable, a new lineage where more was seen."""
    life = Life(recorder.root, recorder)
    for step in ("learn", "save", "learn", "learn", "save", "kill", "learn", "save", "stop",
                 "learn", "sync", "learn", "pause", "kill", "learn_bad", "save_and_die", "save",
                 "learn"):  # fmt: skip
        getattr(life, step)()
    wrong, before = [], None
    for notes in range(life.moment + 1):
        cut = cut_off(life, notes, choices)
        if cut != before and (found := wrong_after(life, tmp_path / f"after-{notes}", cut)):
            wrong.append((notes, life.recorder.ops[max(notes - 1, 0)][:2], found))
        before = cut

    assert [] == wrong
    assert life.moment > 150


@pytest.mark.parametrize("step", ["begin", "save"])
def test_f03_what_a_killed_process_left_unflushed_is_flushed_by_the_next(
    tmp_path: Path, step: str
) -> None:
    """
    The next one finds names that the dead one made and did not flush, and builds on them; a power
    cut later must not take them away from below what was promised since.
    """
    wrong = []
    changes, was_killed = 1, True
    while was_killed:
        home = tmp_path / str(changes)
        (home / "disk").mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch:
            recorder = Recorder(patch, home / "disk")
            recorder.dies_after = changes if step == "begin" else None
            life = Life(home / "disk", recorder)
            was_killed = life.born > 1
            recorder.revive()
            if step != "begin":
                for before in ("learn", "save", "learn"):
                    getattr(life, before)()
                was_killed = life.die_within(step, changes)
            for number, after in enumerate(("sync", "save", "sync")):
                getattr(life, after)()
                cut = cut_off(life, life.promised[-1][0], Choices())  # it was just promised
                found = wrong_after(life, home / f"{number}", cut)
                if found:
                    wrong.append((changes, life.recorder.ops[changes - 1][:2], after, found))
        changes += 1

    assert [] == wrong
    assert changes > 1


def test_f03_a_name_whose_flush_failed_is_flushed_by_the_next_attempt(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot was in its place already when the flush of its name failed; the next attempt at
    the same version finds it there, and must not take that for durable."""
    life = Life(recorder.root, recorder)
    life.learn()
    real = durable.flush_directory
    failed: list[Path] = []

    def failing(directory: Path) -> None:
        if directory == life.snapshots.directory and not failed:
            failed.append(directory)
            raise OSError(errno.EIO, "Input/output error")
        real(directory)

    monkeypatch.setattr(durable, "flush_directory", failing)
    with pytest.raises(OSError, match="Input/output"):
        life.save()
    life.save()

    cut = cut_off(life, life.saved[-1][0], Choices())
    assert wrong_after(life, tmp_path / "after", cut) is None


@given(data=st.data(), steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=9))
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_f03_any_part_of_what_was_not_flushed_may_be_missing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, steps: list[str]
) -> None:
    """Torn writes, holes, changes of names in any order: each is recovered from."""
    home = tmp_path_factory.mktemp("power")
    with pytest.MonkeyPatch.context() as patch:
        (home / "disk").mkdir()
        recorder = Recorder(patch, home / "disk")
        life = Life(recorder.root, recorder)
        for step in steps:
            life.die_within(step, data.draw(st.integers(1, 60), "changes"))
        notes = data.draw(st.integers(0, life.moment), "notes")
        choices = Drawn(lambda most: data.draw(st.integers(0, most)))

        assert wrong_after(life, home / "after", cut_off(life, notes, choices)) is None
