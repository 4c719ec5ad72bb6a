"""The parts of the guard: the watch on the loss, the canary set, the trial."""

from __future__ import annotations

import numpy as np
import pytest

from service.learn.guard.canary import Canary
from service.learn.guard.trial import Trial
from service.learn.guard.watch import GRACE_BLOCKS, Watch
from service.settings import GuardSettings
from tests.learn.cuts import learner, recipe, records, take

SCHEMA = recipe().schema
RNG = np.random.default_rng(0)


def watch(usual: float = 0.5, blocks: int = 200) -> Watch:
    """Return one that has seen so many ordinary blocks."""
    made = Watch(SCHEMA, 100)
    assert made.take(RNG.exponential(usual, blocks * 100)) is None
    return made


def test_a_loss_that_stays_what_it_is_never_alarms():
    """A million events of the same kind, long tail and all."""
    assert watch().take(RNG.exponential(0.5, 1_000_000)) is None


def test_a_loss_that_doubles_alarms_within_five_blocks():
    """And says what it was and what it is."""
    made = watch()
    alarms = [made.take(RNG.exponential(1.0, 100)) for _ in range(5)]

    first = next(alarm for alarm in alarms if alarm)
    assert "times the usual" in first


def test_nothing_is_said_before_anybody_knows_what_is_usual():
    """The first blocks may be as bad as they like."""
    made = Watch(SCHEMA, 100)

    assert made.take(RNG.exponential(0.5, (GRACE_BLOCKS - 2) * 100)) is None
    assert made.take(RNG.exponential(5.0, 100)) is None


@pytest.mark.parametrize("cut", [1, 7, 100, 1024])
def test_how_events_are_cut_does_not_matter(cut):
    """The same alarm at the same event; and it goes on after it was saved and read again."""
    losses = np.concatenate([RNG.exponential(0.5, 20_000), RNG.exponential(1.5, 1000)])
    whole, parts = Watch(SCHEMA, 100), Watch(SCHEMA, 100)
    found = None
    for at in range(0, len(losses), cut):
        found = parts.take(losses[at : at + cut]) or found
        if at < 10_000 <= at + cut:
            parts = Watch(SCHEMA, 100, parts.saved())

    assert whole.take(losses) == found
    assert found is not None


def test_one_absurd_number_is_not_a_trend():
    """The error of a number target counts at most ten times its usual size."""
    of = recipe(event={"features": {"x": {"type": "number"}}, "targets": {"v": {"type": "number"}}})
    made = Watch(of.schema, 100)
    scores, labels = np.zeros((100, 1)), np.zeros((100, 1))
    for _ in range(100):
        labels = RNG.normal(0, 1, (100, 1))
        made.take(made.losses(scores, labels))
        made.grow_scales(scores, labels)
    labels[3] = 1e12
    losses = made.losses(scores, labels)

    assert 10.0 == losses.max()
    assert made.take(losses) is None


def trial(**changes: object) -> Trial:
    """Return one that adopts after 3 windows of 100 events and ten seconds."""
    settings = {"window_events": 100, "adopt_windows": 3, "adopt_seconds": 10} | changes
    return Trial(GuardSettings.model_validate(settings))


def outcomes(of: Trial, apart: float, windows: int, second: int = 0) -> list[str]:
    """Feed windows, one a second, in which the shadow's loss is `apart` higher."""
    said = []
    for window in range(windows):
        frozen = RNG.exponential(0.5, 100)
        shadow = frozen + apart + RNG.normal(0, 0.1, 100)
        said.append(of.take(shadow, frozen, second + window))
    return [one for one in said if one]


def test_a_shadow_that_is_better_is_adopted_but_not_before_its_time():
    """Three windows are not enough while ten seconds are not over."""
    of = trial()

    assert [] == outcomes(of, -0.2, 10)
    assert "adopt" == outcomes(of, -0.2, 2, 10)[0]


def test_a_shadow_that_is_clearly_worse_is_rolled_back_at_once():
    """Two windows in a row."""
    assert "roll_back" == outcomes(trial(), 0.2, 2)[0]


def test_a_shadow_that_was_better_and_turns_bad_is_rolled_back():
    """Labels were flipped for a while, and are right again."""
    of = trial()

    assert [] == outcomes(of, -0.2, 8)
    assert "roll_back" == outcomes(of, 0.5, 2, 8)[0]


def test_a_trial_does_not_last_for_ever():
    """Neither better nor worse, window after window that comes to nothing."""
    of = trial(undecided_windows=6, adopt_windows=99)

    assert [] == outcomes(of, 0.0, 11)
    assert "roll_back" == outcomes(of, 0.0, 6, 11)[-1]


def test_canaries_find_weights_that_forgot_what_they_knew():
    """A version with scrambled weights must not be served; the healthy ones before it may."""
    of = learner()
    canary = Canary(of)
    made = Watch(SCHEMA, 100)
    for first in range(0, 8000, 100):
        given = records(100, first)
        canary.take(of.decode(given).columns)
        step = take(of, given)
        made.grow_scales(step.scores, step.labels)

    def judged() -> str | None:
        scored = canary.scores(of)
        assert scored is not None
        return canary.judge(made.losses(*scored))

    assert [None] * 12 == [judged() for _ in range(12)]
    of.state.theta[:] = RNG.normal(0, 20, of.state.theta.shape)
    said = judged()
    assert said is not None
    assert "canary" in said


def test_too_few_canaries_prove_nothing():
    """Right after a start nothing is judged."""
    of = learner()
    canary = Canary(of)
    canary.take(of.decode(records(200)).columns)

    assert canary.scores(of) is None


def test_a_rare_class_is_no_alarm():
    """One positive in a thousand, scored as well as it can be: nearly all the loss is in few events."""
    made = Watch(SCHEMA, 100)
    y = (RNG.random(2_000_000) < 0.001).astype(float)[:, None]
    p = np.full_like(y, 0.001)
    alarms = 0
    for at in range(0, len(y), 1000):
        part = slice(at, at + 1000)
        alarms += made.take(made.losses(p[part], y[part])) is not None
        made.grow_scales(p[part], y[part])

    assert 0 == alarms


def test_a_target_that_is_harder_is_no_alarm():
    """Labels of the harder of two targets come in a burst."""
    event = {
        "features": {"x": {"type": "number"}},
        "targets": {"a": {"type": "binary"}, "b": {"type": "binary"}},
    }
    made = Watch(recipe(event=event).schema, 100)

    def burst(n: int, a: float, b: float) -> str | None:
        truth = np.column_stack((RNG.random(n) < 0.02, RNG.random(n) < 0.5)).astype(float)
        labels = np.where(RNG.random((n, 2)) < (a, b), truth, np.nan)
        scores = np.column_stack((np.full(n, 0.02), np.full(n, 0.5)))
        said = made.take(made.losses(scores, labels))
        made.grow_scales(scores, labels)
        return said

    assert [None] * 300 == [burst(200, 1.0, 0.1) for _ in range(300)]
    assert [None] * 20 == [burst(200, 0.0, 1.0) for _ in range(20)]


@pytest.mark.parametrize("first", [1e12, 0.0])
def test_what_the_first_events_are_like_does_not_stay(first):
    """An absurd error, or none at all, before an ordinary stream: nothing is alarming later."""
    of = recipe(event={"features": {"x": {"type": "number"}}, "targets": {"v": {"type": "number"}}})
    made = Watch(of.schema, 100)
    alarms = 0
    for cut in range(3000):
        labels = RNG.normal(0, 1, (100, 1))
        if cut == 0:
            labels[:] = 0.0
            labels[7] = first
        scores = np.zeros((100, 1))
        alarms += made.take(made.losses(scores, labels)) is not None
        made.grow_scales(scores, labels)

    assert 0 == alarms


def test_another_size_of_blocks_begins_anew():
    """A block that was open with eighty events is not gone on with when blocks are of ten."""
    before = watch()
    before.take(RNG.exponential(0.5, 80))
    after = Watch(SCHEMA, 10, before.saved())

    assert after.take(RNG.exponential(0.5, 1000)) is None


@pytest.mark.parametrize("rate", [1_000, 50_000])
def test_a_shadow_that_is_as_good_is_not_rolled_back_at_any_rate(rate):
    """Windows come and go by the hundred before the time is over; chance must not add up."""
    for _ in range(20):
        of = trial(window_events=500, adopt_seconds=45)
        windows = min(rate * 45 // 500, 4500)
        said = []
        for window in range(windows + 20):
            frozen = RNG.exponential(0.4, 500)
            shadow = frozen + RNG.normal(0, 0.2, 500)
            said.append(of.take(shadow, frozen, window * 45.0 / windows))
        assert "adopt" == next(one for one in said if one)
