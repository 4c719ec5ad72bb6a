"""When bad events are too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.learn import limit
from service.learn.standing import Standing
from service.settings import DeadLetterLimit


def standing() -> Standing:
    """Return one before its first event."""
    return Standing(0, "0" * 16, {})


def test_so_many_in_a_row_are_too_many():
    """Counting stops at the event that reached the limit."""
    most = DeadLetterLimit(consecutive=3, ratio=0, window=0)

    assert 5 == limit.count(standing(), most, [True, False, True, True, True, True])
    assert limit.count(standing(), most, [True, True, False] * 9) is None


def test_more_than_a_share_of_a_window_is_too_much():
    """Half of ten, though never three in a row."""
    most = DeadLetterLimit(consecutive=0, ratio=0.5, window=10)

    assert limit.count(standing(), most, [True, False] * 50) is None
    assert 7 == limit.count(standing(), most, [True, True, True, False] * 50)


def test_zero_means_no_limit():
    """Both parts can be switched off."""
    most = DeadLetterLimit(consecutive=0, ratio=0, window=0)

    assert limit.count(standing(), most, [True] * 10_000) is None


@given(st.lists(st.integers(0, 30), max_size=10), st.integers(1, 12))
def test_good_events_are_counted_at_once_as_one_by_one(sizes, window):
    """The short way and the long way leave the same standing."""
    most = DeadLetterLimit(consecutive=5, ratio=0.9, window=window)
    short, long = standing(), standing()
    for one in (short, long):
        limit.count(one, most, [True])
    for n in sizes:
        limit.count_good(short, most, n)
        limit.count(long, most, [False] * n)

    assert short == long
