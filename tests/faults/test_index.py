"""Every fault of the table has a test that holds its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import faults

TESTS = Path(__file__).parent.parent
_NAMED = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)


def numbers() -> set[int]:
    """Every fault number in the name of a test."""
    names = [name for path in TESTS.rglob("test_*.py") for name in _NAMED.findall(path.read_text())]
    return {int(n) for name in names for n in re.findall(r"(?<=_)f(\d+)(?=_)", name)}


@pytest.mark.parametrize("fault", faults.KAFKA)
def test_each_fault_of_kafka_has_a_test(fault: int) -> None:
    """
    By number, in the name.
    """
    assert fault in numbers()


def test_the_rest_of_the_table_is_written_elsewhere() -> None:
    """
    No number is claimed twice, none is left out.
    """
    table = {*range(1, 10), *range(14, 36), 40, 41, 42, 43, 45, 49}

    assert table == {*faults.KAFKA, *faults.ELSEWHERE}
    assert len(table) == len(faults.KAFKA) + len(faults.ELSEWHERE)
