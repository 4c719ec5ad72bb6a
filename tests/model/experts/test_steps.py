"""Labels that stand on a grid, and those that mostly stay what they were."""

from __future__ import annotations

import numpy as np

from service.model.experts import grid_pass as grids
from service.model.experts.mixture import Mixture
from service.model.experts.seam import Held, Task
from service.model.experts.steps import Steps
from tests.model.experts.pieces import opened, readable
from tests.model.experts.rows import Seen, held, predictions, rows

TASK = Task("number", 1, 0)
ALL = np.ones(3, np.uint8)
"""Members that take part."""

grid_passes = opened(grids, "follow", "nearest")


def grid_of(labels):
    """Return what is found after these labels."""
    grid = np.zeros(grids.SIZE)
    for y in labels:
        grid_passes.follow(grid, y)
    return grid


def test_the_step_of_a_grid_is_found_in_any_unit():
    """Whole numbers, halves, and both after they became deviations from a mean."""
    draw = np.random.default_rng(0)
    for step in (1.0, 0.5):
        for scale, mean in ((1.0, 0.0), (8.3, 4.1)):
            labels = (step * draw.integers(0, 9, 200) - mean) / scale
            grid = grid_of(labels)

            np.testing.assert_allclose(grid[0], step / scale)
            for y in labels[:20]:
                np.testing.assert_allclose(grid_passes.nearest(grid, y + 0.4 * step / scale), y)


def test_a_label_beside_the_grid_spoils_one_stretch_of_it():
    labels = np.random.default_rng(0).integers(0, 9, 4000).astype(float)
    labels[100] += 0.25
    long = int(grids.SHORTEST) * 7  # three stretches: 32, 64 and 128

    assert grid_of(labels[:96])[0] == 1.0
    assert grid_of(labels[:long])[0] == 0.25
    assert grid_of(labels)[0] == 1.0


def test_two_values_and_numbers_of_any_size_are_no_grid():
    draw = np.random.default_rng(0)
    for labels in (draw.integers(0, 2, 500).astype(float), draw.normal(size=500), np.ones(500)):
        grid = grid_of(labels)

        assert grid[0] == 0.0
        assert grid_passes.nearest(grid, 0.3) == 0.3


def median_of(y, weights=None):
    """Return what the median says of labels whose rows tell nothing."""
    seen = Seen("number")
    given = rows(seen, len(y))
    given.numbers[:], given.ids[:] = 0.0, 1
    expert = Steps(seen.fields, TASK)
    found = predictions(expert, seen, len(y))
    expert.learn(held(expert.tensors), seen.inputs(given, y, weights), found)
    return found[:, expert.members.index("steps/median"), 0]


def test_it_says_which_way_a_number_goes_and_how_far():
    """From 0 to 3, and back to 0."""
    y = np.tile([0.0, 3.0], 300)
    found = median_of(y)

    np.testing.assert_allclose(found[300:], y[300:], atol=1e-5)


def test_it_says_the_last_label_where_most_stay_and_none_knows_when_one_moves():
    draw = np.random.default_rng(3)
    y = np.cumsum(draw.choice([-1.0, 0.0, 1.0], 600, p=[0.15, 0.7, 0.15]))
    found = median_of(y)

    assert (found[301:] == y[300:-1].astype(np.float32)).mean() > 0.95


def mixed(y, spread):
    """Return what a mixture of three members says that are off by `spread`, and its memory."""
    draw = np.random.default_rng(1)
    p = (y[:, None] + spread * draw.normal(size=(len(y), 3))).astype(np.float32)[:, :, None]
    mixture = Mixture(("a", "b", "c"), TASK)
    memory, said = held(mixture.tensors), np.empty((len(y), 1))
    mixture.learn(memory, p, y, np.ones(len(y)), ALL, said)
    return mixture, memory, p, said[:, 0]


def test_a_mixture_says_a_place_on_the_grid_that_labels_stand_on():
    """Its members say none; which of the candidates is taken there is what has been nearest."""
    y = np.random.default_rng(0).integers(0, 9, 600).astype(float)
    _, memory, p, said = mixed(y, 0.5)

    assert not np.allclose(said[:20], np.round(said[:20]), atol=1e-3)
    places = np.round(said[100:])
    np.testing.assert_allclose(said[100:], places, atol=1e-3)
    assert len(np.unique(said[100:][places == 4.0])) > 30  # whoever ranks by it has an order
    assert np.abs(said - y)[100:].mean() < 0.5 * np.abs(p[100:, :, 0] - y[100:, None]).mean()
    assert memory.at["grid"][0] == 1.0


def test_what_a_mixture_says_without_a_grid_is_left_as_it_is():
    y = np.random.default_rng(0).normal(size=600)
    mixture, memory, p, said = mixed(y, 0.5)
    assert memory.at["grid"][0] == 0.0

    frozen = {name: array.view() for name, array in memory.at.items()}
    for array in frozen.values():
        array.flags.writeable = False
    before = np.empty((1, 1))
    mixture.score(readable(Held(frozen, {})), p[-1:], ALL, before)
    mixture.learn(memory, p[-1:], y[-1:], np.zeros(1), ALL, said[-1:, None])

    assert before[0, 0] == said[-1]
    assert p[-1].min() < said[-1] < p[-1].max()
    assert len(np.unique(said)) > 590


def test_a_mixture_on_a_grid_says_the_same_in_another_unit_and_under_any_cuts():
    y = np.random.default_rng(0).integers(0, 9, 600).astype(float)
    mixture, memory, p, said = mixed(y, 0.5)
    other, again = held(mixture.tensors), np.empty((600, 1))
    for first, last in ((0, 1), (1, 130), (130, 600)):
        cut = slice(first, last)
        mixture.learn(other, p[cut], y[cut], np.ones(last - first), ALL, again[cut])
    assert said.tobytes() == again.tobytes()
    assert memory.at["grid"].tobytes() == other.at["grid"].tobytes()

    before, after = np.empty((50, 1)), np.empty((50, 1))
    mixture.score(memory, p[:50], ALL, before)
    mixture.rescale(memory, 0.25, 1.5)
    mixture.score(memory, (p[:50] * 0.25 + 1.5).astype(np.float32), ALL, after)
    np.testing.assert_allclose(after, before * 0.25 + 1.5, atol=1e-5)
