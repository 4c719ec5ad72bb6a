"""Where a learner's memory of drift lies in its state: names and shapes. Knows no detector.

All of it is zero before the first event, so a field or target that is added later starts anew.
What the numbers mean is said where they are moved, in service/learn/drift.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.events.decode import Columns
from service.events.schema import Schema
from service.settings import DriftSettings

LEVELS = 24
"""Sizes of ADWIN's buckets: 1, 2, 4 .. 2^23 losses."""
BUCKETS = 5
"""Buckets of one size; one more, and the two oldest become one of the next size."""
ADWIN_HEAD = 8
ADWIN = ADWIN_HEAD + LEVELS + 2 * LEVELS * (BUCKETS + 1)
PAGE_HINKLEY = 8
RISE_HEAD = 26
RISE_BLOCKS = 110
"""Means of blocks of 20 losses: the last 200 losses and the 2,000 before them."""
RISE = RISE_HEAD + RISE_BLOCKS
FIELD_HEAD = 18
SAMPLE = 256
"""Values of a number that stand for its reference."""
NUMBER = FIELD_HEAD + SAMPLE
CLASSES = 32
CATEGORY = FIELD_HEAD + 2 * CLASSES
SEEN_WORDS = 256
COURSE = 8

Tensor = tuple[str, str | None, str, tuple[int, ...]]
"""Kind, target or field, dtype and shape."""


_DENSE = {"number", "boolean", "text"}
"""Blocks of which the first value is watched; of a text that is its length."""


def watched(schema: Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields whose inputs are watched: those with a number, and those with
    a category."""
    numbers = tuple(block.name for block in schema.dense if block.kind in _DENSE)
    return numbers, tuple(table.name for table in schema.tables if table.kind == "category")


def observed(
    schema: Schema, columns: Columns, at: int, to: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Return what some of the rows hold of the fields that are watched: numbers [to - at, F], NaN is
    missing; codes [to - at, F], 0 is missing. F: as many as `watched` names."""
    numbers = [block.at for block in schema.dense if block.kind in _DENSE]
    codes = [c for c, table in enumerate(schema.tables) if table.kind == "category"]
    return (
        np.take(columns.numbers[at:to], numbers, axis=1),
        np.take(columns.codes[at:to], codes, axis=1),
    )


def tensors(schema: Schema, drift: DriftSettings) -> Iterator[Tensor]:
    """Yield what lies in the state, in order; tensors of one kind lie next to each other."""
    names = [target.name for target in schema.targets]
    if drift.losses:
        yield "course", None, "float64", (COURSE,)
        for kind, size in (("adwin", ADWIN), ("page_hinkley", PAGE_HINKLEY), ("rise", RISE)):
            yield from ((kind, name, "float64", (size,)) for name in names)
    if drift.inputs:
        numbers, categories = watched(schema)
        yield from (("number", name, "float64", (NUMBER,)) for name in numbers)
        yield from (("category", name, "float64", (CATEGORY,)) for name in categories)
        yield from (("seen", name, "int64", (SEEN_WORDS,)) for name in categories)
