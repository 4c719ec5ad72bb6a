"""The copy of a state that is made in pieces while learning goes on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.learn import staging
from service.learn.saving import Saver
from service.learn.staging import Staging
from service.model.layout import Layout
from service.model.state import State
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.learn.cuts import learner, recipe, records, take

WIDE = {
    "features": {"c": {"type": "category", "buckets": 1 << 15}},
    "targets": {"y": {"type": "binary"}},
}


class Ticking:
    """A clock on which each look takes a while: so many looks fit into a slice."""

    def __init__(self, looks: int) -> None:
        self.now_s = 0.0
        self._step_s = staging.SLICE_S / looks

    def __call__(self) -> float:
        self.now_s += self._step_s
        return self.now_s


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of sixteen blocks, so that a small state takes many slices."""
    monkeypatch.setattr(staging, "_PIECE", 16)


def whole_copy(copying: Staging, state: State, learn: Callable[[], None] = lambda: None):
    """Copy piece by piece, with learning before each."""
    for _ in range(10_000):
        learn()
        if (image := copying.advance(state)) is not None:
            return image
    raise AssertionError("it never ends")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@given(seed=st.integers(0, 2**32 - 1), looks=st.integers(4, 40), changes=st.integers(0, 60))
@settings(max_examples=25)
def test_what_is_copied_in_pieces_is_one_version_whole(optimizer, seed, looks, changes):
    """Whatever is learned between the pieces, the copy equals a plain copy at that moment: three
    snapshots in a row, so that each begins with what the one before left."""
    state = State.fresh(Layout(recipe(event=WIDE, optimizer=optimizer)))
    copying = Staging(Ticking(looks))
    rng = np.random.default_rng(seed)

    def learn() -> None:
        blocks = rng.integers(0, len(state.touched), changes)
        for flat in (state.theta, *state.slots):
            flat.reshape(-1, 64)[blocks] += rng.normal(size=(changes, 64)).astype(np.float32)
        state.touched[blocks] = 1
        state.normaliser[...] = rng.normal()
        state.outcomes[0] += 1
        if rng.random() < 0.3:
            state.take_touched()  # the publisher's own flags are another matter

    for _ in range(3):
        image = whole_copy(copying, state, learn)
        assert np.array_equal(state.image, image)


@pytest.mark.usefixtures("small_pieces")
def test_a_state_that_changes_faster_than_it_is_copied_is_saved_all_the_same():
    """After so many passes the rest is taken in one go: late is better than never."""
    state = State.fresh(Layout(recipe(event=WIDE)))
    copying = Staging(Ticking(6))

    image = whole_copy(copying, state, state.touch_all)

    assert np.array_equal(state.image, image)


@pytest.mark.usefixtures("small_pieces")
def test_a_slice_ends_when_its_time_is_over():
    """So many looks at the clock fit into a slice, whatever is left to be copied."""
    state = State.fresh(Layout(recipe(event=WIDE)))
    clock = Ticking(10)
    copying = Staging(clock)

    assert copying.advance(state) is None
    assert clock.now_s <= 1.5 * staging.SLICE_S


def test_a_state_that_takes_the_place_of_another_is_copied_whole():
    """After a rollback there is a new state; nothing of the old one stays in the copy."""
    copying = Staging()
    first, second = (State.fresh(Layout(recipe(event=WIDE, seed=n))) for n in (1, 2))
    first.theta[:] = 1.0
    second.theta[:] = 2.0
    images = [whole_copy(copying, state).tobytes() for state in (first, second, first)]

    assert [first.image.tobytes(), second.image.tobytes(), first.image.tobytes()] == images


def test_states_that_are_copied_in_turns_leave_no_flags_behind(monkeypatch):
    """What is frozen and what is learned are saved one after the other, turn for turn."""
    made: list[weakref.ref[np.ndarray]] = []
    follow = State.follow

    def followed(state: State) -> np.ndarray:
        flags = follow(state)
        made.append(weakref.ref(flags))
        return flags

    first, second = (State.fresh(Layout(recipe(event=WIDE, seed=n))) for n in (1, 2))
    monkeypatch.setattr(State, "follow", followed)
    copying = Staging()
    for _ in range(5):
        whole_copy(copying, first)
        first.theta[:] += 1.0
        first.touch_all()
        whole_copy(copying, second)
    gc.collect()

    assert 10 == len(made)
    assert 1 == sum(flags() is not None for flags in made)
    assert np.array_equal(first.image, whole_copy(copying, first))


def test_a_snapshot_written_while_learning_goes_on_holds_the_version_it_names(tmp_path):
    """The state of the moment when the copy was whole, not of when it was begun or written."""
    of = learner()
    with Journal.open(tmp_path / "journal") as journal:
        snapshots = Snapshots(tmp_path / "snapshots", Keep())
        saver = Saver(snapshots, journal, {})
        whole = False
        while not whole:
            take(of, records(20, of.standing.cursors["t", 0]))
            whole = saver.advance(of)
        expected = of.standing.version, digest(of.state.parts())
        take(of, records(20, of.standing.cursors["t", 0]))
        saver.close()
        [saved] = saver.take_done()

    assert saved.manifest is not None
    assert expected == (saved.manifest.version, saved.manifest.digest)
    assert [] == snapshots.verify()
