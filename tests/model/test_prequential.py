"""The metrics, held against their definitions on short streams."""

from __future__ import annotations

import numpy as np
import pytest

from service.events.schema import Target
from service.learn import exact
from service.model import prequential

BINARY = Target("b", "binary", 0, 1)
NUMBER = Target("n", "number", 0, 1)
GRADES = Target("g", "multiclass", 0, 3, classes=("x", "y", "z"))


def scored(target: Target, scores: np.ndarray, y: np.ndarray) -> dict:
    """Return the report after these events, fed in pieces."""
    state = prequential.fresh(target)
    for piece in np.array_split(np.arange(len(y)), 7):
        prequential.update(target, state, scores[piece], y[piece])
    return prequential.report(target, state)


def probabilities(n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities and labels."""
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-rng.normal(size=n) * 2))
    return p, (rng.random(n) < p).astype(float)


def test_binary_figures_follow_their_definitions():
    """Accuracy, log loss, F1, AUC, calibration of the cumulative window."""
    p, y = probabilities()
    found = scored(BINARY, p[:, None], y)["metrics"]
    hits = (p >= 0.5) == (y > 0.5)
    tp, fp, fn = (
        ((p >= 0.5) & (y > 0)).sum(),
        ((p >= 0.5) & (y == 0)).sum(),
        ((p < 0.5) & (y > 0)).sum(),
    )

    assert found["accuracy"] == pytest.approx(hits.mean())
    assert found["log_loss"] == pytest.approx(-np.log(np.where(y > 0, p, 1 - p)).mean())
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert found["calibration_ratio"] == pytest.approx(p.sum() / y.sum())
    assert found["auc"] == pytest.approx(exact.auc(p, y), abs=2e-3)
    assert found["average_precision"] == pytest.approx(exact.average_precision(p, y), abs=5e-3)


def test_no_change_repeats_the_last_label_and_prior_the_share():
    """The baselines see only labels that came before."""
    _, y = probabilities()
    found = scored(BINARY, np.full((len(y), 1), 0.5), y)["baselines"]

    assert found["no_change"]["accuracy"] == pytest.approx((y[1:] == y[:-1]).mean(), abs=1e-3)
    share = (np.cumsum(y) - y + 1) / (np.arange(len(y)) + 2)
    loss = -np.log(np.where(y > 0, share, 1 - share)).mean()
    assert found["prior"]["log_loss"] == pytest.approx(loss)


def test_the_fading_window_weighs_an_event_by_its_age():
    """Weights 0.999^age, also past the point where the sums are rescaled."""
    n = 25_000
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=n), np.zeros(n)
    y[-1000:] += 5.0
    found = scored(NUMBER, p[:, None], y)["fading"]
    weight = 0.999 ** np.arange(n - 1, -1, -1)

    assert found["mae"] == pytest.approx((weight * np.abs(y)).sum() / weight.sum())
    mean = (weight * y).sum() / weight.sum()
    spread = (weight * (y - mean) ** 2).sum()
    assert found["r2"] == pytest.approx(1 - (weight * y**2).sum() / spread)


def test_labels_that_are_all_one_have_no_r2():
    """Whatever is left of them by rounding is no spread."""
    y = np.full(1000, 7.49)
    found = scored(NUMBER, np.full((1000, 1), 7.0), y)

    assert [None, None] == [found[window]["r2"] for window in ("metrics", "fading")]
    assert 0.49 == pytest.approx(found["fading"]["mae"])


def test_number_figures_follow_their_definitions():
    """MAE, RMSE, R2 and the mean as prior."""
    rng = np.random.default_rng(2)
    y = rng.normal(3.0, 2.0, 500)
    p = y + rng.normal(size=500)
    report = scored(NUMBER, p[:, None], y)

    assert report["metrics"]["mae"] == pytest.approx(np.abs(p - y).mean())
    assert report["metrics"]["rmse"] == pytest.approx(np.sqrt(((p - y) ** 2).mean()))
    before = np.concatenate(([0.0], np.cumsum(y)[:-1] / np.arange(1, 500)))
    assert report["baselines"]["prior"]["mae"] == pytest.approx(np.abs(before - y).mean())


def test_multiclass_figures_follow_their_definitions():
    """Accuracy, log loss, kappa, macro F1."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 800).astype(float)
    p = rng.dirichlet([1, 1, 1], 800)
    p[np.arange(800), y.astype(int)] += 0.3
    p /= p.sum(1, keepdims=True)
    found = scored(GRADES, p, y)["metrics"]
    guess = p.argmax(1)
    f1 = [
        2 * ((guess == c) & (y == c)).sum() / ((guess == c).sum() + (y == c).sum())
        for c in range(3)
    ]
    chance = sum((guess == c).mean() * (y == c).mean() for c in range(3))
    accuracy = (guess == y).mean()

    assert found["accuracy"] == pytest.approx(accuracy)
    assert found["kappa"] == pytest.approx((accuracy - chance) / (1 - chance))
    assert found["f1_macro"] == pytest.approx(np.mean(f1))
    assert found["log_loss"] == pytest.approx(-np.log(p[np.arange(800), y.astype(int)]).mean())


@pytest.mark.parametrize("target", [BINARY, NUMBER, GRADES], ids=lambda t: t.kind)
def test_missing_labels_and_scores_that_are_not_finite_are_not_averaged_in(target):
    """They leave the state as it was."""
    state = prequential.fresh(target)
    before = state.copy()
    scores = np.full((4, target.outputs), np.nan)
    scores[:2] = 0.3

    prequential.update(target, state, scores, np.array([np.nan, np.nan, 1.0, 1.0]))

    assert np.array_equal(before, state)


def test_before_the_first_event_no_figure_is_claimed():
    """None, not zero, and no division error."""
    report = prequential.report(BINARY, prequential.fresh(BINARY))

    assert 0 == report["scored"]
    assert {None} == set(report["metrics"].values())
