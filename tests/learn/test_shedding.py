"""Learning that is behind leaves work out until it has caught up; a replay does the same, whatever the
time is."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.learn import inbox, loop, shedding
from service.learn.commands import Commands
from service.learn.inbox import Inbox
from service.learn.learner import Learner
from service.learn.shedding import CALM_S, SETTLE_S, Effort, Pace, Shedding
from service.settings import LearningSettings
from service.stream.source import Source
from service.weights.digest import digest
from tests.fakes.broker import FakeBroker
from tests.learn import cuts
from tests.learn.desk import PLACE, Desk
from tests.learn.test_turns import bits


class Waiting:
    """An inbox that only says how much waits."""

    def __init__(self) -> None:
        self.lag, self.away, self.source = {PLACE: 0}, None, None
        self.seconds: dict[str, float] = {}

    def close(self) -> None:
        """Nothing is open."""


def at_work(
    folder: Path, after_s: float | None = 10.0, kind: str = "mixture"
) -> tuple[Desk, Waiting]:
    desk = Desk(folder, cuts.recipe(kind), shed_after_s=after_s)
    waiting = Waiting()
    desk.acts._inbox = waiting  # type: ignore[assignment]
    return desk, waiting


def second(desk: Desk, waiting: Waiting, lag: int, seconds: float = 1.0) -> int:
    """Learn, at ten records a second, while so many wait; return the level then."""
    waiting.lag[PLACE] = lag
    first = desk.learner.standing.cursors[PLACE]
    desk.learn(cuts.records(10, first))
    desk.metrics.counter("headwater_learner_time_seconds_total").inc(seconds, "learn")
    desk.now_s += seconds
    desk.acts.tick()
    return desk.learner.shed_level


def levels(
    effort: Effort, behind_s: float, times: list[float], now: int, *, busy: bool = True
) -> list[int]:
    """Return the levels that follow at these times."""
    found = []
    for at_s in times:
        now = effort.level(now, behind_s, at_s, busy=busy)
        found.append(now)
    return found


def test_one_more_work_is_left_out_whenever_the_last_one_did_not_help():
    times = [0.0, 1.0, SETTLE_S, SETTLE_S + 1.0, 2 * SETTLE_S, 3 * SETTLE_S]

    assert [1, 1, 2, 2, 3, 3] == levels(Effort(10.0, 3), 11.0, times, 0)


def test_between_behind_and_caught_up_nothing_changes():
    effort = Effort(10.0, 6)

    assert [0, 0] == levels(effort, 9.0, [0.0, 100.0], 0)
    assert [4, 4] == levels(effort, 2.0, [200.0, 300.0], 4)


def test_works_are_taken_up_one_by_one_once_nearly_nothing_waits():
    times = [0.0, CALM_S - 1.0, CALM_S, 2 * CALM_S]

    assert [2, 2, 1, 0] == levels(Effort(10.0, 6), 0.5, times, 3)


def test_what_had_to_be_left_out_again_at_once_is_taken_up_later_the_next_time():
    effort = Effort(10.0, 6)
    levels(effort, 11.0, [0.0], 0)
    up = levels(effort, 0.0, [CALM_S], 1)
    again = levels(effort, 11.0, [CALM_S + SETTLE_S], 0)
    soon = levels(effort, 0.0, [2 * CALM_S + SETTLE_S], 1)
    later = levels(effort, 0.0, [3 * CALM_S + SETTLE_S], 1)

    assert ([0], [1], [1], [0]) == (up, again, soon, later)


def test_nothing_is_left_out_where_it_is_not_learning_that_is_slow():
    """Records come slowly from Kafka: to learn less would not help."""
    assert [0, 0] == levels(Effort(10.0, 6), 99.0, [0.0, 10.0], 0, busy=False)


def test_the_pace_is_that_of_the_last_seconds_of_work():
    pace = Pace()
    unknown = pace.seconds_for(5)
    for _ in range(100):
        pace.took(10, 0.5, 0.5)

    assert math.isnan(unknown)
    assert 5.0 == pytest.approx(pace.seconds_for(100))
    assert 0.0 == pace.seconds_for(0)
    assert not pace.is_busy


def test_a_backlog_makes_learning_leave_work_out_and_its_end_takes_it_up_again(tmp_path: Path):
    """Each change is an entry of the journal and a line of the log; status and metrics say it."""
    desk, waiting = at_work(tmp_path)
    calm = [second(desk, waiting, 50) for _ in range(4)]
    with capture_logs() as logs:
        behind = [second(desk, waiting, 5000, SETTLE_S) for _ in range(7)]
        said, shown = desk.acts.status()["shed"], shown_by(desk)
        caught_up = [second(desk, waiting, 0, CALM_S) for _ in range(8)]
    changes = [e for e in desk.entries() if e["kind"] == "shed"]
    lines = [entry["event"] for entry in logs if entry["event"].startswith("work_is")]
    desk.close()

    assert [0] * 4 == calm
    assert [1, 2, 3, 4, 5, 6] == sorted(set(behind))
    assert sorted(behind) == behind
    assert {0, 1, 2, 3, 4, 5} <= set(caught_up)
    assert 0 == caught_up[-1]
    assert [*range(1, 7), *range(5, -1, -1)] == [entry["level"] for entry in changes]
    assert {"work_is_left_out": 6, "work_is_taken_up_again": 6} == Counter(lines)
    assert (6, "replays") == (said["level"], said["left_out"][0])
    assert 1000.0 < said["behind_seconds"] < 2000.0
    assert (6.0, True) == (shown["headwater_shed_level"], shown['rows of "replays"'] > 0)


def shown_by(desk: Desk) -> dict[str, float]:
    desk.acts._t.telemetry.fill(desk.learner, None)
    level = desk.metrics.gauge("headwater_shed_level").get()
    rows = desk.metrics.counter("headwater_shed_rows_total").get("replays")
    return {"headwater_shed_level": level, 'rows of "replays"': rows}


def test_a_replay_leaves_out_what_the_journal_says(tmp_path: Path):
    """Killed in the middle, while work is left out: the same bits, though now nothing waits. And any
    version between is made again from nothing."""
    desk, waiting = at_work(tmp_path)
    made = {}
    for _ in range(3):
        second(desk, waiting, 5000, SETTLE_S)
        made[desk.learner.standing.version] = bits(desk)
    version, level, before = desk.learner.standing.version, desk.learner.shed_level, bits(desk)
    again = desk.restart()  # without a snapshot: all of it is replayed
    after = (again.learner.standing.version, again.learner.shed_level, bits(again))
    remade = {v: digest(again._reach(v, lambda *_: None).state.parts()) for v in made}
    again.close()

    assert level >= 2
    assert (version, level, before) == after
    assert made == remade


def test_never_means_never_and_what_was_left_out_is_taken_up(tmp_path: Path):
    desk, waiting = at_work(tmp_path)
    for _ in range(3):
        second(desk, waiting, 5000, SETTLE_S)
    left_out = desk.learner.shed_level
    desk.close()
    other = Desk(tmp_path, desk.recipe, desk.topic, shed_after_s=None)
    other.acts._inbox = waiting  # type: ignore[assignment]
    after = [second(other, waiting, 5000, SETTLE_S) for _ in range(4)]
    other.close()

    assert left_out > 0
    assert [0] * 4 == after


def test_a_model_that_has_nothing_to_leave_out_goes_on(tmp_path: Path):
    desk, waiting = at_work(tmp_path, kind="linear")
    after = [second(desk, waiting, 5000, SETTLE_S) for _ in range(4)]
    said = desk.acts.status()["shed"]
    desk.close()

    assert ([0] * 4, None) == (after, said)
    assert [] == [e for e in desk.entries() if e["kind"] == "shed"]


def test_nothing_changes_while_nobody_knows_what_waits(tmp_path: Path):
    """Kafka is away: neither more is left out, nor is anything taken up."""
    desk, waiting = at_work(tmp_path)
    for _ in range(3):
        second(desk, waiting, 5000, SETTLE_S)
    level = desk.learner.shed_level
    waiting.away = "Kafka does not answer"  # type: ignore[assignment]
    after = [second(desk, waiting, 5000, SETTLE_S) for _ in range(4)]
    desk.close()

    assert level > 0
    assert [level] * 4 == after


def test_while_nothing_may_be_learned_nobody_says_how_long_what_waits_would_take(tmp_path: Path):
    """Paused in the middle: the last figure would say for ever that learning is behind. Work that is
    left out is taken up later, not now."""
    desk, waiting = at_work(tmp_path)
    for _ in range(3):
        second(desk, waiting, 5000, SETTLE_S)
    level = desk.learner.shed_level
    desk.order("pause")
    desk.now_s += CALM_S
    desk.acts.tick()
    said, shown = desk.acts.status()["shed"], desk.metrics.gauge("headwater_behind_seconds").get()
    desk.close()

    assert level > 0
    assert (level, None, True) == (said["level"], said["behind_seconds"], math.isnan(shown))


def test_the_settings_of_shedding_are_not_in_the_weights():
    """A change of them makes no new version."""
    plain, other = cuts.recipe(), cuts.recipe(shed="never", shed_after_seconds=5.0)

    assert plain == other
    assert ("auto", 30.0) == (LearningSettings().shed, LearningSettings().shed_after_seconds)


class Clock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def test_the_loop_catches_up_with_a_topic_that_ran_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The real loop, inbox and source over a topic in memory: behind, work is left out; at the end of
    the topic all of it is taken up again, and every event was learned once."""
    monkeypatch.setattr(inbox, "_LAG_EVERY_S", 0.0)
    monkeypatch.setattr(shedding, "BUSY", 0.01)  # cuts are small
    total, broker = 1500, FakeBroker()
    broker.create_topic("t", 1)
    for i in range(total):
        value = {"id": i, "x": i % 7 / 7, "c": f"c{i % 9}", "y": i % 2}
        broker.append(PLACE, json.dumps(value).encode(), timestamp_ms=1000 + i)
    desk = Desk(tmp_path, cuts.recipe("mixture"))
    desk.acts._t.shedding = Shedding(0.02, desk.metrics, Clock())

    def open_inbox(learner: Learner) -> Inbox:
        def opened(*_: object) -> Source:
            return Source(
                broker, ["t"], dict(learner.standing.cursors), batch_rows=20, linger_s=0.02,
                buffer_records=5000, clock=broker.clock,
            )  # fmt: skip

        return Inbox(opened, learner.decode)

    desk.open_inbox = open_inbox
    levels: list[int] = []

    def enough() -> bool:
        levels.append(desk.learner.shed_level)
        return desk.learner.events_learned == total and levels[-1] == 0

    loop.run(desk.acts, desk.orders, Commands(), enough)
    desk.acts.stop_reading()
    entries = desk.entries()
    desk.close()

    assert max(levels) >= 2
    assert total == sum(e["counts"].get("learned", 0) for e in entries if e["kind"] == "cut")
    assert 0 == [e["level"] for e in entries if e["kind"] == "shed"][-1]
    assert all(math.isfinite(e["behind_seconds"] or 0.0) for e in entries if e["kind"] == "shed")
