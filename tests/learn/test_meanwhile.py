"""Signs of life while the learner waits for a disk or for Kafka, and none for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import BrokerAway, SnapshotInvalid
from service.learn import probe, sources
from service.learn.audit import Audit
from service.learn.commands import Refused
from service.learn.door import Door
from service.learn.meanwhile import Meanwhile
from service.learn.sources import RangeSource, Sources
from service.settings import Settings
from service.stream.source import Source
from service.weights.live_reader import LiveReader
from service.weights.live_writer import LiveWriter
from service.weights.pulse import START_S, HeartbeatIn, Pulse
from tests.fakes.broker import FakeBroker
from tests.learn.cuts import recipe, records
from tests.learn.desk import Desk
from tests.processes import PATIENCE_S

SOON_S = 60.0
HANG_S, SLOW_S = 0.5, 1.2
"""A disk that takes longer than a learner may be silent."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A learner after three cuts."""
    made = Desk(tmp_path, recipe())
    for first in range(0, 60, 20):
        made.learn(records(20, first))
    yield made
    made.close()


def found_hung(runtime: Path, do: Callable[[threading.Event], object]) -> bool:
    """Do something while a watchdog looks, as the supervisor does; whether it found a hang. What is
    done is given what is set when it is found."""
    pulse, done, hung = Pulse(HeartbeatIn(runtime), HANG_S), threading.Event(), threading.Event()
    pid = (HeartbeatIn(runtime)() or (0, 0))[0]

    def watch() -> None:
        while not done.wait(pulse.look_s):
            if pulse.hung(pid):
                hung.set()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        do(hung)
    finally:
        done.set()
        watching.join()
    return hung.is_set()


def slowly(do: Callable[..., object]) -> Callable[..., object]:
    """The same, on a slow disk."""

    def slow(*given: object) -> object:
        time.sleep(SLOW_S)
        return do(*given)

    return slow


def test_a_snapshot_that_takes_long_is_no_hang(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is written by the loop's thread, which cannot say anything meanwhile.
    """
    desk.acts.tick()
    monkeypatch.setattr(desk.snapshots, "write", slowly(desk.snapshots.write))

    assert not found_hung(desk.folder / "run", lambda _: desk.order("snapshot"))
    assert not found_hung(desk.folder / "run", lambda _: desk.order("freeze"))


def test_a_flush_of_the_journal_that_takes_long_is_no_hang(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A disk may be busy for longer than a learner may be silent.
    """
    desk.acts.tick()
    desk.learn(records(20, 60))
    monkeypatch.setattr(desk.journal, "sync", slowly(desk.journal.sync))
    time.sleep(1.0)  # a flush is due once a second

    assert not found_hung(desk.folder / "run", lambda _: desk.acts.tick())

    monkeypatch.setattr(desk.journal, "rotate", slowly(desk.journal.rotate))
    assert not found_hung(desk.folder / "run", lambda _: desk.acts.course.secure())


def test_what_is_not_waited_for_counts_as_a_hang(desk: Desk) -> None:
    """
    Nothing is repeated for a loop that stands still elsewhere.
    """
    desk.acts.tick()

    assert found_hung(desk.folder / "run", lambda hung: hung.wait(PATIENCE_S))


def test_nothing_is_repeated_for_ever() -> None:
    """
    Five minutes after the last thing that was said, or after the wait began, it is a hang.
    """
    now = [0.0]
    said = [0.0]
    waiting = Meanwhile(lambda: None, lambda: said[0], clock=lambda: now[0])
    found = [waiting.repeats]
    with waiting, waiting:
        now[0] += START_S - 1
        found.append(waiting.repeats)
        now[0] += 1
        found.append(waiting.repeats)
        said[0] = now[0]
        found.append(waiting.repeats)
    found.append(waiting.repeats)
    waiting.close()

    assert [False, True, False, True, False] == found


def test_a_start_that_says_nothing_new_for_long_is_found(tmp_path: Path) -> None:
    """
    The door repeats the last sign of life while it waits for a start, five minutes at most; who
    waits for Kafka says that it does.
    """
    now = [0.0]
    live = LiveWriter.open(tmp_path, nbytes=4096, layout=b"{}")
    door = Door(live, None, Audit(tmp_path), clock=lambda: now[0])  # type: ignore[arg-type]
    reader = LiveReader(tmp_path)

    def repeats(expected: bool) -> bool:
        """It is waited for long where it must come, and for two of its turns where it must not."""
        if not expected:
            time.sleep(0.3)  # one that was under way when the clock was set may still come
        patience_s = SOON_S if expected else 0.6
        before, give_up = newest(reader), time.monotonic() + patience_s
        while newest(reader) == before and time.monotonic() < give_up:
            time.sleep(0.01)
        return newest(reader) != before

    with door:
        door.beat("restoring", "compiling")
        found = [repeats(True)]
        now[0] += START_S + 1
        found.append(repeats(False))
        door.still_here()
        found.append(repeats(True))
    found.append(repeats(False))
    reader.close()
    door.close()

    assert [True, False, True, False] == found


def newest(reader: LiveReader) -> int:
    """Return the time of the last sign of life."""
    reader.refresh()
    return int((reader.heartbeat() or {"heartbeat_ns": 0})["heartbeat_ns"])


def test_who_asks_is_told_in_few_words(tmp_path: Path) -> None:
    """
    Who a command is from stands in journal, log and heartbeat.
    """
    live = LiveWriter.open(tmp_path, nbytes=4096, layout=b"{}")
    audit, heard = Audit(tmp_path), list[str]()
    door = Door(live, None, audit)  # type: ignore[arg-type]

    def of(request: dict[str, Any], _: object) -> dict[str, Any]:
        heard.append(request["by"])
        return {}

    audit.of = of  # type: ignore[method-assign,assignment]
    for by in ("cli:ann", "x" * 5000, 7):
        door.answer({"command": "pause", "by": by})
    door.close()

    assert ["cli:ann", "x" * 197 + "...", "7"] == heard


@pytest.mark.parametrize("why", [SnapshotInvalid("gone"), BrokerAway("no answer")])
def test_a_rollback_without_kafka_is_refused_and_changes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    """
    Whoever asked is told; learning goes on, and nothing was skipped or journaled.
    """

    def away(*_: object) -> None:
        raise why

    monkeypatch.setattr(desk.orders._t, "reach", away)
    before = desk.entries()

    with pytest.raises((Refused, BrokerAway), match=r"gone|nothing was changed: no answer"):
        desk.order("rollback", to=1, skip_to="now")
    assert before == desk.entries()
    assert desk.acts.may_learn


def test_an_order_waits_for_kafka_for_a_while_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Neither for a topic nor for records without end: BrokerAway goes to who asked.
    """
    monkeypatch.setattr(sources, "ORDER_PATIENCE_S", 0.3)
    broker = FakeBroker()
    broker.create_topic("t", 1)
    broker.append(("t", 0), b"")
    event = {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}}
    kafka = {"bootstrap_servers": "none:1", "topics": ["t"]}
    settings = Settings.model_validate({"name": "n", "kafka": kafka, "event": event})
    opened = Sources(settings, broker, threading.Event(), lambda _: None)
    source = Source(
        broker, ["t"], {("t", 0): 0}, batch_rows=4, linger_s=0.01, buffer_records=10,
        clock=broker.clock, wall_ms=broker.clock.wall_ms,
    )  # fmt: skip
    reading = RangeSource(source, threading.Event(), lambda _: None, patience_s=0.1)
    broker.away = True
    began = time.monotonic()

    with pytest.raises(BrokerAway, match=r"within 0\.3 s"):
        opened.patient(desk.learner)
    with pytest.raises(BrokerAway):
        reading.read_range({("t", 0): 1})
    assert time.monotonic() - began < SOON_S
    broker.away = False
    assert 1 == len(reading.read_range({("t", 0): 1}))


def test_a_trial_that_takes_long_is_no_hang() -> None:
    """
    While the event that kills is looked for, its trial may hang; that it goes on is said.
    """
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]  # as long as it is let
    said = list[int]()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        ends = process.stdin
        assert ends is not None

        def tell(trials: int) -> None:
            said.append(trials)
            if len(said) == 3:
                ends.close()

        told = probe._listen(process, tell, lambda: False)

    assert told.unclear == "the trials ended with exit code 0"
    assert len(said) >= 3
