"""The thread that reads ahead may hang in the Kafka client; nobody else hangs with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from service.errors import BrokerAway
from service.learn import inbox
from service.learn.inbox import Inbox
from service.stream.records import Cut
from tests.e2e.service import until
from tests.learn.cuts import learner, records


class Hanging:
    """A source whose client waits for a time of day that was, until it is let go."""

    def __init__(self) -> None:
        self.cursors = {("t", 0): 0}
        self.answers = True
        self.commit_failures = 0
        self.asked, self.released = threading.Event(), threading.Event()
        self.closed = False

    def check(self) -> list[object]:
        """Nothing is lost."""
        return []

    def lag(self) -> dict[tuple[str, int], int]:
        """Nothing waits."""
        return {}

    def commit(self, offsets: object) -> None:
        """Nobody looks."""

    def next_cut(self, timeout_s: float) -> Cut:
        """Hang."""
        self.asked.set()
        assert self.released.wait(60.0)
        return Cut(records(1), {("t", 0): 1}, "size", [0])

    def close(self) -> None:
        """Let go."""
        self.closed = True


@pytest.fixture
def hanging() -> Iterator[tuple[Inbox, Hanging, list[object]]]:
    """An inbox whose thread hangs, its source, and what was decoded."""
    source, decoded = Hanging(), list[object]()
    made = Inbox(lambda *_: source, decoded.append)  # type: ignore[arg-type]
    assert source.asked.wait(60.0)
    yield made, source, decoded
    source.released.set()
    made.close()
    until(lambda: source.closed, "the thread ends")


def test_a_client_that_does_not_come_back_is_an_error(hanging, monkeypatch):
    """The process ends of it and is started again; a moment is no hang."""
    made, _, _ = hanging
    assert made.get(0.01) is None
    monkeypatch.setattr(inbox, "STUCK_S", 0.0)

    with pytest.raises(BrokerAway, match="has not come back"):
        made.get(0.01)


def test_a_client_that_was_found_to_hang_is_not_waited_for_again(hanging, monkeypatch):
    """The process that ends of it ends at once: closing does not wait its minute."""
    made, source, _ = hanging
    assert made.get(0.01) is None
    monkeypatch.setattr(inbox, "STUCK_S", 0.0)
    with pytest.raises(BrokerAway):
        made.get(0.01)
    monkeypatch.setattr(inbox, "_FAREWELL_S", 1e9)

    made.close()

    assert not source.closed


def test_a_kafka_that_refuses_at_once_is_not_asked_without_a_pause(monkeypatch):
    """What is lost is asked until it is told, and no core is spent on it."""
    source, asked_s = Hanging(), list[float]()
    source.released.set()

    def check() -> list[object]:
        asked_s.append(time.monotonic())
        if len(asked_s) < 3:
            raise BrokerAway("Kafka says no")
        return []

    monkeypatch.setattr(source, "check", check)
    made = Inbox(lambda *_: source, learner().decode)  # type: ignore[arg-type]
    try:
        until(source.asked.is_set, "a cut is asked for")
    finally:
        made.close()

    assert 3 == len(asked_s)
    assert asked_s[-1] - asked_s[0] >= 0.4


class Clock:
    """Goes on by so many seconds each time somebody looks."""

    def __init__(self) -> None:
        self.now_s, self.step_s = 0.0, 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def test_a_pause_of_the_whole_process_is_no_hang_and_what_hangs_after_it_is_one(monkeypatch):
    """A gap between two looks counts as two waits, however long it was; waits add up."""
    monkeypatch.setattr(inbox, "STUCK_S", 0.1)
    source, clock = Hanging(), Clock()
    made = Inbox(lambda *_: source, lambda _: None, clock=clock)  # type: ignore[arg-type,return-value]
    try:
        assert source.asked.wait(60.0)
        assert made.get(0.01) is None
        clock.step_s = 86_400.0
        assert [None] * 4 == [made.get(0.01) for _ in range(4)]
        clock.step_s = 0.01
        assert made.get(0.01) is None

        with pytest.raises(BrokerAway, match="has not come back"):
            [made.get(0.01) for _ in range(3)]
    finally:
        source.released.set()
        made.close()


def test_closing_leaves_a_thread_that_hangs_behind(hanging, monkeypatch):
    """It decodes nothing any more when it comes back, and lets go of its source."""
    made, source, decoded = hanging
    monkeypatch.setattr(inbox, "_FAREWELL_S", 0.1)
    began = time.monotonic()

    made.close()

    assert time.monotonic() - began < 10.0
    source.released.set()
    until(lambda: source.closed, "the thread ends")
    assert [] == decoded


def test_a_kafka_that_goes_away_and_comes_back_is_logged_once_each():
    """Whoever reads the log finds since when nothing came, and when it did again."""
    source = Hanging()
    source.answers = False
    source.released.set()
    with capture_logs() as logs:
        made = Inbox(lambda *_: source, list[object]().append, poll_s=0.0)  # type: ignore[arg-type]
        try:
            until(lambda: made.away, "it is away")
            for _ in range(20):
                made.get(1.0)
            assert "Kafka does not answer" == made.away
            source.answers = True
            until(lambda: made.get(0.05) and made.away is None, "it is back")
        finally:
            made.close()

    said = [(one["event"], one["why"]) for one in logs if one["event"] in {"waiting", "waited"}]
    assert [("waiting", "Kafka does not answer"), ("waited", "Kafka does not answer")] == said
