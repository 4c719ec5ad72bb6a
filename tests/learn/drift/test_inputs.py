"""Input drift: what is missing, what was never seen, what lies elsewhere, before labels come."""

from __future__ import annotations

import numpy as np
import pytest

from service.learn.drift import inputs
from service.model.drift_tensors import CATEGORY, NUMBER, SEEN_WORDS

REFERENCE = 2000
LIMITS = np.array([REFERENCE, 0.1, 0.25, 0.1])
MISSING, PSI, UNSEEN = 0, 1, 2


class Number:
    """The memory of one number field."""

    def __init__(self) -> None:
        self.vector = np.zeros((1, NUMBER))

    def take(self, values) -> list[int]:
        """Return alarms by measure."""
        fired = np.zeros((1, 3), dtype=np.int64)
        inputs.take_numbers(np.asarray(values)[:, None], self.vector, LIMITS, fired)
        return fired[0].tolist()

    @property
    def now(self) -> dict[str, float] | None:
        return inputs.measured(self.vector[0], coded=False)


class Category:
    """The memory of one category field."""

    def __init__(self) -> None:
        self.vector = np.zeros((1, CATEGORY))
        self.seen = np.zeros((1, SEEN_WORDS), dtype=np.int64)

    def take(self, codes) -> list[int]:
        """Return alarms by measure."""
        fired = np.zeros((1, 3), dtype=np.int64)
        given = np.asarray(codes, dtype=np.uint64)[:, None]
        inputs.take_codes(given, self.vector, self.seen, LIMITS, fired)
        return fired[0].tolist()

    @property
    def now(self) -> dict[str, float]:
        found = inputs.measured(self.vector[0], coded=True)
        assert found is not None
        return found


@pytest.mark.parametrize("draw", ["normal", "lognormal", "few values", "constant"])
def test_a_number_that_stays_gives_no_alarm(draw):
    """100,000 events of one distribution, heavy tails and ties included."""
    rng, field = np.random.default_rng(1), Number()
    values = {
        "normal": lambda: rng.normal(size=100_000),
        "lognormal": lambda: rng.lognormal(sigma=3.0, size=100_000),
        "few values": lambda: rng.integers(0, 3, 100_000).astype(float),
        "constant": lambda: np.full(100_000, 7.0),
    }[draw]()

    assert [0, 0, 0] == field.take(values)
    assert field.now is not None
    assert field.now["psi"] < 0.15


def test_a_number_that_moves_is_an_alarm_once():
    """By one deviation, within 1,500 events; it is not said again while it lasts."""
    rng, field = np.random.default_rng(2), Number()
    assert [0, 0, 0] == field.take(rng.normal(size=5000))
    assert [0, 1, 0] == field.take(rng.normal(1.0, 1.0, size=1500))
    assert [0, 0, 0] == field.take(rng.normal(1.0, 1.0, size=5000))
    assert field.now is not None
    assert field.now["psi"] > 0.25


def test_an_alarm_comes_again_after_all_was_well():
    """Back to the reference, and away again."""
    rng, field = np.random.default_rng(3), Number()
    field.take(rng.normal(size=5000))
    assert [0, 1, 0] == field.take(rng.normal(2.0, 1.0, size=3000))
    assert [0, 0, 0] == field.take(rng.normal(size=8000))
    assert [0, 1, 0] == field.take(rng.normal(2.0, 1.0, size=3000))


def test_a_number_that_only_grows_is_seen():
    """A clock, a counter: everything recent lies above the whole reference."""
    field = Number()

    assert [0, 1, 0] == field.take(np.arange(5000.0))


def test_the_index_is_that_of_its_definition():
    """Against shares counted by hand: the same bins, the recent events faded."""
    rng, field = np.random.default_rng(4), Number()
    values = np.concatenate((rng.normal(size=REFERENCE), rng.normal(0.7, 1.2, size=4000)))
    field.take(values)
    sample = np.sort(values[:REFERENCE][:: REFERENCE // 256][:256])
    edges = [sample[(i + 1) * len(sample) // 10] for i in range(9)]
    fade = 0.999 ** np.arange(4000)[::-1]
    bins = np.searchsorted(edges, values, side="left")
    q = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=10) + 0.5
    p = 1000 * np.bincount(bins[REFERENCE:], weights=fade, minlength=10) / fade.sum() + 0.5
    q, p = q / q.sum(), p / p.sum()

    assert field.now is not None
    assert field.now["psi"] == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-9)


def test_a_field_that_goes_missing_is_an_alarm():
    """Of a number and of a category; the share is that of recent events less the reference's."""
    rng = np.random.default_rng(5)
    number, category = Number(), Category()
    present, absent = rng.random(5000) < 0.95, rng.random(2000) < 0.5
    number.take(np.where(present, rng.normal(size=5000), np.nan))
    category.take(np.where(present, rng.integers(1, 9, 5000), 0))

    assert [1, 0, 0] == number.take(np.where(absent, np.nan, rng.normal(size=2000)))
    assert [1, 0, 0] == category.take(np.where(absent, 0, rng.integers(1, 9, 2000)))
    assert number.now is not None
    assert number.now["missing"] == pytest.approx(0.40, abs=0.08)
    assert category.now["missing"] == pytest.approx(0.40, abs=0.08)


def test_categories_that_were_never_seen_are_an_alarm():
    """A new feed with other names: unseen, and elsewhere."""
    rng, field = np.random.default_rng(6), Category()
    known, new = (rng.integers(1, 2**63, 40, dtype=np.uint64) for _ in range(2))
    assert [0, 0, 0] == field.take(rng.choice(known, 6000))
    assert field.now["unseen"] == 0.0
    assert [0, 1, 1] == field.take(rng.choice(new, 2000))
    assert field.now["unseen"] > 0.8


def test_a_field_of_ever_new_values_is_no_alarm():
    """An order number is new every time: it was so in the reference as well."""
    rng, field = np.random.default_rng(7), Category()

    assert [0, 0, 0] == field.take(rng.integers(1, 2**63, 50_000, dtype=np.uint64))
    assert abs(field.now["unseen"]) < 0.1


def test_a_reference_keeps_the_length_it_began_with():
    """Settings that change in the middle of it are those of the next."""
    rng, field = np.random.default_rng(9), Number()
    field.take(rng.normal(size=1500))
    fired = np.zeros((1, 3), dtype=np.int64)
    shorter = np.array([500.0, *LIMITS[1:]])
    inputs.take_numbers(rng.normal(size=(8000, 1)), field.vector, shorter, fired)

    assert 0 == fired.sum()
    assert field.now is not None
    assert field.now["psi"] < 0.15


def test_a_reference_that_begins_again_forgets_all_but_the_alarms():
    """What comes next is what later events are compared with."""
    rng, field = np.random.default_rng(10), Number()
    field.take(rng.normal(size=5000))
    assert [0, 1, 0] == field.take(rng.normal(3.0, 1.0, size=3000))
    inputs.begin_again(field.vector)
    assert field.now is None
    assert [0, 0, 0] == field.take(rng.normal(3.0, 1.0, size=5000))
    assert 1 == field.vector[0, inputs.ALARMS + 2 * PSI]


def test_how_events_are_cut_makes_no_difference():
    """One by one, by nine, or all at once: the same bits."""
    rng = np.random.default_rng(8)
    values, codes = rng.normal(size=4500), rng.integers(0, 99, 4500)
    values[codes < 10] = np.nan
    found = []
    for size in (1, 9, 4500):
        number, category = Number(), Category()
        for at in range(0, 4500, size):
            number.take(values[at : at + size])
            category.take(codes[at : at + size])
        vectors = (number.vector, category.vector, category.seen)
        found.append(b"".join(vector.tobytes() for vector in vectors))

    assert 1 == len(set(found))
