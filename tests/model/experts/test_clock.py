"""What the time of an event says: no bad time spoils what later ones say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.model.experts import inputs_pass as compiled
from service.model.experts.inputs_pass import CLOCK

NOW, MINUTE, FAR = 1_700_000_000_000, 60_000, 4_100_000_000_000
ROWS = np.array([64], np.int64)


def clock(times: list[int], users: list[int], cut: int = 10**6) -> NDArray[np.float64]:
    """Return for each event seconds since the one before and since the same user's, as they are
    shown: [N, 2]. cut: rows in a call."""
    before, last, flags = (
        np.zeros(2, np.int64),
        np.zeros((64, 2), np.float32),
        np.zeros(2, np.uint8),
    )
    ms, ids = np.array(times, np.int64), np.array(users, np.int64)[:, None]
    into = np.zeros((len(ms), CLOCK + 1), np.float32)
    learn = np.ones(len(ms), np.uint8)
    for first in range(0, len(ms), cut):
        part: Any = slice(first, first + cut)
        compiled.clock(ms[part], ids[part], ROWS, learn[part], before, last, flags, into[part], 0)
    assert flags[sorted({user * 2 >> 6 for user in users})].all()
    return np.expm1(into[:, 4:].astype(float) * 10.0)


@pytest.mark.parametrize("bad", [0, 1, FAR])
@pytest.mark.parametrize("at", [0, 5])
def test_one_bad_time_spoils_only_the_events_that_follow_it(bad: int, at: int) -> None:
    """1970 or 2100, first of all or later: soon gaps and ages are what they are without it."""
    times = [NOW + i * MINUTE + i * i for i in range(60)]
    users = [i % 5 for i in range(60)]
    usual = clock(times, users)
    times[at] = bad
    found = clock(times, users)
    assert np.allclose(found[20:], usual[20:], rtol=1e-3)
    assert usual[20:, 0].min() > 59.0


def test_times_are_as_exact_after_years_as_at_the_beginning() -> None:
    """An age of a tenth of a second is no other a hundred years later."""
    for start in (NOW, NOW + 100 * 365 * 86_400_000):
        found = clock([1, start, start + 100, start + 350], [0, 1, 1, 1])
        assert np.allclose(found[2:, 1], [0.1, 0.25], rtol=1e-3)


def test_an_event_that_comes_late_moves_no_gap() -> None:
    """Seconds, or hours: what counts is the latest time, unless no event comes near it any more."""
    found = clock([NOW, NOW + 9000, NOW + 2000, NOW + 10_000], [0, 1, 2, 3])
    assert np.allclose(found[1:, 0], [9.0, 0.0, 1.0], rtol=1e-3)
    days = [NOW - 86_400_000 * (i % 2) + i * 1000 for i in range(20)]
    assert np.allclose(clock(days, [0] * 20)[2::2, 0], 2.0, rtol=1e-3)


def test_cuts_change_no_bit_of_it() -> None:
    """One event at a time, or all."""
    draw = np.random.default_rng(0)
    times = [int(t) for t in NOW + draw.integers(0, 10**8, 80)]
    times[30:42] = [FAR] * 4 + [-1] * 2 + [7] * 6
    users = draw.integers(0, 64, 80).tolist()
    assert (clock(times, users) == clock(times, users, 1)).all()
