"""Columns to rows."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.columns import take
from service.model.featurizer import Featurizer
from service.model.layout import Layout
from service.model.scales import MODES
from service.model.scorer import Scorer
from service.model.state import State
from tests.model.streams import WIDE, columns, one_number, recipe


def test_a_number_is_standardised_by_what_came_before_it():
    """z uses the running mean and variance before the event, then the event moves them."""
    of = recipe(event={"features": {"a": {"type": "number"}}, "targets": {"y": {"type": "binary"}}})
    values = np.random.default_rng(0).normal(10.0, 3.0, 200)
    given_columns = one_number(values, np.ones(200))
    scales = State.fresh(Layout(of)).scales

    x = Featurizer(of.schema).rows(given_columns, scales, np.ones(200, np.uint8)).x

    expected = [(v - values[:i].mean()) / values[:i].std() for i, v in enumerate(values) if i > 1]
    np.testing.assert_allclose(x[2:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(scales.normaliser[0, 1:], [values.mean(), values.var()], rtol=1e-9)


def test_a_missing_number_is_zero_with_its_flag_set():
    """Unknown is not the same as average."""
    of = recipe()
    state = State.fresh(Layout(of))
    some = columns(50)
    some.numbers[7] = np.nan

    x = Featurizer(of.schema).rows(some, state.scales).x

    assert [0.0, 1.0, 0.0, 1.0] == x[7].tolist()


def scaled(values: np.ndarray, scale: str) -> tuple[np.ndarray, State]:
    """Return the inputs of one number field [N], and the state afterwards."""
    of = recipe(
        event={
            "features": {"a": {"type": "number", "scale": scale}},
            "targets": {"y": {"type": "binary"}},
        }
    )
    state = State.fresh(Layout(of))
    some = one_number(values, np.ones(len(values)))
    learn = np.ones(len(values), np.uint8)
    return Featurizer(of.schema).rows(some, state.scales, learn).x[:, 0], state


def test_log_is_auto_of_logarithms():
    """Of sign(x) log(1 + |x|), so that zero and negative values have their place."""
    values = np.random.default_rng(0).standard_cauchy(500)

    found, _ = scaled(values, "log")

    expected, _ = scaled(np.sign(values) * np.log1p(np.abs(values)), "auto")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bend", [np.exp, np.cbrt, lambda v: 1e9 * v, np.sinh])
def test_a_rank_is_the_same_however_values_are_bent(bend):
    """quantile: ranks in the order of values, of about unit variance, whatever their tails."""
    values = np.random.default_rng(0).normal(size=4000)

    found = scaled(bend(values), "quantile")[0][1000:]

    rank = (np.argsort(np.argsort(values[1000:])) / 3000 - 0.5) * np.sqrt(12)
    assert np.abs(found - rank).mean() < 0.1
    assert 0.9 < found.std() < 1.1


def test_ranks_follow_values_that_move():
    """After a shift by many deviations, the new values spread over the ranks again."""
    values = np.random.default_rng(0).normal(size=12_000)
    values[4000:] += 50.0

    found, _ = scaled(values, "quantile")

    assert found[4000:4090].min() > 1.7
    assert abs(found[-1000:].mean()) < 0.2
    assert 0.8 < found[-1000:].std() < 1.2


@pytest.mark.parametrize(
    ("make", "chosen"),
    [
        (lambda rng: rng.normal(5.0, 2.0, 3000), "auto"),
        (lambda rng: rng.integers(0, 2, 3000).astype(float), "auto"),
        (lambda rng: np.exp(2.0 * rng.normal(size=3000)), "log"),
        (lambda rng: rng.standard_cauchy(3000), "quantile"),
        (lambda rng: (rng.random(3000) < 0.02).astype(float), "quantile"),
    ],
    ids=["normal", "coin", "heavy", "wild", "rare"],
)
def test_fit_chooses_by_the_first_values_and_keeps_its_choice(make, chosen):
    """auto until 512 values were seen; then what suits them, whatever comes later."""
    values = make(np.random.default_rng(0))

    found, state = scaled(values, "fit")
    same, _ = scaled(values, chosen)
    until, _ = scaled(values, "auto")

    assert MODES[chosen] == state.scales.quantiles[0, 1]
    np.testing.assert_array_equal(found[:512], until[:512])
    np.testing.assert_allclose(found[512:], same[512:], atol=1e-5)
    assert np.isfinite(state.image[: state.layout.scales_bytes].view(float)).all()


@pytest.mark.parametrize("scale", ["auto", "log", "quantile", "fit"])
def test_only_rows_that_are_learned_move_what_scales_them(scale):
    """And one pass gives the bits of a pass per row."""
    of = recipe(event=WIDE | {"features": WIDE["features"] | {
        "amount": {"type": "number", "scale": scale}}})  # fmt: skip
    some = columns(700, of=of)
    learn = (np.arange(700) % 3 > 0).astype(np.uint8)
    whole, pieces, others = (State.fresh(Layout(of)) for _ in range(3))
    featurizer = Featurizer(of.schema)

    all_rows = featurizer.rows(some, whole.scales, learn)
    for r in range(700):
        row = featurizer.rows(take(some, np.array([r])), pieces.scales, learn[r : r + 1])
        same = all_rows.take(np.array([r]))
        for name in ("x", "ids", "spans", "entries", "values"):
            assert getattr(row, name).tobytes() == getattr(same, name).tobytes(), (r, name)
    kept = take(some, np.flatnonzero(learn))
    featurizer.rows(kept, others.scales, np.ones(len(kept), np.uint8))

    assert np.array_equal(whole.image, pieces.image)
    assert np.array_equal(whole.image, others.image)


def test_blocks_are_scaled_value_by_value_and_missing_as_a_whole():
    """A vector by each of its numbers, or to length one; a boolean as it is."""
    event = {
        "features": {
            "each": {"type": "vector", "size": 3},
            "unit": {"type": "vector", "size": 2, "scale": "unit"},
            "yes": {"type": "boolean"},
        },
        "targets": {"y": {"type": "binary"}},
    }
    of = recipe(event=event)
    scorer, state = Scorer(of), State.fresh(Layout(of))
    rng = np.random.default_rng(0)
    many = [{"each": [v, 10 * v, 7.0], "unit": [3, 4]} for v in rng.normal(2.0, 1.0, 50).tolist()]
    columns_, _ = scorer.decoder.features(many)
    scorer.featurizer.rows(columns_, state.scales, np.ones(50, np.uint8))

    asked, _ = scorer.decoder.features(
        [{"each": [2.0, 20.0, 7.0], "unit": [0, 5], "yes": True}, {}]
    )
    x = scorer.featurizer.rows(asked, state.scales).x

    at = {d.name: slice(d.start, d.start + d.width + 1) for d in of.schema.dense}
    first, second, third, missing = x[0, at["each"]].tolist()
    assert [pytest.approx(first, abs=1e-5), 0.0, 0.0] == [second, third, missing]
    assert [0.0, 1.0, 0.0] == x[0, at["unit"]].tolist()
    assert [1.0, 0.0] == x[0, at["yes"]].tolist()
    assert [0.0, 0.0, 0.0, 1.0] == x[1, at["each"]].tolist()
    assert [0.0, 1.0] == x[1, at["yes"]].tolist()


def test_each_combination_of_fields_has_a_row_of_its_own():
    """Categories by name, numbers by half a deviation; a missing one is a value too."""
    event = {
        "features": {
            "shop": {"type": "category", "buckets": 4096},
            "size": {"type": "number", "scale": "none"},
            "new": {"type": "boolean"},
            "when": {"type": "time"},
        },
        "interactions": [["shop", "size"], ["new", "when"]],
        "targets": {"y": {"type": "binary"}},
    }
    of = recipe(event=event)
    scorer, state = Scorer(of), State.fresh(Layout(of))
    many = [{"size": float(v)} for v in np.random.default_rng(0).normal(0.0, 10.0, 1000)]
    scorer.featurizer.rows(scorer.decoder.features(many)[0], state.scales, np.ones(1000, np.uint8))

    def ids(**given: object) -> list[int]:
        asked, faults = scorer.decoder.features([given])
        assert not faults
        return scorer.featurizer.rows(asked, state.scales).ids[0, -2:].tolist()

    names = [t.name for t in of.schema.tables][-2:]
    assert ["new*when", "shop*size"] == names
    noon, evening = "2026-01-31T12:30:00Z", "2026-02-01T18:00:00Z"
    assert [0, 0] == ids()
    assert ids(shop="a", size=1.0) == ids(shop="a", size=3.0)
    different = [ids(shop="a", size=1.0)[1], ids(shop="a", size=9.0)[1], ids(shop="a")[1],
                 ids(shop="b", size=1.0)[1], ids(size=1.0)[1]]  # fmt: skip
    assert 5 == len(set(different))
    assert ids(new=True, when=noon) == ids(new=True, when="2026-07-01T12:00:00Z")
    assert 4 == len({ids(new=b, when=t)[0] for b in (True, False) for t in (noon, evening)})


def test_a_number_in_a_map_is_scaled_by_its_own_name():
    """Two names of very different size come to the same deviations; texts count as they are."""
    event = {"features": {"m": {"type": "map"}}, "targets": {"y": {"type": "binary"}}}
    of = recipe(event=event)
    scorer, state = Scorer(of), State.fresh(Layout(of))
    many = [{"m": {"a": v, "b": 1e6 * v}} for v in np.random.default_rng(0).normal(size=100)]
    scorer.featurizer.rows(scorer.decoder.features(many)[0], state.scales, np.ones(100, np.uint8))

    asked, _ = scorer.decoder.features(
        [{"m": {"a": 1.0}}, {"m": {"b": 1e6}}, {"m": {"c": "x"}}, {}]
    )
    found = scorer.featurizer.rows(asked, state.scales)

    of_a, of_b, of_c, none = (found.take(np.array([r])).values.tolist() for r in range(4))
    assert 2 == len(of_a)
    assert 1.0 in of_a
    np.testing.assert_allclose(sorted(of_a), sorted(of_b), rtol=1e-5)
    assert ([1.0], []) == (of_c, none)


def test_entries_that_meet_in_one_row_become_one():
    """No table row comes twice inside a bag, however few rows there are; values add up."""
    event = {
        "features": {"tags": {"type": "categories", "buckets": 4},
                     "more": {"type": "categories", "buckets": 2}},
        "targets": {"y": {"type": "binary"}},
    }  # fmt: skip
    of = recipe(event=event)
    scorer, state = Scorer(of), State.fresh(Layout(of))
    many = [{"tags": [f"t{i}" for i in range(k)], "more": ["a", "b"]} for k in range(1, 30)]

    found = scorer.featurizer.rows(scorer.decoder.features(many)[0], state.scales)

    for r in range(29):
        more, tags = (
            slice(*pair) for pair in itertools.pairwise(found.spans[r].tolist())
        )  # fmt: skip
        assert len(set(found.entries[tags])) == len(found.entries[tags]) <= 3
        np.testing.assert_allclose(found.values[tags].sum(), (r + 1) ** 0.5, rtol=1e-5)
        assert [1] == found.entries[more].tolist()
        assert 0 < found.entries[tags].min() <= found.entries[tags].max() < 4


def test_one_outlier_does_not_ruin_the_normaliser():
    """After 1e30 among ordinary values, ordinary values are still told apart."""
    of = recipe(event={"features": {"a": {"type": "number"}}, "targets": {"y": {"type": "binary"}}})
    some = one_number(np.random.default_rng(0).normal(size=1000), np.ones(1000))
    some.numbers[500] = 1e30
    scales = State.fresh(Layout(of)).scales

    Featurizer(of.schema).rows(some, scales, np.ones(1000, np.uint8))

    assert scales.normaliser[0, 2] < 10.0


def test_featurizing_does_not_change_its_input():
    """Columns are read only."""
    of = recipe()
    some = columns(30)
    before = [a.copy() for a in (some.numbers, some.codes, some.targets)]

    Featurizer(of.schema).rows(some, State.fresh(Layout(of)).scales, np.ones(30, np.uint8))

    for was, now in zip(before, (some.numbers, some.codes, some.targets), strict=True):
        np.testing.assert_equal(was, now)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "amount": st.floats(-1e9, 1e9) | st.none(),
                "age": st.integers(-100, 100),
                "shop": st.text(max_size=5),
                "tx/kind": st.integers(),
            },
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_same_event_gives_the_same_row_in_learner_and_api(events):
    """Bit for bit, alone or in company, from Kafka's bytes or from a request's objects."""
    of = recipe()
    scorer, state = Scorer(of), State.fresh(Layout(of))
    Featurizer(of.schema).rows(columns(100), state.scales, np.ones(100, np.uint8))

    learned = scorer.decoder.decode_records([json.dumps(e).encode() for e in events]).columns
    asked, _ = scorer.decoder.features(events)
    together = scorer.featurizer.rows(learned, state.scales)
    served = scorer.featurizer.rows(asked, state.scales)
    alone = scorer.featurizer.rows(take(asked, np.array([0])), state.scales)

    assert together.x.tobytes() == served.x.tobytes()
    assert together.ids.tobytes() == served.ids.tobytes()
    assert together.x[0].tobytes() == alone.x[0].tobytes()
