"""ADWIN and Page-Hinkley: like their plain references, quiet without drift, quick with it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.learn.drift import adwin, detectors, page_hinkley, rises
from service.model.drift_tensors import ADWIN, PAGE_HINKLEY, RISE
from tests.learn.drift import plain
from tests.model.experts.pieces import opened

PIECES = SimpleNamespace(adwin=opened(adwin, "take").take, page=opened(page_hinkley, "take").take)
LIMITS = np.array([0.002, 0.1, 100.0, 1000.0, 1.0, 1.0])


class Target:
    """The detectors' vectors for one target."""

    def __init__(self, *, is_number: bool = False, most: float = 1.0) -> None:
        self.vectors = (np.zeros(ADWIN), np.zeros(PAGE_HINKLEY), np.zeros(RISE))
        self._kind = (is_number, most)

    def take(self, losses) -> tuple[int, int]:
        """Return how many alarms ADWIN and Page-Hinkley gave."""
        fired = np.zeros(2, dtype=np.int64)
        detectors.take(
            np.asarray(losses, dtype=np.float64), *self.vectors, *self._kind, LIMITS, fired
        )
        return int(fired[0]), int(fired[1])

    def figures(self, detector: int) -> list[float]:
        at = rises.FIRST + rises.FIGURES * detector
        return self.vectors[2][at : at + rises.FIGURES].tolist()


def wrong(n: int, share: float, rng) -> np.ndarray:
    """0/1 losses."""
    return (rng.random(n) < share).astype(np.float64)


def log_losses(n: int, share: float, rng) -> np.ndarray:
    """Log losses of honest probabilities of an event that comes with about this share."""
    p = 1 / (1 + np.exp(-rng.normal(size=n) - np.log(share / (1 - share))))
    return -np.log(np.where(rng.random(n) < p, p, 1 - p))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=4),
    delta=st.sampled_from([0.002, 0.05, 0.5]),
    reach=st.sampled_from([1.0, 4.0]),
)
def test_adwin_is_that_of_the_paper(seed, lengths, delta, reach):
    """Alarms, width and figures of the window, for losses whose mean jumps."""
    rng = np.random.default_rng(seed)
    state, reference = np.zeros(ADWIN), plain.Adwin(delta, reach)
    for length in lengths:
        level = rng.random()
        for loss in np.minimum(level * rng.exponential(size=length), reach).tolist():
            assert reference.take(loss) == PIECES.adwin(state, loss, delta, reach)
            assert reference.width == state[0]
    assert reference.total == pytest.approx(state[1], rel=1e-9, abs=1e-9)
    assert reference.variance * reference.width == pytest.approx(state[2], rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([5.0, 50.0]),
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=4),
)
def test_page_hinkley_can_be_that_of_river(seed, threshold, lengths):
    """With its alpha, an even mean and no scale."""
    rng = np.random.default_rng(seed)
    state, reference = np.zeros(PAGE_HINKLEY), plain.PageHinkley(threshold=threshold)
    for length in lengths:
        for loss in (rng.random() * rng.exponential(size=length)).tolist():
            found = PIECES.page(state, loss, 0.005, threshold, 0.9999, 30.0, 0.0, False)
            assert reference.take(loss) == bool(found)
    assert reference.sum == pytest.approx(state[2], abs=1e-6)


def test_page_hinkley_does_not_care_for_the_unit_of_a_loss():
    """The same alarms for losses a thousand times as large."""
    rng = np.random.default_rng(3)
    losses = np.concatenate((rng.exponential(size=3000), 2 * rng.exponential(size=3000)))
    small, large = np.zeros(PAGE_HINKLEY), np.zeros(PAGE_HINKLEY)
    rest = (0.1, 100.0, page_hinkley.ALPHA, page_hinkley.GRACE, page_hinkley.FORGET, True)
    found = [PIECES.page(small, loss, *rest) for loss in losses.tolist()]
    again = [PIECES.page(large, 1024.0 * loss, *rest) for loss in losses.tolist()]

    assert found == again
    assert 1 in found


@pytest.mark.parametrize(
    ("losses", "kind"),
    [
        (lambda rng: wrong(500_000, 0.2, rng), {}),
        (lambda rng: wrong(500_000, 0.005, rng), {}),
        (lambda rng: log_losses(500_000, 0.5, rng), {"most": 4.7}),
        (lambda rng: log_losses(500_000, 0.01, rng), {"most": 4.7}),
        (lambda rng: rng.normal(size=500_000) ** 2, {"is_number": True}),
        (lambda rng: rng.standard_cauchy(size=500_000) ** 2, {"is_number": True}),
    ],
    ids=["0/1", "0/1 rare", "log", "log rare", "errors", "heavy errors"],
)
def test_there_is_no_alarm_while_nothing_changes(losses, kind):
    """Half a million losses give 15,625 looks, of which delta lets 0.2 % be wrong; none is."""
    assert (0, 0) == Target(**kind).take(losses(np.random.default_rng(11)))


@pytest.mark.parametrize("kind", ["0/1", "log"])
def test_an_abrupt_drift_is_seen_soon(kind):
    """Errors from 20 % to 50 %, after 2,000 and after 20,000 quiet losses: within 250 losses."""
    for before in (2_000, 20_000):
        rng = np.random.default_rng(before)
        quiet, loud = wrong(before, 0.2, rng), wrong(250, 0.5, rng)
        target = Target(most=1.0 if kind == "0/1" else 4.7)
        scale = 1.0 if kind == "0/1" else 3.0
        assert (0, 0) == target.take(scale * quiet)
        assert all(target.take(scale * loud))


def test_a_gradual_drift_is_seen_before_it_is_over():
    """Errors go from 20 % to 40 % over 10,000 losses."""
    rng = np.random.default_rng(5)
    target = Target()
    assert (0, 0) == target.take(wrong(10_000, 0.2, rng))
    rising = rng.random(10_000) < np.linspace(0.2, 0.4, 10_000)
    assert all(target.take(rising))


def test_losses_that_fall_are_no_alarm():
    """Learning is no drift: the window is cut, nobody is called."""
    rng = np.random.default_rng(6)
    target = Target()
    assert (0, 0) == target.take(np.concatenate((wrong(3000, 0.5, rng), wrong(3000, 0.1, rng))))
    assert target.vectors[0][0] < 4000


def test_an_absurd_error_is_no_drift():
    """One label of 1e12 among errors of about 1, and losses that are not finite."""
    target = Target(is_number=True)
    losses = np.random.default_rng(7).normal(size=20_000) ** 2
    losses[10_000] = 1e24
    losses[10_001:10_003] = [np.inf, np.nan]

    assert (0, 0) == target.take(losses)
    assert 19_998 == target.vectors[2][0]


def test_an_alarm_stands_beside_what_always_firing_would_have_found():
    """Losses double for good: alarms come with a rise, moments at random mostly without."""
    rng = np.random.default_rng(8)
    target = Target(most=10.0)
    target.take(np.minimum(rng.exponential(size=10_500), 10))
    target.take(np.minimum(2 * rng.exponential(size=9_500), 10))
    alarms, known, total, hits, _ = target.figures(0)
    always, at, rise, found, _ = target.figures(2)

    assert 1 == alarms == known == hits
    assert total > 1.2
    assert (20, 19) == (always, at), "the first has no 1,000 losses before its last 200"
    assert rise / at < 1.2
    assert found <= 3


def test_how_losses_are_cut_makes_no_difference():
    """One by one, by seven, or all at once: the same bits."""
    rng = np.random.default_rng(9)
    losses = np.concatenate((rng.exponential(size=2500), 3 * rng.exponential(size=1500)))
    found = []
    for size in (1, 7, 4000):
        target = Target(is_number=True)
        for at in range(0, 4000, size):
            target.take(losses[at : at + size])
        found.append(np.concatenate(target.vectors).tobytes())

    assert 1 == len(set(found))
