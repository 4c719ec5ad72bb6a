"""After deaths on one range, before going live: what kills is looked for, in a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.errors import DataLost
from service.events.decode import Decoded
from service.learn import inquest, quarantine, restore
from service.learn.inbox import Inbox
from service.learn.learner import Learner
from service.learn.opening import Store
from service.learn.probe import Command, Prober
from service.learn.restore import Policy
from service.learn.saving import Saver
from service.learn.sources import RangeSource, Sources
from service.learn.standing import Spot, flat
from service.learn.suspect import LEARNING, Suspects, between
from service.learn.watched import Watched
from service.model.kinds import module_code
from service.stream.records import Record
from service.supervise import environment, python
from tests.conftest import CHECKOUT
from tests.e2e.service import until
from tests.learn.cuts import recipe, record, records
from tests.learn.test_restoring import Home

NONE = ["/no/such/command"]
"""A trial that cannot be started."""
YAML = """
name: test
kafka: {topics: [t]}
event:
  features: {x: {type: number}}
  targets: {y: {type: binary}}
"""


KILLER = "tests.modules.bad:Killer"


def lethal(folder: Path) -> Home:
    """Return a home of a model that dies of some values of x, in trials only."""
    module_code.trust(KILLER)
    event = {
        "features": {"x": {"type": "number", "scale": "none"}}, "targets": {"y": {"type": "binary"}},
    }  # fmt: skip
    return Home(folder, partitions=1, of=recipe(KILLER, event))


def prober_of(home: Home, killer: str, line: list[str] | None, beat: Any) -> Prober:
    """Return what finds what kills, where events with these values of x kill."""
    known = environment() | {"HEADWATER_TEST_KILLER": killer}
    line = line or python("probe", "--module", KILLER)
    return Prober(Command(line, known), home.directory, beat, lambda: False)


@dataclass
class Inquiry:
    """A home whose learner died, and all that an inquest needs."""

    home: Home
    settings: Any
    said: list[str | None] = field(default_factory=list)

    def die(self, times: int, end: int = 20, start: int = 10) -> None:
        """Runs that end with this range of partition 0 in hand."""
        for _ in range(times):
            suspects = Suspects(self.home.directory)
            suspects.in_hand.hold(LEARNING, "live", [("t", 0, start, end)])
            suspects.close()

    def read_ahead(self, lethal: list[Spot]) -> str | None:
        """A run whose decoder dies of these records, unless they are set aside; return how it ended,
        None if it got through to the end of the topic."""
        learner = self.home.learner

        def decode(records: Sequence[Record]) -> Decoded:
            left = set(lethal) - quarantine.ahead(learner.standing)
            if any((r.topic, r.partition, r.offset) in left for r in records):
                raise SystemExit("died decoding")
            return learner.decode(records)

        suspects = Suspects(self.home.directory)
        source = self.home.source(learner)
        inbox = Inbox(lambda *_: source, decode, in_hand=suspects.in_hand)
        try:
            return None if until(lambda: inbox.get(0.1), "a cut") else "nothing"
        except SystemExit as died:
            return str(died)
        finally:
            inbox.close()
            suspects.close()

    def examine(self, killer: str = "", line: list[str] | None = None) -> list[dict]:
        """Start again; return what was journaled."""
        home, stop = self.home, threading.Event()
        known = home.journal.last_version
        assert known is not None
        suspects = Suspects(home.directory)
        saver = Saver(home.snapshots, home.journal, {})
        sources = Sources(self.settings, home.broker, stop, self.said.append)
        prober = prober_of(home, killer, line, lambda _, reason, __: self.said.append(reason))
        store = Store(home.directory, home.journal, home.snapshots, saver, {}, suspects, prober)
        inquest.examine(
            home.learner, store, sources, home.broker,
            lambda _, reason, __: self.said.append(reason),
        )  # fmt: skip
        saver.close()
        suspects.close()
        assert [] == list(home.directory.glob(".probe-*"))
        return list(home.journal.read(known + 1))


@pytest.fixture
def inquiry(tmp_path, load_settings) -> Inquiry:
    """Ten records are learned, and ten more wait."""
    home = lethal(tmp_path)
    home.learn(10)
    for at in range(10, 20):
        value = record(at, {"x": float(at), "c": f"c{at}", "y": 1}).value
        home.broker.append(("t", 0), value, timestamp_ms=at)
    return Inquiry(home, load_settings(YAML))


def test_those_that_kill_are_journaled_and_learned_no_more(inquiry):
    """Two of them; the next death begins a new count."""
    inquiry.die(3)

    (entry,) = inquiry.examine("13,17")

    assert ("quarantine", "kills_process") == (entry["kind"], entry["reason"])
    assert [["t", 0, 13], ["t", 0, 17]] == sorted(entry["places"])
    assert ["SIGSEGV", "SIGSEGV"] == entry["how"]
    standing = inquiry.home.learner.standing
    assert {("t", 0, 13), ("t", 0, 17)} == standing.quarantined
    assert entry["version"] == standing.version == inquiry.home.journal.last_version
    assert any("finding the event that kills" in (said or "") for said in inquiry.said)
    before = standing.lineage
    after = inquiry.home.restart().learner.standing
    assert (standing, before) == (after, after.lineage)
    assert [] == inquiry.examine()


def test_one_that_kills_while_it_is_read_ahead_is_set_aside(inquiry):
    """It dies in the thread that decodes, before anything of its range is learned: the third death
    on it is looked into, and another run passes over it."""
    places = [("t", 0, 13)]
    for _ in range(3):
        assert "died decoding" == inquiry.read_ahead(places)

    (entry,) = inquiry.examine("13")

    assert (["quarantine"], [["t", 0, 13]]) == ([entry["kind"]], entry["places"])
    assert None is inquiry.read_ahead(places)
    assert [] == inquiry.examine(line=NONE)


def test_where_nothing_dies_in_a_trial_nothing_is_set_aside(inquiry):
    """It is tried again, until the sixth death: then learning halts and the range is named."""
    inquiry.die(3)
    assert [] == inquiry.examine()
    inquiry.die(3)

    (entry,) = inquiry.examine(line=NONE)

    assert "halt" == entry["kind"]
    assert "died 6 times" in entry["reason"]
    assert "t, partition 0, offsets 10 to 19" in entry["reason"]
    assert entry["reason"] == inquiry.home.learner.standing.halted
    inquiry.home.learner.standing.halted = None
    inquiry.die(1)
    assert [] == inquiry.examine(line=NONE)


@pytest.mark.parametrize(
    "line",
    [
        ["/no/such/command"],
        [sys.executable, "-c", "exit(3)"],
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
    ],
)
def test_a_trial_that_cannot_be_made_accuses_nobody(inquiry, line):
    """Learning goes on; the deaths stay counted."""
    inquiry.die(3)

    assert [] == inquiry.examine(line=line)
    assert set() == inquiry.home.learner.standing.quarantined


@pytest.mark.parametrize("deaths", [1, 2])
def test_one_or_two_deaths_are_bad_luck(inquiry, deaths):
    """Whoever kills the process from outside is not looked for."""
    inquiry.die(deaths)

    assert [] == inquiry.examine("13", line=NONE)


def test_a_range_that_is_behind_the_cursors_is_not_examined(inquiry):
    """It got through."""
    inquiry.die(5, end=10, start=0)

    assert [] == inquiry.examine("13", line=NONE)


def test_records_that_are_gone_are_not_examined(inquiry):
    """Whoever reads next meets the loss and decides."""
    inquiry.die(3)
    inquiry.home.broker.delete_records({("t", 0): 15})

    assert [] == inquiry.examine("17", line=NONE)


def test_hanging_raising_and_eating_memory_is_dying(inquiry):
    """A trial bounds time and memory, so what hangs or starves the learner is found as well."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.learn.trial_actor"], cwd=CHECKOUT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as actor:  # fmt: skip
        assert actor.stdout is not None
        found = json.loads(actor.stdout.read().splitlines()[-1])

    assert found == {
        "good": None, "raises": "ValueError: no such thing", "hangs": "hung for 0.5 s",
        "hungry": "MemoryError: ",
    }  # fmt: skip


def killed_in_replay(home: Home, times: int) -> None:
    """The last cut was learned and journaled, and its replay kills."""
    (entry,) = [e for e in home.journal.read(1) if e["kind"] == "cut"][-1:]
    for _ in range(times):
        suspects = Suspects(home.directory)
        places = between({("t", 0): 10}, flat(entry["next"]))
        suspects.in_hand.hold(LEARNING, "replay", places)
        suspects.close()


def again(
    home: Home, killer: str = "", line: list[str] | None = NONE, *, skip_lost: bool = False
) -> Learner:
    """Restore, watched; by itself without trials."""
    home.journal.close()
    home.open()
    suspects = Suspects(home.directory)
    watched = Watched(
        lambda of: RangeSource(home.source(of), threading.Event(), lambda _: None),
        lambda *_: None, suspects, prober_of(home, killer, line, lambda *_: None),
    )  # fmt: skip
    try:
        learner = restore.restore(
            home.learner.recipe, home.journal, home.snapshots, {"cpu": "a"},
            Policy(False, skip_lost, ()), watched.open_reader, watched.progress,
        ).learner  # fmt: skip
        assert [] == suspects.in_hand.left()
        return learner
    finally:
        suspects.close()


def test_a_journaled_range_that_kills_its_replay_halts_with_the_ways_out(tmp_path):
    """Its events are history and cannot be set aside; with `skip` what came after is given up."""
    home = lethal(tmp_path)
    home.learn(10)
    home.learn(10)
    lineage = home.learner.standing.lineage
    killed_in_replay(home, 2)
    assert 2 == again(home).standing.version
    killed_in_replay(home, 1)
    assert 2 == again(home).standing.version

    with pytest.raises(
        DataLost, match=r"t, partition 0, offsets 10 to 19.*after version 1.*SIGSEGV.*: skip"
    ):
        again(home, str(json.loads(records(10, 10)[5].value or b"")["x"]), None)
    killed_in_replay(home, 3)
    with pytest.raises(DataLost, match="killed the learner 6 times"):
        again(home)
    learner = again(home, skip_lost=True)

    assert {("t", 0): 10} == learner.standing.cursors
    assert lineage != learner.standing.lineage
    assert (10, 3) == (learner.events_learned, learner.standing.version)
