"""Faults, by their numbers: what goes wrong outside, and that every event counts once all the same.

Each fault of the table has a test whose name holds its number (`f18_`); tests/faults/test_index.py
checks that. Faults of several brokers or of a minute, and whole processes where the parts are tested
in their rooms anyway, run when HEADWATER_TEST_CHAOS is set.
"""

from __future__ import annotations

TABLE = (*range(1, 10), *range(14, 36), *range(40, 44), 45, 49)
"""F10 to F13 are rebalances, which one reader of all partitions does not have; what is not listed
belongs to parts of the service that do not exist yet."""
