"""Intervals hold the share of labels that they promise, on quiet streams and on others."""

from __future__ import annotations

import numpy as np
import pytest

from service.model import intervals
from tests.learn.cuts import learner as learner_of
from tests.learn.cuts import recipe, record, take

STREAM = {"id": "id", "features": {"x": {"type": "number"}}, "targets": {"v": {"type": "number"}}}


def shares(errors, scores=None):
    """Return, by level, the share of later labels inside the interval that was given before each."""
    state = np.zeros(intervals.SIZE)
    inside: dict[float, list[bool]] = {level: [] for level in (0.5, 0.85, 0.9, 0.99)}
    for error in errors:
        for level, found in inside.items():
            half = intervals.half_width(state, level)
            if half is not None:
                found.append(abs(error) <= half)
        intervals.update(state, np.zeros(1), np.array([error]))
    return {level: float(np.mean(found)) for level, found in inside.items()}


@pytest.mark.parametrize("how", ["normal", "heavy", "growing", "waves", "discrete"])
def test_as_many_labels_lie_inside_as_promised(how):
    draw = np.random.default_rng(3)
    n = 4000
    errors = {
        "normal": draw.normal(size=n),
        "heavy": draw.standard_t(2, size=n),
        "growing": draw.normal(size=n) * np.linspace(1, 50, n),
        "waves": draw.normal(size=n) * (1.0 + 5.0 * (np.arange(n) // 300 % 2)),
        "discrete": draw.integers(-3, 4, size=n).astype(float),
    }[how]
    found = shares(errors)

    for level, share in found.items():
        slack = 0.12 if how == "discrete" else 0.03
        assert level - slack <= share, (level, share)
        if how != "discrete":
            assert share <= level + slack, (level, share)


def test_there_is_no_interval_before_enough_is_known():
    state = np.zeros(intervals.SIZE)
    intervals.update(state, np.zeros(20), np.ones(20))

    assert intervals.half_width(state, 0.9) is None


def test_cuts_change_no_bit_and_rows_without_label_change_nothing():
    draw = np.random.default_rng(4)
    scores, y = draw.normal(size=900), draw.normal(size=900)
    y[::9] = np.nan
    whole, pieces, alone = (np.zeros(intervals.SIZE) for _ in range(3))
    intervals.update(whole, scores, y)
    for first in range(0, 900, 7):
        intervals.update(pieces, scores[first : first + 7], y[first : first + 7])
    intervals.update(alone, scores[~np.isnan(y)], y[~np.isnan(y)])

    assert whole.tobytes() == pieces.tobytes() == alone.tobytes()


def test_a_wider_promise_is_a_wider_interval():
    state, draw = np.zeros(intervals.SIZE), np.random.default_rng(5)
    intervals.update(state, np.zeros(2000), draw.normal(size=2000))
    widths = [
        intervals.half_width(state, level) or 0.0
        for level in (0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
    ]

    assert widths == sorted(widths)
    assert 1.4 < widths[3] < 1.9  # 1.645 of a standard normal


def test_the_share_inside_is_that_of_intervals_told_before_each_label():
    state, draw = np.zeros(intervals.SIZE), np.random.default_rng(6)
    inside = []
    for error in draw.normal(size=900):
        half = intervals.half_width(state, 0.9)
        if half is not None:
            inside.append(abs(error) <= half)
        intervals.update(state, np.zeros(1), np.array([error]))

    assert intervals.coverage(np.zeros(intervals.SIZE))["0.9"] is None
    assert intervals.coverage(state)["0.9"] == pytest.approx(np.mean(inside))


def test_the_largest_numbers_leave_finite_ones():
    state = np.zeros(intervals.SIZE)
    y = np.tile([1.7e308, 1e-300, -1.7e308, 0.0, 5e-324], 200)
    intervals.update(state, np.zeros(1000), y)
    intervals.update(state, np.full(1000, -1.7e308), y)

    assert np.isfinite(state).all()


def test_levels_that_drifted_apart_keep_their_order():
    state = np.zeros(intervals.SIZE)
    intervals.update(state, np.zeros(600), np.random.default_rng(7).normal(size=600))
    moved = state[2 * intervals.KEPT + 3 :][: len(intervals.LEVELS)]
    moved[:] = [0.2, -0.2, 0.05, -0.1, 0.0]
    levels = (0.5, 0.6, 0.8, 0.9, 0.95, 0.99)
    widths = [intervals.half_width(state, level) or 0.0 for level in levels]

    assert widths == sorted(widths)


@pytest.mark.parametrize("kind", ["linear", "mlp", "rls"])
def test_a_learner_holds_its_promise_on_a_stream_that_drifts(kind):
    learner = learner_of(recipe(kind, STREAM, holdout=0.1))
    draw = np.random.default_rng(8)
    at = 0
    for cut in range(60):
        x = draw.normal(size=50)
        noise = draw.standard_t(3, size=50) * (1.0 + cut // 20)
        y = (3.0 - 0.1 * cut) * x + 20.0 + noise
        events = [{"id": at + i, "x": x[i], "v": y[i]} for i in range(50)]
        take(learner, [record(at + i, event) for i, event in enumerate(events)])
        at += 50
    found = intervals.coverage(learner.state.intervals["v"])

    for level in (0.5, 0.8, 0.9, 0.95):
        assert found[f"{level:g}"] == pytest.approx(level, abs=0.03), found
    state = learner.state.intervals["v"]
    assert learner.events_learned == state[2 * intervals.KEPT + 1] < 3000, "none that is held out"


def test_a_row_whose_score_is_not_finite_does_not_count():
    plain = {"type": "number", "scale": "none"}
    learner = learner_of(
        recipe(event={**STREAM, "features": {"x": plain}, "targets": {"v": plain}})
    )
    good = [record(i, {"id": i, "x": i % 3, "v": i % 5}) for i in range(50)]
    take(learner, good)
    before = learner.state.intervals["v"].copy()
    step = take(learner, [record(50, {"id": 50, "x": 1e29, "v": 1e29})])

    assert {"quarantined/not_finite": 1} == step.counts
    assert before.tobytes() == learner.state.intervals["v"].tobytes()
