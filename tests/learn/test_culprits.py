"""The search for records that kill, without anybody dying."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.learn.culprits import MOST, Unclear, find


def killing(*culprits: int, asked: list | None = None):
    """Return trials in which these records kill."""

    def dies(upto: int, left_out: set[int]) -> str | None:
        if asked is not None:
            asked.append(upto)
        alive = [at for at in culprits if at < upto and at not in left_out]
        return "SIGSEGV" if alive else None

    return dies


@given(data=st.data(), n=st.integers(1, 300))
def test_any_records_that_kill_are_found_and_no_others(data, n):
    """In about log2(n) + 3 trials each."""
    culprits = data.draw(st.sets(st.integers(0, n - 1), max_size=min(n, MOST)))
    asked: list[int] = []

    found = find(n, killing(*culprits, asked=asked))

    assert culprits == found.keys()
    assert {"SIGSEGV"} >= set(found.values())
    assert len(asked) <= 2 + len(culprits) * (math.ceil(math.log2(n)) + 4)


def test_a_record_that_kills_only_after_another_is_the_one_that_is_set_aside():
    """Whatever it needs before it: without it nothing dies."""

    def dies(upto: int, left_out: set[int]) -> str | None:
        return "hung" if {3, 7} <= set(range(upto)) - left_out else None

    assert {7: "hung"} == find(20, dies)


def test_nothing_to_learn_that_dies_is_no_matter_of_records():
    """Then the trial itself does not work here."""
    with pytest.raises(Unclear, match="without any record"):
        find(5, lambda upto, left_out: "SIGKILL")


def test_very_many_that_kill_are_no_matter_of_single_records():
    """A release that dies of everything must not set everything aside."""
    with pytest.raises(Unclear, match="more than"):
        find(100, killing(*range(MOST + 1)))


def test_a_record_that_kills_although_left_out_is_not_named():
    """Leaving it out would not help."""
    with pytest.raises(Unclear, match="left out"):
        find(10, lambda upto, left_out: "SIGSEGV" if upto > 4 else None)


def test_records_that_kill_now_and_then_are_not_named():
    """An innocent one could be."""
    deaths = iter([None, "OOM", None, None, None, None, None])

    with pytest.raises(Unclear, match="survive another"):
        find(4, lambda upto, left_out: next(deaths))
