"""The rule that promotes: clearly better, by enough, window after window."""

from __future__ import annotations

import numpy as np
import pytest

from service.events.schema import Schema
from service.learn.duel import WON, Rule, losses
from service.settings import EventSettings, PromoteSettings

TARGETS = {
    "b": {"type": "binary"},
    "m": {"type": "multiclass", "classes": ["p", "q", "r"]},
    "v": {"type": "number"},
}
SCHEMA = Schema(
    EventSettings.model_validate({"features": {"x": {"type": "number"}}, "targets": TARGETS})
)
USUAL = {"target": "v", "rows": 100, "windows": 3, "margin": 0.05, "sure": 3.0, "rest": 1000}


def rule(**settings: object) -> Rule:
    return Rule(PromoteSettings.model_validate(USUAL | settings), SCHEMA.targets)


def after(blocks: list[tuple[float, float]], of: Rule, noise: float = 0.1) -> np.ndarray:
    """Return the six numbers after windows in which both lost so much on average."""
    rng, duel = np.random.default_rng(0), np.zeros(6)
    for answering, own in blocks:
        for _ in range(4):
            shared = rng.normal(size=25) * noise
            of.take(duel, answering + shared, own + shared + rng.normal(size=25) * noise)
    return duel


@pytest.mark.parametrize(
    ("metric", "at", "y", "wanted"),
    [
        ("log_loss", 0, [1.0, 0.0], [-np.log(0.8), -np.log(0.7)]),
        ("accuracy", 0, [1.0, 1.0], [0.0, 1.0]),
        ("log_loss", 1, [2.0, 0.0], [-np.log(0.5), -np.log(0.6)]),
        ("accuracy", 1, [2.0, 1.0], [0.0, 1.0]),
        ("mae", 2, [1.0, 5.0], [1.0, 1.0]),
        ("rmse", 2, [4.0, 4.0], [4.0, 0.0]),
    ],
)
def test_what_an_event_costs(metric, at, y, wanted):
    """A column of a probability, three of classes, one of a value; compared by hand."""
    scores = np.array([[0.8, 0.2, 0.3, 0.5, 2.0], [0.3, 0.6, 0.2, 0.2, 4.0]])
    found = losses(SCHEMA.targets[at], metric, scores, np.array(y))
    assert wanted == pytest.approx(found.tolist())


def test_three_windows_in_a_row_are_needed_and_one_lost_begins_anew():
    of, better, worse = rule(), (1.0, 0.8), (1.0, 1.1)
    assert [1.0, 2.0, 3.0] == [after([better] * n, of)[WON] for n in (1, 2, 3)]
    assert 2.0 == after([better, better, worse, better, better], of)[WON]
    due = {"a": after([better] * 3, of), "b": after([better] * 2, of)}
    assert "a" == of.due(due, since=5, changes=0)
    assert of.due({"b": due["b"]}, since=5, changes=0) is None


def test_better_by_less_than_the_margin_or_by_chance_is_no_win():
    assert 0.0 == after([(1.0, 0.97)], rule(), noise=0.01)[WON]
    assert 1.0 == after([(1.0, 0.97)], rule(margin=0.0), noise=0.01)[WON]
    assert 0.0 == after([(1.0, 0.9)], rule(), noise=2.0)[WON]
    assert 0.0 == after([(1.0, 1.0)], rule(margin=0.0, sure=0.0), noise=0.0)[WON]


def test_after_a_change_the_rule_rests_whoever_ordered_it():
    of = rule()
    ready = {"a": after([(1.0, 0.5)] * 3, of)}
    assert [None, "a"] == [of.due(ready, since=n, changes=1) for n in (999, 1000)]


def test_of_several_the_one_that_is_furthest_ahead_is_promoted():
    of = rule()
    ready = {"a": after([(1.0, 0.8)] * 3, of), "b": after([(1.0, 0.6)] * 3, of)}
    assert "b" == of.due(ready, since=0, changes=0)
    assert "40" in of.said(ready["b"]) or "39" in of.said(ready["b"])


@pytest.mark.parametrize(
    ("target", "metric", "what"),
    [
        ("v", None, "mae"),
        ("v", "rmse", "mean squared error"),
        ("b", "log_loss", "log_loss"),
        ("m", "accuracy", "share of wrong answers"),
    ],
)
def test_what_is_said_to_be_less_is_what_was_compared(target, metric, what):
    """An accuracy that is less would be worse, and a squared error is no rmse."""
    of = rule(target=target, metric=metric)
    assert f"its {what} on {target} was 50.0% less" in of.said(after([(1.0, 0.5)], of, noise=0.0))


def test_windows_have_as_many_events_as_they_are_said_to_have_however_many_come_at_once():
    """A cut of a thousand is ten windows of a hundred, the last of which is open."""
    of, duel = rule(), np.zeros(6)
    of.take(duel, np.full(950, 1.0), np.full(950, 0.5))
    assert [50.0, 25.0, 9.0] == duel[[0, 1, WON]].tolist()
    of.take(duel, np.full(50, 1.0), np.full(50, 1.5))
    assert [0.0, 0.0, 0.0] == duel[[0, 1, WON]].tolist()


def test_a_score_that_is_not_finite_wins_no_window():
    """Not even one among a hundred, and the next window is as any other."""
    of, duel = rule(), np.zeros(6)
    own = np.full(100, 0.1)
    own[7] = np.nan
    of.take(duel, np.full(100, 1.0), own)
    assert 0.0 == duel[WON]
    of.take(duel, np.full(100, 1.0), np.full(100, 0.1))
    assert 1.0 == duel[WON]
    assert np.isfinite(duel).all()
