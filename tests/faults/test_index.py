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


@pytest.mark.parametrize("fault", faults.TABLE)
def test_each_fault_has_a_test(fault: int) -> None:
    """
    By number, in the name.
    """
    assert fault in numbers()


def test_each_fault_stands_on_the_page() -> None:
    """
    With what happens and where the tests are.
    """
    page = (TESTS.parent / "docs" / "reliability.md").read_text()

    assert [] == [f"F{fault}" for fault in faults.TABLE if not re.search(rf"\bF{fault}\b", page)]
