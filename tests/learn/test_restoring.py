"""From a state directory back to a learner: what is proven, and what needs a new lineage."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.errors import DataLost
from service.learn import restore
from service.learn.learner import Learner
from service.learn.losses import new_epochs
from service.learn.restore import Journaling, Policy, Restored
from service.learn.sources import RangeSource
from service.learn.standing import nested
from service.model.recipe import Recipe
from service.stream.records import Cut
from service.stream.source import Source
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.fakes.broker import FakeBroker
from tests.learn.cuts import recipe, records


class Home:
    """A state directory and a broker in memory."""

    def __init__(
        self, directory, partitions: int = 2, of: Recipe | None = None, **learning: Any
    ) -> None:
        self.directory = directory
        self.recipe = of or recipe(**learning)
        self.broker = FakeBroker()
        self.broker.create_topic("t", partitions)
        self.sent = 0
        self.served: restore.Served | None = None
        self.open()
        ids = {"t": self.broker.topic_id("t")}
        start = {("t", p): 0 for p in range(partitions)}
        self.learner = restore.begin(self.recipe, start, ids, self.journal, {"cpu": "a"})
        self.save()

    def open(self) -> None:
        """Open the directory."""
        self.journal = Journal.open(self.directory / "journal")
        self.snapshots = Snapshots(self.directory / "snapshots", Keep(5, 0, 0))

    def save(self, **meta: object) -> None:
        """Write a snapshot of the present version."""
        self.snapshots.write(
            self.learner.state.parts(), self.learner.meta() | {"environment": {"cpu": "a"}} | meta
        )

    def learn(self, n: int = 10, partition: int = 0) -> None:
        """Have n events arrive, and learn them as one journaled cut."""
        for record in records(n, self.sent):
            self.broker.append(("t", partition), record.value, timestamp_ms=self.sent)
            self.sent += 1
        source = self.source(self.learner)
        cut = source.next_cut(0.5)
        source.close()
        assert isinstance(cut, Cut)
        step = self.learner.take(cut.records, self.learner.decode(cut.records), cut.next_offsets)
        self.journal.append({
            "version": step.version, "kind": "cut", "next": nested(cut.next_offsets),
            "records": step.records, "keys": step.keys, "loss": step.loss,
            "epochs": nested(new_epochs(self.learner.standing, cut.epochs)),
        })  # fmt: skip

    def note(self, kind: str, **rest: object) -> None:
        """Journal another entry."""
        Journaling(self.journal).append(self.learner, kind, **rest)

    def source(self, learner: Learner) -> Source:
        """Return a source where the learner stands."""
        return Source(
            self.broker, ["t"], dict(learner.standing.cursors), batch_rows=100, linger_s=0.01,
            buffer_records=1000, clock=self.broker.clock, wall_ms=self.broker.clock.wall_ms,
            epochs=dict(learner.standing.epochs),
        )  # fmt: skip

    def ranges(self, of: Learner) -> RangeSource:
        """Return what reads journaled cuts again, from where the learner stands."""
        return RangeSource(
            self.source(of), threading.Event(), lambda _: None, dict(of.standing.epochs)
        )

    def restart(
        self, cpu: str = "a", *, skip_lost: bool = False, power_lost: bool = False
    ) -> Restored:
        """Forget everything in memory and restore."""
        self.journal.close()
        self.open()
        restored = restore.restore(
            self.learner.recipe, self.journal, self.snapshots, {"cpu": cpu},
            Policy(power_lost, skip_lost, (), self.served),
            self.ranges, lambda *_: None,
        )  # fmt: skip
        self.learner = restored.learner
        return restored


@pytest.fixture
def home(tmp_path) -> Home:
    """A home that has learned three cuts."""
    made = Home(tmp_path)
    for partition in (0, 1, 0):
        made.learn(10, partition)
    return made


def test_a_restart_goes_back_to_the_last_version_in_the_same_lineage(home):
    """Same version, same bits, same name."""
    before = home.learner

    after = home.restart().learner

    assert digest(before.state.parts()) == digest(after.state.parts())
    assert before.standing == after.standing


@pytest.mark.parametrize(
    "learning",
    [
        {"replay": {"memory": 30, "kind": "balanced"}, "agem": {"memory": 30, "rows": 8}},
        {"ewc": {}, "l2_init": 0.01, "average": {}, "freeze": ["head/*/bias"]},
    ],
    ids=["memories", "pulls"],
)
def test_a_replay_repeats_every_strategy_to_the_bit(tmp_path, learning):
    """Cuts after the snapshot are learned again from the journal: the same bits, proven by it."""
    home = Home(tmp_path, **learning, step_rows=7)
    for at in range(9):
        home.learn(10, at % 2)
        if at == 4:
            home.save()
    before = home.learner

    after = home.restart().learner

    assert before.standing == after.standing
    assert digest(before.state.parts()) == digest(after.state.parts())


def test_another_environment_begins_a_new_lineage_once(home):
    """A to B mints one; B to B none; back to A another, though no snapshot was written."""
    first = home.learner.standing.lineage
    second = home.restart("b").learner.standing.lineage
    third = home.restart("b").learner.standing.lineage
    fourth = home.restart("a").learner.standing.lineage

    assert first != second == third != fourth != first


def test_power_lost_under_a_learner_begins_a_new_lineage(home):
    """The weights are the same; that nobody saw more cannot be proven."""
    before = home.learner.standing.lineage

    assert before != home.restart(power_lost=True).learner.standing.lineage


def test_a_journal_that_ends_before_a_snapshot_begins_a_new_lineage(home):
    """Versions after its end were seen; they must not be given other bits."""
    before = home.learner.standing.lineage
    home.save()
    home.journal.close()
    newest = max(home.journal.directory.glob("*.hwj"))
    newest.write_bytes(newest.read_bytes()[:-40])

    assert before != home.restart().learner.standing.lineage


def test_a_last_entry_with_a_wrong_bit_begins_a_new_lineage(home):
    """A killed writer leaves a short entry; a whole one with wrong bits may have been seen."""
    before = home.learner.standing.lineage
    home.journal.close()
    newest = max(home.journal.directory.glob("*.hwj"))
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)

    assert before != home.restart().learner.standing.lineage


def test_records_gone_elsewhere_do_not_matter_to_a_replay(home):
    """What is replayed is there; that another partition lost what was skipped is no loss."""
    home.note("skip", topic="t", partition=1, start=10, to=10, reason="retention", topic_ids={})
    home.learn(10, 0)
    home.broker.append(("t", 1), b"{}")
    home.save()
    home.learn(10, 0)
    home.broker.delete_records({("t", 1): 11})
    before = home.learner.standing.version

    restored = home.restart()

    assert before == restored.learner.standing.version
    assert restored.replayed.diverged_at is None


def test_records_gone_from_a_journaled_cut_are_a_loss(home):
    """Without leave to skip, that is an error that names the range."""
    home.broker.delete_records({("t", 0): 5})

    with pytest.raises(DataLost, match="offsets 0 to 4 are gone"):
        home.restart()


def test_what_cannot_be_redone_is_given_up_and_what_the_operator_said_still_holds(home):
    """A new lineage, versions that go on, the pause of before."""
    before = home.learner.standing
    home.note("pause")
    last = home.journal.last_version
    home.broker.delete_records({("t", 0): 5})

    after = home.restart(skip_lost=True).learner.standing

    assert (last + 1, True) == (after.version, after.paused)
    assert before.lineage != after.lineage
    again = home.restart(skip_lost=True).learner.standing
    assert after == again


def test_f21_a_journaled_cut_that_was_cut_off_and_written_anew_is_a_loss(home):
    """The same offsets under a newer leader epoch are other records: not learned in their stead.
    With leave to skip, the last version before them goes on."""
    home.broker.elect_unclean(("t", 0), 15)
    for record in records(20, 99):
        home.broker.append(("t", 0), record.value)

    with pytest.raises(DataLost, match="cut off before offset 20, and others were written"):
        home.restart()
    restored = home.restart(skip_lost=True)

    assert {("t", 0): 10, ("t", 1): 10} == restored.learner.standing.cursors
    assert restored.replayed.diverged_at is None
    home.learn(1)
    assert {("t", 0): 36, ("t", 1): 10} == home.learner.standing.cursors
    assert 46 == home.learner.events_learned
    assert {("t", 0): 1, ("t", 1): 0} == home.learner.standing.epochs


def test_f21_a_new_leader_that_lost_nothing_changes_nothing(home):
    """Its records have a newer epoch, and the journal says so."""
    home.broker.elect_unclean(("t", 0), 20)
    home.learn(10)
    before = home.learner.standing

    assert before == home.restart().learner.standing
    assert {("t", 0): 1, ("t", 1): 0} == before.epochs


def test_a_divergence_is_saved_before_it_is_built_upon(home):
    """Other records at the same offsets: noted, a new lineage, and a snapshot is demanded."""
    partition = home.broker.topics["t"].partitions[1]
    partition.records = records(10, 77, 1)
    for at, record in enumerate(partition.records):
        partition.records[at] = type(record)(
            "t", 1, at, record.timestamp_ms, None, record.value, None
        )

    restored = home.restart()

    assert restored.must_save
    assert restored.replayed.diverged_at is not None
