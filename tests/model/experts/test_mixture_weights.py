"""What a row counts, it counts in the mixture of members, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.model.experts.mixture import Mixture
from service.model.experts.seam import Held, Task
from tests.model.experts.rows import held

BINARY, NUMBER = Task("binary", 1, 7), Task("number", 1, 7)
THREE = Task("multiclass", 3, 7)


def members(task: Task, *said: list[float]) -> tuple[Mixture, Held, NDArray[np.float32]]:
    """Return a mixture of members that always say the same, its tensors, and p [K, O]."""
    one = Mixture(tuple(f"m/{i}" for i in range(len(said))), task)
    return one, held(one.tensors), np.array(said, np.float32)


def learned(
    mixture: tuple[Mixture, Held, NDArray[np.float32]], y: NDArray[np.float64], weight: Any
) -> NDArray[np.float64]:
    """Learn labels [N]; return what the mixture says afterwards [O]."""
    one, at, p = mixture
    n, o = len(y), p.shape[1]
    rows = np.ascontiguousarray(np.broadcast_to(p, (n, *p.shape)))
    all_on, worth = (
        np.ones(p.shape[0], np.uint8),
        np.broadcast_to(np.asarray(weight, float), n).copy(),
    )
    one.learn(at, rows, y, worth, all_on, np.empty((n, o)))
    said = np.empty((1, o))
    one.score(at, rows[:1], all_on, said)
    return said[0]


def labels(n: int, share: float) -> NDArray[np.float64]:
    """Return n labels, of which a share is 1."""
    return (np.random.default_rng(3).random(n) < share).astype(float)


def test_events_of_a_class_that_count_twenty_times_move_the_odds_twenty_times() -> None:
    """Of 7 % yes: members that say 7 % are right as they are, those that say 60 % as they count."""
    y = labels(3000, 0.07)
    plain = learned(members(BINARY, [0.07], [0.6], [0.3]), y, 1.0)
    heavy = learned(members(BINARY, [0.07], [0.6], [0.3]), y, np.where(y > 0, 20.0, 1.0))
    expected = 20.0 * y.sum() / (20.0 * y.sum() + len(y) - y.sum())
    assert abs(plain[0] - y.mean()) < 0.03
    assert abs(heavy[0] - expected) < 0.06


def test_of_several_classes_those_that_count_more_are_said_more_often() -> None:
    """A class in ten events that counts ten times is as likely as all others."""
    y = np.random.default_rng(4).choice(3, 3000, p=[0.45, 0.45, 0.1]).astype(float)
    said = [[0.45, 0.45, 0.1], [0.25, 0.25, 0.5], [0.4, 0.3, 0.3]]
    plain = learned(members(THREE, *said), y, 1.0)
    heavy = learned(members(THREE, *said), y, np.where(y == 2, 10.0, 1.0))
    assert plain[2] < 0.15
    assert heavy[2] > 0.45


def test_of_numbers_those_that_count_more_pull_more() -> None:
    """Two members are right in half of the events each."""
    y = np.tile([0.0, 1.0], 400)
    plain = learned(members(NUMBER, [0.0], [1.0]), y, 1.0)
    heavy = learned(members(NUMBER, [0.0], [1.0]), y, np.where(y > 0, 10.0, 1.0))
    assert 0.1 < plain[0] < 0.9
    assert heavy[0] > max(plain[0], 0.7)


@pytest.mark.parametrize("task", [BINARY, NUMBER, THREE])
@pytest.mark.parametrize("weight", [1e-9, 1e6, 1e300])
def test_no_weight_is_too_large_or_too_small(task: Task, weight: float) -> None:
    """All stays finite; and what is heavier than the heaviest counts as that."""
    said = [[0.2] * task.outputs, [0.9] * task.outputs]
    y = labels(500, 0.3)
    one, at, p = members(task, *said)
    learned((one, at, p), y, np.where(y > 0, weight, 1.0))
    assert all(np.isfinite(tensor).all() for tensor in at.at.values())


def test_events_that_count_little_do_not_turn_over_what_a_heavy_one_said() -> None:
    """One in twenty counts as much as the twenty: whoever says a half is right, all the time."""
    y = (np.arange(2000) % 20 == 0).astype(float)
    one, at, p = members(BINARY, [0.05], [0.5], [0.1])
    rows, said = np.repeat(p[None], 2000, axis=0), np.empty((2000, 1))
    one.learn(at, rows, y, np.where(y > 0, 20.0, 1.0), np.ones(3, np.uint8), said)
    assert said[1000:].min() > 0.4
