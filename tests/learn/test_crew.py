"""Several threads share out what does not depend on each other."""

from __future__ import annotations

import threading

import pytest

from service.learn.crew import Crew, working
from service.model.experts import together


def test_all_is_done_and_whoever_asks_works_too() -> None:
    """The first piece waits for the second: one thread would never end."""
    met = threading.Event()
    names = []

    def first() -> None:
        assert met.wait(10.0)
        names.append(threading.current_thread().name)

    def second() -> None:
        names.append(threading.current_thread().name)
        met.set()

    with Crew(2) as crew:
        crew.do([first, second])
    assert len(set(names)) == 2
    assert threading.current_thread().name in names


def test_an_error_is_raised_when_nothing_runs_any_more() -> None:
    """What had begun ends; what had not never does."""
    begun, done = threading.Event(), []

    def slow() -> None:
        begun.set()
        done.append("slow")

    def wrong() -> None:
        assert begun.wait(10.0)
        raise ValueError("no")

    with Crew(2) as crew:
        with pytest.raises(ValueError, match="no"):
            crew.do([slow, wrong])
        assert done == ["slow"]
        crew.do([lambda: done.append("more")])
    assert done == ["slow", "more"]


def test_work_is_done_in_turn_outside_and_with_one_thread() -> None:
    """Nobody asked for threads: the API, tests."""
    names = []

    def who() -> None:
        names.append(threading.current_thread().name)

    together.do([who, who])
    with working(1):
        together.do([who, who])
    with working(2):
        pass
    together.do([who])
    assert {threading.current_thread().name} == set(names)
    assert len(names) == 5
