"""How times are spelled."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events import times, values
from service.settings import EventTime

NOON_MS = 1769860800000  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(
    ("text", "more_ms"),
    [
        ("2026-01-31T12:00:00Z", 0),
        ("2026-01-31T12:00:00z", 0),
        ("2026-01-31 12:00:00", 0),
        (" 2026-01-31 12:00 ", 0),
        ("2026/01/31 12:00:00", 0),
        ("2026-01-31T12", 0),
        ("2026-01-31T13:00:00+01:00", 0),
        ("2026-01-31T13:00:00 +0100", 0),
        ("2026-01-31T04:30:00-0730", 0),
        ("2026-01-31T12:00:00.5Z", 500),
        ("2026-01-31T12:00:00,250Z", 250),
        ("2026-01-31T12:00:00.123456789Z", 123),
        ("20260131T120000Z", 0),
        ("20260131T1200", 0),
        ("20260131120000", 0),
        ("2026-01-31", -12 * 3600 * 1000),
        ("20260131", -12 * 3600 * 1000),
        ("2026-W05-6T12:00:00Z", 0),
    ],
)
def test_an_iso_time_has_many_spellings(text: str, more_ms: int) -> None:
    """
    All name the same noon, give or take; as `auto` too.
    """
    for form in ("iso", "auto"):
        assert NOON_MS + more_ms == values.time_ms(EventTime(field="t", format=form), text)


@pytest.mark.parametrize("text", ["", "noon", "31.01.2026", "2026-13-01", "2026-01-31T25:00", "Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """
    Nothing is guessed.
    """
    for form in ("iso", "auto"):
        with pytest.raises(values.BadValue, match="expected a time"):
            values.time_ms(EventTime(field="t", format=form), text)


@pytest.mark.parametrize("unit", times.PER_SECOND)
def test_a_number_of_any_unit_is_read_and_guessed(unit: str) -> None:
    """
    Whole, as a fraction, as a text; `auto` knows the unit by the size.
    """
    number = NOON_MS // 1000 * times.PER_SECOND[unit]
    for given_value in (number, float(number), str(number), f" {number}.0 ", f"{number}e0"):
        for form in (unit, "auto"):
            assert NOON_MS == values.time_ms(EventTime(field="t", format=form), given_value)


@pytest.mark.parametrize(
    ("number", "unit"),
    [(0, "s"), (-1, "s"), (10**11 - 1, "s"), (10**11, "ms"), (10**14, "us"), (10**17, "ns")],
)
def test_the_size_of_a_number_tells_its_unit(number: int, unit: str) -> None:
    """
    Every unit begins in the spring of 1973; a number of seconds may be of any year before 5138.
    """
    assert times.moment_ns(unit, "UTC", number) == times.moment_ns("auto", "UTC", number)


def test_fractions_are_exact() -> None:
    """
    Not what is left of them after multiplying floating-point numbers.
    """
    assert 1700000000123 == values.time_ms(EventTime(field="t", format="s"), 1700000000.123)
    assert 1700000000123456789 == times.moment_ns("s", "UTC", "1700000000.123456789")


@pytest.mark.parametrize(
    "value", ["1e999999999", "-1e999", "NaN", "Infinity", "1_000", 1e300, True]
)
def test_a_number_that_is_no_time_is_refused(value: object) -> None:
    """
    At once: no power of ten is computed for it.
    """
    for form in ("s", "auto"):
        with pytest.raises(values.BadValue):
            values.time_ms(EventTime(field="t", format=form), value)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.none()))
def test_whatever_is_there_is_a_time_or_refused(value: object) -> None:
    """
    No other error.
    """
    for form in ("iso", "s", "ns", "auto"):
        with contextlib.suppress(values.BadValue):
            found = values.time_ns(form, "Europe/Paris", value)
            assert found is not None
            times.local(found, "Europe/Paris")


def test_a_time_without_a_zone_is_in_that_of_the_settings() -> None:
    """
    In summer two hours before Greenwich.
    """
    spec = EventTime(field="t", format="auto", zone="Europe/Paris")

    assert values.time_ms(spec, "2026-07-01 02:00") == values.time_ms(spec, "2026-07-01T00:00Z")
