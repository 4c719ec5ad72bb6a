"""Faults, by their numbers: what goes wrong outside, and that every event counts once all the same.

`INDEX` names for each fault the rooms whose tests hold its number (`f18_` and so on);
tests/faults/test_index.py checks that they do. Faults of more than one machine, or of a minute,
run when HEADWATER_TEST_CHAOS is set.
"""

from __future__ import annotations

KAFKA = (9, *range(14, 30))
"""Faults of Kafka and the way to it."""

ELSEWHERE = (*range(1, 9), *range(30, 36), *range(40, 44), 45, 49)
"""Faults of the process, the disk and the operator."""
