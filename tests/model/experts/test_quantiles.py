"""Least squares on the place of a label among recent ones."""

from __future__ import annotations

import numpy as np

from service.model.experts.quantiles import FREE, GONE, MOST, Quantiles
from service.model.experts.quantiles_pass import RIDGE
from service.model.experts.seam import Task
from tests.model.experts.rows import Seen, held, predictions, rows

TASK = Task("number", 1, 0)
N = 1500


def told(labels_of):
    """Return labels, what is predicted of them, and the first number of each row, which labels_of gets
    with a source of chance."""
    seen, draw = Seen("number"), np.random.default_rng(0)
    given = rows(seen, N)
    given.numbers[:], given.ids[:] = draw.normal(size=given.numbers.shape), 1
    x = given.numbers[:, 0]
    y = labels_of(x, draw)
    expert = Quantiles(seen.fields, TASK)
    memory, found = held(expert.tensors), predictions(expert, seen, N)
    expert.learn(memory, seen.inputs(given, y), found)
    return y, found[:, 0, 0], x


def error(y, found):
    """Return the mean absolute error of the second half."""
    return np.abs(y - found)[N // 2 :].mean()


def test_errors_that_multiply_are_learned_as_those_that_add():
    """A tail as long as that of prices: the median is exp(2 x)."""
    y, found, x = told(lambda x, draw: np.exp(2 * x + 0.5 * draw.normal(size=N)))

    assert error(y, found) < 1.15 * error(y, np.exp(2 * x))


def test_it_says_the_label_that_most_have_and_leaves_it_where_fewer_do():
    """Three of five are 0; the others grow with x."""
    _, found, x = told(lambda x, draw: np.maximum(x + 0.2 * draw.normal(size=N) - 0.25, 0.0))
    late = np.arange(N) >= N // 2

    assert (found[late & (x < -0.5)] == 0.0).all()
    assert np.abs(found - x + 0.25)[late & (x > 1.0)].mean() < 0.5  # always 0: 1.3


def test_a_label_that_is_wrong_by_far_draws_no_prediction_to_it():
    def labels(x, draw):
        y = 2 * x + 0.1 * draw.normal(size=N)
        y[100::200] = 1000.0
        return y

    _, found, x = told(labels)

    assert np.abs(found).max() < 20.0
    assert np.abs(found - 2 * x)[N // 2 :].mean() < 0.3


def test_in_another_unit_it_predicts_the_same_and_equal_labels_stay_equal():
    seen = Seen("number")
    given = rows(seen, 300)
    y = np.random.default_rng(1).integers(-4, 5, 300) / 3
    expert = Quantiles(seen.fields, TASK)
    memory, found = held(expert.tensors), predictions(expert, seen, 300)
    inputs = seen.inputs(given, y)
    expert.learn(memory, inputs, found)
    before, after = np.empty_like(found), np.empty_like(found)
    expert.score(memory, inputs, before)
    expert.rescale(memory, 0.7, 3.1)
    for column in np.flatnonzero(expert._labels):
        inputs.x[:, column] = 0.7 * inputs.x[:, column] + 3.1
    expert.score(memory, inputs, after)

    assert np.ptp(before) > 0.1
    np.testing.assert_allclose(after, 0.7 * before + 3.1, atol=1e-4)


def test_columns_in_use_stay_where_fields_come_and_go_and_free_places_are_taken_anew():
    expert = Quantiles(Seen("number").fields, TASK)
    memory = held(expert.tensors)
    chosen, at = memory.at["chosen"], memory.at
    before = chosen.copy()
    used = int((before >= 0).sum())
    gone, new = before[3], before[used - 1]
    chosen[3], chosen[used - 1] = GONE, FREE  # one is no more, one has come
    at["weights"][4] = at["gradient"][4] = 1.0
    at["curvature"][4, :] = at["curvature"][:, 4] = 7.0

    expert.added(memory)

    assert chosen[3] in (gone, new)
    assert sorted(chosen[chosen >= 0]) == sorted(before[before >= 0])
    others = [place for place in range(used - 1) if place != 3]
    assert (chosen[others] == before[others]).all()
    assert at["weights"][4] == at["gradient"][4] == 0.0
    assert (at["curvature"] == RIDGE * np.eye(MOST)).all()
