"""Faults, by their numbers: what goes wrong outside, and that every event counts once all the same.

Each fault of the table has a test whose name holds its number (`f18_`); tests/faults/test_index.py
checks that. Faults of several brokers or of a minute, and whole processes where the parts are tested
in their rooms anyway, run when HEADWATER_TEST_CHAOS is set.
"""

from __future__ import annotations

KAFKA = (9, *range(14, 30))
"""Faults of Kafka and the way to it."""

ELSEWHERE = (*range(1, 9), *range(30, 36), *range(40, 44), 45, 49)
"""Faults of the process, the disk and the operator."""
