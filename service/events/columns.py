"""Events as arrays: numbers, codes, bags, targets. Knows how to choose, join and blank them.

Knows no JSON and no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema

Entry = tuple[int, float, int]
"""Code, value, and hash of the name whose scale the value has (0: none)."""


class Bags(msgspec.Struct):
    """One bag field of N events: the entries of event r are spans[r] .. spans[r + 1]."""

    spans: NDArray[np.int64]
    """[N + 1], from 0 on; equal neighbours: an event without entries."""
    codes: NDArray[np.uint64]
    """[E]; never 0. Inside one event no code comes twice, and they are sorted."""
    values: NDArray[np.float64]
    """[E]; finite."""
    names: NDArray[np.uint64]
    """[E]; hash of the name whose scale the value has; 0: the value counts as it is."""

    def __len__(self) -> int:
        return len(self.spans) - 1


class Columns(msgspec.Struct):
    """N events as numbers. Legend: W dense values, C tables with a code, B bags, T targets; all in
    the order of the schema's dense, tables and bags."""

    numbers: NDArray[np.float64]
    """[N, W]; NaN is "missing"."""
    codes: NDArray[np.uint64]
    """[N, C]; 0 is "missing"."""
    bags: tuple[Bags, ...]
    """[B]."""
    targets: NDArray[np.float64]
    """[N, T]; 0/1, class index or value; NaN is "missing"."""
    times_ms: NDArray[np.int64]
    """[N]; the event's own time, -1 where it has none."""
    keys: NDArray[np.uint64]
    """[N]; hash of the id, 0 where there is none."""

    def __len__(self) -> int:
        return len(self.times_ms)


def blank(schema: Schema, n: int = 0) -> Columns:
    """Return n events with nothing in them: every field is missing."""
    columns = Columns(
        np.empty((n, schema.values)),
        np.zeros((n, schema.coded), dtype=np.uint64),
        tuple(no_entries(n) for _ in schema.bags),
        np.empty((n, len(schema.targets))),
        np.empty(n, dtype=np.int64),
        np.zeros(n, dtype=np.uint64),
    )
    columns.numbers.fill(np.nan)  # quicker than np.full, for one event
    columns.targets.fill(np.nan)
    columns.times_ms.fill(-1)
    return columns


def no_entries(n: int) -> Bags:
    """Return the bags of n events without entries."""
    return Bags(
        np.zeros(n + 1, dtype=np.int64),
        np.empty(0, dtype=np.uint64),
        np.empty(0),
        np.empty(0, dtype=np.uint64),
    )


def bags_of(events: Sequence[Sequence[Entry]]) -> Bags:
    """Return the bags of N events, each given as its entries in any order. Of two entries with one
    code the smaller counts."""
    lengths = np.fromiter(map(len, events), np.int64, len(events))
    entries = [entry for event in events for entry in event]
    owner = np.repeat(np.arange(len(events)), lengths)
    codes = np.fromiter((entry[0] for entry in entries), np.uint64, len(entries))
    values = np.fromiter((entry[1] for entry in entries), np.float64, len(entries))
    names = np.fromiter((entry[2] for entry in entries), np.uint64, len(entries))
    order = np.lexsort((names, values, codes, owner))
    owner, codes = owner[order], codes[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (codes[1:] != codes[:-1]) | (owner[1:] != owner[:-1])
    spans = np.zeros(len(events) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner[first], minlength=len(events)), out=spans[1:])
    return Bags(spans, codes[first], values[order][first], names[order][first])


def take(columns: Columns, index: NDArray[np.int64]) -> Columns:
    """Return the chosen rows, in the order of `index`, as copies."""
    return Columns(
        columns.numbers[index],
        columns.codes[index],
        tuple(_take(bags, index) for bags in columns.bags),
        columns.targets[index],
        columns.times_ms[index],
        columns.keys[index],
    )


def join(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all parts, one after another; parts are of one schema, one or more."""
    if len(parts) == 1:
        return parts[0]
    return Columns(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.codes for part in parts]),
        tuple(_join(bags) for bags in zip(*(part.bags for part in parts), strict=True)),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.times_ms for part in parts]),
        np.concatenate([part.keys for part in parts]),
    )


def _take(bags: Bags, index: NDArray[np.int64]) -> Bags:
    starts = bags.spans[:-1][index]
    lengths = bags.spans[1:][index] - starts
    spans = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=spans[1:])
    entries = np.arange(spans[-1]) + np.repeat(starts - spans[:-1], lengths)
    return Bags(spans, bags.codes[entries], bags.values[entries], bags.names[entries])


def _join(parts: Sequence[Bags]) -> Bags:
    lengths = np.concatenate([np.diff(part.spans) for part in parts])
    spans = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=spans[1:])
    return Bags(
        spans,
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.names for part in parts]),
    )
