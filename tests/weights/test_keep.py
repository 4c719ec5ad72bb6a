"""Which snapshots stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.weights.keep import Candidate, Keep, kept

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def every(minutes: int, count: int) -> list[Candidate]:
    return [
        Candidate(f"s{n}", n, START + timedelta(minutes=minutes * n), pinned=False)
        for n in range(count)
    ]


def ids(*numbers: int) -> set[str]:
    return {f"s{n}" for n in numbers}


def test_the_newest_stay() -> None:
    """
    `last` counts by the order of writing.
    """
    assert ids(7, 8, 9) == kept(every(1, 10), Keep(last=3, hourly=0, daily=0))


def test_the_first_of_each_hour_stays() -> None:
    """
    For as many of the newest hours as the policy says; here 22:00, 23:00, 00:00 and 01:00.
    """
    assert ids(8, 12, 15) == kept(every(15, 16), Keep(last=1, hourly=2, daily=0))


def test_the_first_of_each_day_stays() -> None:
    """
    Days are those of UTC.
    """
    assert ids(0, 2, 9) == kept(every(60, 10), Keep(last=1, hourly=0, daily=7))


def test_hours_without_a_snapshot_do_not_count() -> None:
    """
    A stream that was quiet for a week does not lose its older hours.
    """
    sparse = every(60 * 24 * 7, 4)

    assert ids(1, 2, 3) == kept(sparse, Keep(last=1, hourly=3, daily=0))


def test_a_pinned_one_stays_whatever_its_age() -> None:
    """
    Pins are the operator's word.
    """
    oldest = Candidate("pinned", -1, START - timedelta(days=900), pinned=True)

    assert ids(9) | {"pinned"} == kept([oldest, *every(1, 10)], Keep(1, 0, 0))


def test_a_clock_that_went_back_does_not_cost_the_newest() -> None:
    """
    What was written last is the newest, whatever the clock said.
    """
    late = Candidate("late", 99, START - timedelta(days=1), pinned=False)

    assert {"late"} == kept([*every(1, 10), late], Keep(1, 0, 0))


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, -1, 0), (1, 0, -1)])
def test_a_policy_that_keeps_nothing_is_refused(counts: tuple[int, int, int]) -> None:
    """
    There is always a newest snapshot to start from.
    """
    with pytest.raises(ValueError, match="keep at least one"):
        Keep(*counts)


@given(
    minutes=st.lists(st.integers(0, 60 * 24 * 40), max_size=80),
    last=st.integers(1, 6),
    hourly=st.integers(0, 30),
    daily=st.integers(0, 10),
)
def test_what_stays_is_bounded_and_applying_the_rule_again_removes_nothing(
    minutes: list[int], last: int, hourly: int, daily: int
) -> None:
    """
    The policy's counts bound what stays, and what stays is stable.
    """
    candidates = [
        Candidate(f"s{n}", n, START + timedelta(minutes=m), pinned=False)
        for n, m in enumerate(sorted(minutes))
    ]
    keep = Keep(last, hourly, daily)
    stays = kept(candidates, keep)

    assert min(last, len(candidates)) <= len(stays) <= last + hourly + daily
    assert stays == kept([c for c in candidates if c.id in stays], keep)
