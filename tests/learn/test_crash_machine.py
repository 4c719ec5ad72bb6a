"""Produce, learn, save, crash, restore, in any order: the history is one, and nothing is lost.

The learner, the journal, the snapshots and the restoring are the real ones, on a real directory;
only Kafka is the in-memory fake, and a crash is forgetting everything that is not on disk.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.learn import history, reach, restore
from service.learn.history import Replayed
from service.learn.learner import Learner
from service.learn.restore import Journaling, Policy
from service.learn.sources import RangeSource
from service.learn.standing import nested
from service.stream.records import Cut
from service.stream.source import Source
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.fakes.broker import FakeBroker
from tests.learn.cuts import recipe, records

ENVIRONMENT = {"machine": "test"}
EVENTS = st.sampled_from(["good", "bad", "tombstone", "unlabelled"])


class Crashes(RuleBasedStateMachine):
    """A learner whose process may end between any two steps."""

    @initialize(partitions=st.integers(1, 3), kind=st.sampled_from(["linear", "mlp"]))
    def begin(self, partitions: int, kind: str) -> None:
        """Version 0."""
        self.directory = Path(tempfile.mkdtemp(prefix="crashes-"))
        self.recipe = recipe(kind)
        self.broker = FakeBroker()
        self.broker.create_topic("t", partitions)
        self.sent = 0
        self.expected = {"learned": 0, "dead_lettered": 0, "filtered": 0}
        self.seen: dict[tuple[str, int], dict[str, str]] = {}
        self._open()
        ids = {"t": self.broker.topic_id("t")}
        start = {("t", p): 0 for p in range(partitions)}
        self.learner = restore.begin(self.recipe, start, ids, self.journal, ENVIRONMENT)
        self._save()
        self.source = self._source(self.learner)

    @rule(kinds=st.lists(EVENTS, min_size=1, max_size=12), partition=st.integers(0, 2))
    def produce(self, kinds: list[str], partition: int) -> None:
        """Events of all kinds arrive."""
        partition %= len(self.broker.partitions("t"))
        for kind in kinds:
            self.sent += 1
            value = {
                "good": records(1, self.sent)[0].value,
                "bad": b"{",
                "tombstone": None,
                "unlabelled": b'{"x": 1}',
            }[kind]
            self.broker.append(("t", partition), value, timestamp_ms=self.sent)
            outcome = {"good": "learned", "bad": "dead_lettered"}.get(kind, "filtered")
            self.expected[outcome] += 1

    @rule()
    def learn(self) -> None:
        """One cut, journaled."""
        if (cut := self._cut()) is not None:
            step = self._take(cut)
            self.journal.append({
                "version": step.version, "kind": "cut", "next": nested(cut.next_offsets),
                "records": step.records, "keys": step.keys, "loss": step.loss,
            })  # fmt: skip

    @rule()
    def learn_and_die_before_the_journal(self) -> None:
        """The cut was in the weights, and nobody ever saw it."""
        if (cut := self._cut()) is not None:
            self._take(cut)
            self.crash()

    @rule()
    def save(self) -> None:
        """A snapshot of the present version."""
        self._save()

    @rule(rate=st.sampled_from([0.01, 0.05, 0.2]))
    def change_settings(self, rate: float) -> None:
        """A restart with another learning rate."""
        self.recipe = recipe(self.recipe.kind, learning_rate=rate)
        self.crash()

    @rule()
    def pause(self) -> None:
        """An entry that is no cut."""
        self.learner.standing.paused = True
        Journaling(self.journal).append(self.learner, "pause")

    @rule()
    def crash(self) -> None:
        """Everything in memory is gone; the newest snapshot and the journal bring it back."""
        self.source.close()
        self.journal.close()
        self._open()
        restored = restore.restore(
            self.recipe, self.journal, self.snapshots, ENVIRONMENT, Policy(False, False, ()),
            self._ranges, lambda *_: None,
        )  # fmt: skip
        assert restored.replayed.diverged_at is None
        assert not restored.must_save
        self.learner = restored.learner
        self.source = self._source(self.learner)

    @invariant()
    def a_version_is_one_set_of_bits(self) -> None:
        """Whatever crashed in between, a version that was journaled keeps its digests."""
        if not hasattr(self, "learner"):
            return
        standing = self.learner.standing
        assert standing.version == self.journal.last_version
        found = digest(self.learner.state.parts())
        assert found == self.seen.setdefault((standing.lineage, standing.version), found)

    def teardown(self) -> None:
        """Learn the rest: every event once. Then the whole history again from nothing."""
        if not hasattr(self, "learner"):
            return
        for _ in range(100):
            self.learn()
        outcomes = self.learner.state.outcomes.tolist()
        assert sum(self.expected.values()) == sum(outcomes)
        assert self.expected["learned"] == outcomes[0]
        assert 1 == len({lineage for lineage, _ in self.seen})
        entries = list(self.journal.read(0))
        again = reach.replay(
            history.genesis(entries[0]), entries[1:], self._ranges, replayed := Replayed(),
            lambda *_: None,
        )  # fmt: skip
        assert replayed.diverged_at is None
        assert digest(again.state.parts()) == digest(self.learner.state.parts())
        self.source.close()
        self.journal.close()
        shutil.rmtree(self.directory)

    def _open(self) -> None:
        self.journal = Journal.open(self.directory / "journal")
        self.snapshots = Snapshots(self.directory / "snapshots", Keep(2, 0, 0))

    def _save(self) -> None:
        meta = self.learner.meta() | {"environment": ENVIRONMENT}
        self.snapshots.write(self.learner.state.parts(), meta)

    def _source(self, learner: Learner) -> Source:
        return Source(
            self.broker, ["t"], dict(learner.standing.cursors), batch_rows=7, linger_s=0.01,
            buffer_records=20, clock=self.broker.clock, wall_ms=self.broker.clock.wall_ms,
        )  # fmt: skip

    def _ranges(self, learner: Learner) -> RangeSource:
        return RangeSource(self._source(learner), threading.Event(), lambda _: None)

    def _cut(self) -> Cut | None:
        found = self.source.next_cut(0.5)
        assert found is None or isinstance(found, Cut)
        return found

    def _take(self, cut: Cut):
        return self.learner.take(cut.records, self.learner.decode(cut.records), cut.next_offsets)


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
