"""Fields come and go, and every expert goes on."""

from __future__ import annotations

import numpy as np
import pytest

from service.model.experts import EXPERTS
from service.model.experts import curvature_whole_pass as compiled
from service.model.experts.curvature import Curved
from service.model.experts.curvature_pass import BIAS, GONE
from service.model.experts.moved import mark, move
from tests.model.experts.rows import FEATURES, TARGETS, Seen, held, labels, predictions, rows
from tests.model.experts.solving import fields_of

ONE = {name: {name: FEATURES[name]} for name in FEATURES}
PLACE = {"place": {"type": "vector", "size": 2}}
WAYS = {
    "all but a text go": (FEATURES, ONE["title"]),
    "a category goes": (FEATURES, {k: v for k, v in FEATURES.items() if k != "city"}),
    "one number stays": (FEATURES, ONE["amount"]),
    "a number joins a text": (ONE["title"], ONE["title"] | ONE["amount"]),
    "a category joins a text": (ONE["title"], ONE["title"] | ONE["shop"]),
    "a category joins a vector": (PLACE, PLACE | ONE["shop"]),
    "others take the place of all": (ONE["amount"] | ONE["shop"], ONE["income"] | ONE["city"]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", TARGETS)
def test_fields_come_and_go_and_every_expert_goes_on(kind, way):
    old, new = (Seen(kind, features) for features in WAYS[way])
    for name, one in EXPERTS.items():
        if kind not in one.fits:
            continue
        expert, grown = one(old.fields, old.task), one(new.fields, new.task)
        if not (expert.members and grown.members):
            continue
        memory = taught(expert, held(expert.tensors), old)[0]
        moved, former = held(grown.tensors), {t.name: t for t in expert.tensors}
        for tensor in grown.tensors:
            before = former[tensor.name]
            if mark(tensor) == mark(before) and tensor.shape == before.shape:
                moved.at[tensor.name][...] = memory.at[tensor.name]
            elif 0 not in tensor.shape + before.shape:
                move(before, tensor, memory.at[tensor.name], moved.at[tensor.name])
        grown.added(moved)
        moved, found = taught(grown, moved, new, seed=1)

        assert np.isfinite(found).all(), name
        assert all(np.isfinite(array).all() for array in moved.at.values()), name
        if name in ("newton", "squares"):  # all columns that are other than 0 find places
            for part in ("plain", "all"):
                order, n = moved.at[f"{part}_order"], int(moved.at[f"{part}_counts"][0])
                assert 1 < n <= len(order), name
                assert (order[:n] >= -1).all(), name
                assert len(set(order.tolist())) == len(order), name


def taught(expert, memory, seen, seed=0):
    """Return tensors and predictions after 120 rows."""
    given = rows(seen, 120, seed)
    y = np.random.default_rng(seed).integers(0, 2, 120).astype(float)
    if seen.schema.tables and seen.schema.values:
        y = labels(seen, given)
    found = predictions(expert, seen, 120)
    expert.learn(memory, seen.inputs(given, y), found)
    return memory, found


def curved(n: int = 7):
    """Return a set of a bias and six columns, its tensors and its curvatures [K, n, n]; n: how many
    are in use, all of them learned."""
    order = np.array([BIAS, *range(6)])
    made = Curved("a", order, [(0.9999, 1.0), (0.99, 0.5)], 1, 1000, fields_of(6, 0, 0))
    memory, draw = held(made.tensors), np.random.default_rng(2)
    part, half = made.part(memory), draw.normal(size=(2, n, n))
    whole = half @ half.transpose(0, 2, 1) + np.eye(n)
    part.counts[0] = n
    part.curvature[:, : n * (n + 1) // 2] = whole[:, *np.tril_indices(n)]
    part.weights[:, :n] = np.arange(n)
    compiled.renew(part, n)
    return made, part, memory, whole


def test_columns_that_are_no_more_give_their_places_to_others():
    made, part, memory, whole = curved()
    part.order[[1, 4]] = GONE  # what was column 0, and 3

    made.added(memory)

    assert part.order.tolist() == [BIAS, 1, 2, 4, 5, 0, 3]
    assert part.counts[0] == 5
    assert part.weights[0, :6].tolist() == [0, 2, 3, 5, 6, 0]
    left = np.ix_([0, 2, 3, 5, 6], [0, 2, 3, 5, 6])
    for k in range(2):
        np.testing.assert_allclose(
            part.inverse[k, :5, :5], np.linalg.inv(whole[k][left]), rtol=1e-3
        )
    assert not part.inverse[:, 5:].any()
    assert not part.inverse[:, :, 5:].any()
    assert not part.curvature[:, 15:].any()


def test_where_no_column_goes_nothing_is_computed_anew():
    made, part, memory, _ = curved(5)
    part.fresh[:3] = 1.0
    before = {name: one.copy() for name, one in memory.at.items()}

    made.added(memory)

    assert all((memory.at[name] == before[name]).all() for name in before)


def test_more_columns_in_use_than_there_are_any_more_are_cut_to_those():
    made, part, memory, whole = curved()
    part.counts[0] = 36

    made.added(memory)

    assert part.counts[0] == 7
    np.testing.assert_allclose(part.inverse[1, :7, :7], np.linalg.inv(whole[1]), rtol=1e-3)
