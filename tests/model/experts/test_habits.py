"""Which class comes after which, of events that share the value of a category."""

from __future__ import annotations

import numpy as np

from service.model.experts.habits import Habits
from service.model.experts.seam import Task
from tests.model.experts.rows import Seen, held, predictions, rows

N = 1500


def told(following):
    """Return labels and what each member says of them, by its name. Events are of five shops and five
    cities by turns of chance; following: the next class of a shop from its last one and a source of chance."""
    seen, draw = Seen("multiclass"), np.random.default_rng(2)
    given = rows(seen, N)
    shop = next(i for i, name in enumerate(seen.shared.table_names) if "shop" in name)
    y, last = np.zeros(N), np.zeros(6)
    for r in range(N):
        key = given.ids[r, shop]
        y[r] = last[key] = following(last[key], key, draw)
    expert = Habits(seen.fields, Task("multiclass", 3, 7))
    found = predictions(expert, seen, N)
    expert.learn(held(expert.tensors), seen.inputs(given, y), found)
    return y, dict(zip(expert.members, found.swapaxes(0, 1), strict=True))


def accuracy(y, p):
    """Return how often the likeliest class came in the second half."""
    return (p.argmax(axis=1) == y)[N // 2 :].mean()


def test_what_a_shop_does_after_what_it_did_is_learned():
    """Each shop goes round the three classes, one event in twenty by chance."""
    y, said = told(
        lambda last, _, draw: (last + 1) % 3 if draw.random() < 0.95 else draw.integers(3)
    )

    assert accuracy(y, said["habits/last"]) > 0.9
    assert accuracy(y, said["habits/two"]) > 0.9
    assert accuracy(y, said["habits/own"]) < 0.5


def test_what_each_shop_does_most_is_learned():
    y, said = told(lambda _, key, draw: key % 3 if draw.random() < 0.8 else draw.integers(3))

    assert accuracy(y, said["habits/own"]) > 0.8


def test_labels_by_chance_are_said_to_be_so():
    y, said = told(lambda _, __, draw: draw.integers(3))

    for p in said.values():
        np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-5)
        assert -np.log(p[np.arange(N), y.astype(int)])[N // 2 :].mean() < 1.12
