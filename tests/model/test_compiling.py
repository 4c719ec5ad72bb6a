"""How kernels and their pieces are compiled."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from service.model.compiling import making_piece, piece


def test_a_piece_that_would_return_an_array_is_refused():
    """It counts no references: whoever called would give back one that nobody took."""

    @piece
    def same(values):
        return values

    @njit
    def call(values):
        return same(values)[0]

    with pytest.raises(TypeError, match="making_piece"):
        call(np.ones(3))


def test_a_making_piece_may_return_an_array():
    @making_piece
    def twice(values):
        made = np.empty_like(values)
        for i in range(values.shape[0]):
            made[i] = 2.0 * values[i]
        return made

    @njit
    def call(values):
        return twice(values)[0]

    assert call(np.ones(3)) == 2.0


def test_a_piece_has_no_way_in_from_python():
    @piece
    def first(values):
        return values[0]

    with pytest.raises(TypeError):
        first(np.ones(3))
