"""Columns to rows."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.events.decode import take
from service.model.featurizer import Featurizer
from service.model.layout import Layout
from service.model.scorer import Scorer
from service.model.state import State
from tests.model.streams import columns, one_number, recipe


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
