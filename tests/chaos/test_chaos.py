"""A small attack in every test run, and proof that the verifier sees what it looks for.

The large ones: `make chaos` (docs/reliability.md).
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from service import crash
from tests.chaos import points, rounds
from tests.chaos.events import BUCKETS, bucket_of, hasher, outcome_of, values
from tests.chaos.nemesis import costs
from tests.chaos.report import text
from tests.chaos.rounds import Plan, Round
from tests.chaos.verify import Ledger, clients
from tests.chaos.watch import Seen

POINTS = ("journal_half_written", "live_half_written", "snap_before_rename")
KILLS = int(os.environ.get("HEADWATER_TEST_KILLS", "2"))  # noqa: TID251 - the suite's own name


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_f1_f2_whatever_is_killed_every_event_counts_once(tmp_path: Path, any_bootstrap: str):
    """Random kills and three crash points under load: conservation, bits, versions, replies."""
    plan = Plan(tmp_path, any_bootstrap, "any", seed=1, rate=300.0, keep_rounds=True)

    def assault(under: Round) -> dict[str, Any]:
        under.house.change(snapshots={"every_seconds": 0.5})
        under.begin()
        sweep = points.Sweep(under, (1,))
        sweep.each(POINTS)
        sweep.each(("api_before_reply",), all_the_time=under.house.answers)
        for _ in range(KILLS):
            under.nemesis.learner_early()
        under.nemesis.learning_goes_on()
        return {}

    line = rounds.play(plan, "test", 1, assault)

    assert [] == line["verdict"]["failures"]
    assert set(POINTS) <= {stroke["place"] for stroke in line["strokes"]}
    assert line["verdict"]["digests_confirmed"] > 0


def test_every_crash_point_belongs_to_a_round():
    """The sweep dies at every point that there is, each in one round."""
    swept = [name for names, _ in points.plans(None, (1,)) for name in names]

    assert sorted(swept) == sorted(crash.POINTS)


class TestEvents:
    def test_no_two_events_share_a_weight(self):
        hashes = hasher()
        sent = (outcome_of(value)[1] for value in itertools.islice(values(), 20_000))
        buckets = [bucket_of(hashes, id) for id in sent if id is not None]

        assert len(buckets) == len(set(buckets))
        assert max(buckets) < BUCKETS

    def test_every_kind_of_record_is_sent(self):
        sent = [outcome_of(value)[0] for value in itertools.islice(values(), 100)]

        assert {
            "learned": 92, "dead_lettered": 4, "filtered/unlabelled": 2, "filtered/tombstone": 2
        } == {kind: sent.count(kind) for kind in set(sent)}  # fmt: skip


class Told:
    """What a verifier reads of a round, made up."""

    def __init__(self, **seen: Any) -> None:
        self.facts: dict[str, Any] = {
            "topic": "t", "turns": False, "down": [(50.0, 60.0)], "model": {"lineage": "a", "version": 3}
        }  # fmt: skip
        self.seen: dict[str, Any] = {
            "versions": [["a", 1], ["a", 3]], "lineages": [["a", 0.0]], "conflicts": [],
            "went_back": [], "failed": [],
        } | seen  # fmt: skip
        self.skipped: set[tuple[int, int]] = set()


GOOD = json.dumps({"id": "e1", "y": 1}).encode()
RECORDS = {(0, 0): GOOD, (0, 1): b"not json", (0, 2): GOOD}
GENESIS = {"version": 0, "kind": "genesis", "start": {"t": {"0": 0}}}


def cut(version: int, following: int, **counts: int) -> dict[str, Any]:
    """An entry of the journal."""
    return {"version": version, "kind": "cut", "next": {"t": {"0": following}}, "counts": counts}


def found(*entries: dict[str, Any]) -> list[str]:
    """What the ledger says against these entries."""
    ledger = Ledger(Told(), RECORDS, whole=True)  # type: ignore[arg-type]
    for entry in (GENESIS, *entries):
        ledger.enter(entry)
    ledger.close()
    return ledger.failures


class TestTheVerifierSees:
    """Each of these would be a broken promise; the true story is none."""

    def test_the_true_story(self):
        assert [] == found(
            cut(1, 2, learned=1, **{"dead_lettered/bad_json": 1}), cut(2, 3, learned=1)
        )

    def test_a_record_that_nobody_took(self):
        assert [] != found(cut(1, 2, learned=1, **{"dead_lettered/bad_json": 1}))

    def test_a_record_taken_twice(self):
        assert [] != found(
            cut(1, 3, learned=2, **{"dead_lettered/bad_json": 1}), cut(2, 2, learned=1)
        )

    def test_a_bad_record_that_was_learned(self):
        assert [] != found(cut(1, 3, learned=3))

    def test_a_version_that_was_given_up(self):
        assert [] != found(
            cut(1, 3, learned=2, **{"dead_lettered/bad_json": 1}) | {"base": 0},
        )

    def test_records_skipped_that_were_there(self):
        skip = {"version": 1, "kind": "skip", "partition": 0, "start": 0, "to": 3}

        assert [] != found(skip)

    @pytest.mark.parametrize(
        "seen",
        [
            {"versions": [["a", 4]]},
            {"versions": [["b", 1]]},
            {"lineages": [["a", 0.0], ["b", 1.0]]},
            {"conflicts": [["a", 1]]},
            {"went_back": [{"from": ["a", 3], "to": ["a", 1]}]},
            {"failed": [[70.0, "503"]]},
        ],
        ids=lambda seen: next(iter(seen)),
    )
    def test_what_clients_must_not_see(self, seen: dict[str, Any]):
        failures: list[str] = []
        clients(Told(**seen), [cut(3, 3)], failures)  # type: ignore[arg-type]

        assert 1 == len(failures)

    def test_nothing_wrong_in_what_they_may_see(self):
        """A request that fails while nobody listens is not held against the service."""
        failures: list[str] = []
        clients(Told(failed=[[55.0, "refused"]]), [cut(3, 3)], failures)  # type: ignore[arg-type]

        assert [] == failures


class TestSeen:
    def test_a_version_below_one_seen_before_the_request_went_back(self):
        seen = Seen()
        seen.saw(None, {"lineage": "a", "version": 5}, 0.1)
        seen.saw(seen.newest, {"lineage": "a", "version": 4}, 0.1)

        assert 1 == len(seen.went_back)

    def test_replies_that_overtake_each_other_did_not_go_back(self):
        """It was asked before the newer one was known."""
        seen = Seen()
        seen.saw(None, {"lineage": "a", "version": 5}, 0.1)
        seen.saw(None, {"lineage": "a", "version": 4}, 0.1)

        assert [] == seen.went_back

    def test_a_version_with_two_digests_is_a_conflict(self):
        seen = Seen()
        for digest in ("x", "y"):
            seen.saw(None, {"lineage": "a", "version": 5, "digest": {"weights": digest}}, 0.1)

        assert [("a", 5)] == seen.conflicts


class Times:
    """Versions that went live at these moments."""

    def __init__(self, *times: float) -> None:
        self.times = times

    def learned_again_s(self, since_s: float) -> float | None:
        """As the monitor says it."""
        return next((t - since_s for t in self.times if t > since_s), None)


def test_a_wait_is_counted_with_the_last_stroke_before_it_ended():
    """A worker that is killed meanwhile neither causes it nor ends it."""
    victims = [
        (1.0, "learner"),
        (2.0, "learner"),
        (3.0, "worker"),
        (6.0, "worker"),
        (9.0, "learner"),
    ]
    strokes: list[dict[str, Any]] = [{"at": at, "victim": victim} for at, victim in victims]
    costs(strokes, Times(5.0, 6.5))  # type: ignore[arg-type]

    assert [None, 3.0, None, 0.5, None] == [stroke["without_learning_s"] for stroke in strokes]


def test_the_report_says_which_rounds_did_not_hold():
    line = {
        "kind": "random", "seed": "7/random/1", "broker": "embedded", "seconds": 60.0, "kills": 1,
        "strokes": [{
            "victim": "learner", "place": "learning", "without_learning_s": 2.5, "retried": 1,
        }],
        "verdict": {"ok": False, "failures": ["a record is lost"]},
    }  # fmt: skip

    assert "  - round 7/random/1: a record is lost" in text([line])
    assert "| learner | learning | 1 | 2.5 | 2.5 | 1 |" in text([line])
