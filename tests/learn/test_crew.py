"""Several threads share out what does not depend on each other."""

from __future__ import annotations

import math
import threading

import msgspec
import pytest

from service.learn.crew import Crew, working
from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.experts import together
from service.model.kinds import KINDS, mixture_course
from service.model.kinds.mixture import Mixture
from service.model.kinds.mixture_course import PIECE
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record


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


def test_how_many_threads_there_are_changes_no_bit_and_is_no_part_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads learn four experts side by side; the state is that of one."""
    images = taught(monkeypatch, [(1, PIECE), (2, PIECE)], level=0)

    assert images[0] == images[1]


@pytest.mark.parametrize("level", [0, 6])
def test_how_many_stages_go_on_at_a_time_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """Pieces of some rows, so that inputs, experts and mixture are at work on three of them; with all
    that can be left out left out, too."""
    images = taught(monkeypatch, [(1, PIECE), (2, 9), (1, 9), (2, 16)], level)

    assert len(set(images)) == 1


def taught(monkeypatch: pytest.MonkeyPatch, ways: list[tuple[int, int]], level: int) -> list[bytes]:
    """Return the state after the same cuts, learned by so many threads in pieces of so many rows."""
    few = type("Few", (Mixture,), {"chosen": ("prior", "bayes", "cross", "newton")})
    monkeypatch.setitem(KINDS, "mixture", few)
    assert len({recipe(threads).to_json() for threads, _ in ways}) == 1
    values = [{"x": math.sin(i), "kind": f"k{i % 5}", "won": i % 3 == 0} for i in range(300)]
    records = [
        Record("t", 0, i, i, None, msgspec.json.encode(value), None)
        for i, value in enumerate(values)
    ]
    images = []
    for threads, piece in ways:
        monkeypatch.setattr(mixture_course, "PIECE", piece)
        learner = Learner.fresh(recipe(threads), Standing(version=0, lineage="0" * 16, cursors={}))
        learner.shed(level)
        with working(threads):
            for first in range(0, 300, 50):
                part = records[first : first + 50]
                learner.take(part, learner.decode(part), {("t", 0): first + 50})
        images.append(learner.state.image.tobytes())
    return images


def recipe(threads: int) -> Recipe:
    event = {
        "features": {"x": {"type": "number"}, "kind": {"type": "category", "buckets": 16}},
        "targets": {"won": {"type": "binary"}},
    }
    return Recipe(
        "crew",
        EventSettings.model_validate(event),
        ModelSettings(kind="mixture"),
        LearningSettings(threads=threads),
    )
