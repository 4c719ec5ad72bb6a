"""Intervals hold the share of labels that they promise, on quiet streams and on others."""

from __future__ import annotations

import numpy as np
import pytest

from service.model import intervals


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
