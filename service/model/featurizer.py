"""From columns to rows: the one featurizer, used by learner and API. Knows no model.

Dense values become deviations from what is usual (scales.py) and an unknown flag per block.
Categories become a row of their field's table: 0 is "missing", other codes are spread over
1 .. buckets-1; crosses of fields and entries of bags too (codes.py). An unseen name therefore
needs nothing.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events.columns import Bags, Columns
from service.events.schema import Schema, Table
from service.model import codes as compiled
from service.model import scales as scaling
from service.model.scales import FIT, MODES, QUANTILE

_NOTHING = np.empty((0, 0))
_NO_TIMES = np.empty(0, dtype=np.int64)


class Rows(msgspec.Struct):
    """N rows ready to be scored or learned."""

    x: NDArray[np.float32]
    """[N, D]: the values of each dense block, then its unknown flag."""
    ids: NDArray[np.int64]
    """[N, C]: row of each table, crosses included."""
    spans: NDArray[np.int64]
    """[N, B + 1]: entries spans[r, b] .. spans[r, b + 1] are those of bag b in row r."""
    entries: NDArray[np.int64]
    """[E]: row of the bag's table; inside one row and bag none comes twice."""
    values: NDArray[np.float32]
    """[E]: what the row of the table is multiplied with."""
    y: NDArray[np.float64]
    """[N, T]; NaN is "missing"."""
    numbers: NDArray[np.float64] = _NOTHING
    """[N, W]: dense values as they came, NaN is "missing"; for kinds that scale by themselves."""
    times_ms: NDArray[np.int64] = _NO_TIMES
    """[N]: the event's own time, -1 where it has none."""

    def __len__(self) -> int:
        return len(self.x)

    def between(self, first: int, last: int) -> Rows:
        """Return the rows from `first` up to `last`, without a copy of what is large."""
        if first == 0 and last == len(self):
            return self
        spans = self.spans[first:last]
        begins, ends = (int(spans[0, 0]), int(spans[-1, -1])) if len(spans) else (0, 0)
        return Rows(
            self.x[first:last],
            self.ids[first:last],
            spans - begins,
            self.entries[begins:ends],
            self.values[begins:ends],
            self.y[first:last],
            self.numbers[first:last],
            self.times_ms[first:last],
        )

    def take(self, index: NDArray[np.int64]) -> Rows:
        """Return the chosen rows, in the order of `index` [K]."""
        first, last = self.spans[index, 0], self.spans[index, -1]
        held = last - first
        starts = np.cumsum(held) - held
        chosen = np.repeat(first - starts, held) + np.arange(held.sum())
        return Rows(
            self.x[index],
            self.ids[index],
            self.spans[index] - (first - starts)[:, None],
            self.entries[chosen],
            self.values[chosen],
            self.y[index],
            self.numbers[index] if len(self.numbers) else self.numbers,
            self.times_ms[index] if len(self.times_ms) else self.times_ms,
        )

    def part(self, at: int, to: int) -> Rows:
        """Return the rows from `at` up to `to`, without a copy."""
        spans = self.spans[at:to]
        return Rows(
            self.x[at:to],
            self.ids[at:to],
            spans,
            self.entries,
            self.values,
            self.y[at:to],
            self.numbers[at:to],
            self.times_ms[at:to],
        )


class Scales(msgspec.Struct):
    """The part of a state that rows are scaled by, as views. Legend as in Columns."""

    normaliser: NDArray[np.float64]
    """[W, 3]: count, running mean, running variance of each dense value."""
    quantiles: NDArray[np.float64]
    """[Q, scales.QUANTILES]: of each number of scale quantile or fit, in the schema's order."""
    names: NDArray[np.float64]
    """[M, 3]: as normaliser, of the hashed names of each map, one map after another."""


class Featurizer:
    """Columns -> Rows for one schema. Holds no state: what scales the rows is passed in."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        coded = schema.tables[: schema.coded]
        self._spread = np.array([t.buckets - 1 for t in coded], dtype=np.uint64)
        numbers = [d for d in schema.dense if d.kind == "number"]
        others = [d for d in schema.dense if d.kind != "number"]
        self._modes = np.array([MODES[d.scale] for d in numbers], dtype=np.int64)
        keeps = np.isin(self._modes, (QUANTILE, FIT))
        self._kept = np.where(keeps, np.cumsum(keeps) - 1, -1)
        self._places = np.array([(d.at, d.start, d.width) for d in others], dtype=np.int64).reshape(
            -1, 3
        )
        self._other_modes = np.array([MODES[d.scale] for d in others], dtype=np.int64)
        self._crosses(schema.tables[schema.coded :], [d.name for d in numbers])
        self._buckets = np.array([b.buckets for b in schema.bags], dtype=np.int64)
        self._no_entries = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        rooms = [b.names for b in schema.bags]
        firsts = np.cumsum([0, *rooms])[:-1]
        self._rooms = np.column_stack((firsts, rooms)).astype(np.int64).reshape(-1, 2)

    def _crosses(self, tables: tuple[Table, ...], numbers: list[str]) -> None:
        watched = sorted({m for t in tables for m in t.members if m in numbers})
        self._watched = np.array(
            [watched.index(n) if n in watched else -1 for n in numbers], dtype=np.int64
        )
        self._n_watched = len(watched)
        members = [_member(self._schema, watched, m) for t in tables for m in t.members]
        self._members = np.array(members, dtype=np.int64).reshape(-1, 2)
        self._spans = np.cumsum([0, *(len(t.members) for t in tables)]).astype(np.int64)
        self._cross_rows = np.array([t.buckets for t in tables], dtype=np.int64)

    def rows(
        self, columns: Columns, scales: Scales, learn: NDArray[np.uint8] | None = None
    ) -> Rows:
        """Return the rows of the columns.

        scales: moved by the rows where `learn` [N] is set, in row order. Without `learn` they only
        serve.
        """
        n = len(columns)
        x = np.empty((n, self._schema.inputs), dtype=np.float32)
        z = np.empty((n, self._n_watched))
        flags = np.zeros(n, dtype=np.uint8) if learn is None else learn
        scaling.numbers(
            columns.numbers, scales.normaliser, scales.quantiles, self._modes, self._kept,
            self._watched, flags, x, z,
        )  # fmt: skip
        if len(self._places):
            scaling.blocks(
                columns.numbers, scales.normaliser, self._places, self._other_modes, flags, x
            )
        ids = self._ids(columns, z)
        spans, entries, values = self._bags(columns.bags, scales.names, flags)
        return Rows(
            x, ids, spans, entries, values, columns.targets, columns.numbers, columns.times_ms
        )  # fmt: skip

    def _ids(self, columns: Columns, z: NDArray[np.float64]) -> NDArray[np.int64]:
        codes = columns.codes
        n, coded = codes.shape
        ids = np.empty((n, coded + len(self._cross_rows)), dtype=np.int64)
        if coded:
            compiled.spread(codes, self._spread, ids)
        if len(self._cross_rows):
            compiled.cross(
                columns.numbers, codes, z, self._spans, self._members, self._cross_rows, coded, ids
            )
        return ids

    def _bags(
        self, bags: tuple[Bags, ...], names: NDArray[np.float64], learn: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return spans [N, B + 1], entries [E] and values [E]."""
        spans = np.zeros((len(learn), len(bags) + 1), dtype=np.int64)
        if not bags:
            return spans, *self._no_entries
        held = [len(bag.codes) for bag in bags]
        entries = np.empty(sum(held), dtype=np.int64)
        values = np.empty(sum(held), dtype=np.float32)
        end = compiled.bags(
            np.stack([bag.spans for bag in bags]), np.cumsum([0, *held])[:-1],
            np.concatenate([bag.codes for bag in bags]),
            np.concatenate([bag.values for bag in bags]),
            np.concatenate([bag.names for bag in bags]),
            self._buckets, self._rooms, names, learn, spans, entries, values,
        )  # fmt: skip
        return spans, entries[:end], values[:end]


def _member(schema: Schema, watched: list[str], name: str) -> tuple[int, int]:
    """Return what a member of a cross is, and its column; see codes.cross."""
    if name in watched:
        return compiled.DEVIATIONS, watched.index(name)
    for block in schema.dense:
        if block.name == name and block.kind == "boolean":
            return compiled.COLUMN, block.at
    for at, table in enumerate(schema.tables[: schema.coded]):
        if table.name == name and table.kind in {"category", "hour"}:
            return compiled.CODE, at
    raise ValueError(f"{name} cannot be part of an interaction: it is no number, boolean, "
                     "category or time")  # fmt: skip
