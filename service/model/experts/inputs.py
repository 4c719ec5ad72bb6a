"""What experts see of an event: one matrix for all of them, made of its fields and of what came
before it. Holds no state."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema, Target
from service.model.experts import inputs_pass as compiled
from service.model.experts.inputs_pass import KEY, ONE_HOT, PLE, SAMPLE, SPANS
from service.model.experts.seam import BLOCK, KEY_INPUTS, Fields, Held, Inputs, Tensor, rescale
from service.model.featurizer import Rows
from service.model.names import label_of

CLOCKS = ("hour sine", "hour cosine", "week sine", "week cosine", "gap")
MOST_KEYS = 65536
"""Values of a category whose labels are remembered; more share places."""


class Shared:
    """The part of the inputs that all targets have in common, and where each column is."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        numbers = [d for d in schema.dense if d.kind in {"number", "boolean"}]  # they come first
        others = [d for d in schema.dense if d not in numbers]
        self.n_numbers = len(numbers)
        self.plain_names = [f"{label_of(d)}/{i}" for d in others for i in range(d.width)]
        self._plain = np.array(
            [d.start + i for d in others for i in range(d.width)], dtype=np.int64
        )
        self._tables = [i for i, t in enumerate(schema.tables) if t.kind != "cross"]
        self.rows_of = tuple(schema.tables[i].buckets for i in self._tables)
        self.bag_names = tuple(label_of(b) for b in schema.bags)
        self._pieces = tuple(b.pieces for b in schema.bags)
        self.number_names = tuple(label_of(d) for d in numbers)
        self.table_names = tuple(label_of(schema.tables[i]) for i in self._tables)
        f, v, s = self.n_numbers, len(self._tables), len(SPANS)
        timed = compiled.CLOCK + v if schema.time is not None else 0
        widths = [f, f, len(self._plain) + timed, v * ONE_HOT, f * s, f * PLE]
        ends = np.cumsum([0, *widths]).tolist()
        self._spans = [range(a, b) for a, b in itertools.pairwise(ends)]
        self.width = ends[-1]
        self._clock_at = self._spans[2].start + len(self._plain)
        z, missing, _, _, context, pieces = self._spans
        self._at = np.array([z.start, missing.start, context.start, pieces.start], dtype=np.int64)
        self.plain_names += [f"clock {name}" for name in CLOCKS][:timed]
        self.plain_names += [f"age {name}" for name in self.table_names] if timed else []
        self._timed = timed > 0
        self._rows = np.array([min(n, MOST_KEYS) for n in self.rows_of], dtype=np.int64)
        held = tuple(zip(self.table_names, self._rows.tolist(), strict=True))
        memory = int(self._rows.sum()) if timed else 0
        each = (tuple((name, 1) for name in self.number_names),)
        tables = (tuple((name, 1) for name in self.table_names),)
        self.tensors = (
            Tensor("moments", (f, 3 + s), "float64", axes=each),
            Tensor("recent", (f, SAMPLE), "float64", axes=each),
            Tensor("ordered", (f, SAMPLE), "float64", axes=each),
            Tensor("sampled", (f, 2), "int64", axes=each),
            Tensor("known", (v, ONE_HOT), "int64", axes=tables),
            Tensor("before", (2,), "int64"),
            Tensor("last", (-(-memory // BLOCK) * BLOCK, 2), large=True, axes=(held,)),
        )

    def fields(self, target: Target) -> Fields:
        """Return which columns are what for a target."""
        s, v = len(SPANS), len(self._tables)
        keys = v * KEY_INPUTS if target.kind != "multiclass" else 0
        lags = s * (target.outputs if target.kind == "multiclass" else 1)
        end = self.width + keys + lags
        z, missing, plain, one_hot, context, pieces = self._spans
        return Fields(
            self.n_numbers, self.rows_of, z, missing, plain, one_hot, context, pieces,
            range(self.width, self.width + keys), range(self.width + keys, end), end,
            self.number_names + self.table_names, tuple(self._columns(keys, lags)), self.bag_names,
            self._pieces,
        )  # fmt: skip

    def _columns(self, keys: int, lags: int) -> Iterator[str]:
        """Tell the name of each column."""
        per = {"z": 1, "missing": 1}
        yield from (f"{group} {name}" for group in per for name in self.number_names)
        yield from self.plain_names
        for name in self.table_names:
            yield from (f"{name} {i}" for i in range(ONE_HOT))
        for group, n in (("context", len(SPANS)), ("pieces", PLE)):
            for name in self.number_names:
                yield from (f"{group} {name} {i}" for i in range(n))
        for name in self.table_names if keys else ():
            yield from (f"key {name} {i}" for i in range(KEY_INPUTS))
        yield from (f"lag {i}" for i in range(lags))

    def write(
        self, held: Held, rows: Rows, learn: NDArray[np.uint8], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Return x [N, width] with the shared columns, ranks [N, F], ids [N, V]; what is remembered
        moves where `learn` [N] is set."""
        at = held.at
        x, ranks, ids = self._begin(rows, width)
        compiled.numbers(
            rows.numbers, learn, at["moments"], at["recent"], at["ordered"], at["sampled"], x,
            ranks, self._at,
        )  # fmt: skip
        compiled.one_hot(ids, learn, at["known"], x, self._spans[3].start)
        if self._timed:
            compiled.clock(
                rows.times_ms, ids, self._rows, learn, at["before"], at["last"],
                held.flags["last"], x, self._clock_at,
            )  # fmt: skip
        return x, ranks, ids

    def _begin(
        self, rows: Rows, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        x = np.empty((len(rows), width), dtype=np.float32)
        if len(self._plain):
            plain = self._spans[2]
            x[:, plain.start : plain.start + len(self._plain)] = rows.x[:, self._plain]
        ranks = np.empty((len(rows), self.n_numbers), dtype=np.float32)
        return x, ranks, np.ascontiguousarray(rows.ids[:, : len(self._tables)])


class Labels:
    """The part of the inputs that comes from the earlier labels of one target."""

    def __init__(self, shared: Shared, target: Target) -> None:
        self.fields = shared.fields(target)
        self._classes = target.outputs if target.kind == "multiclass" else 1
        self._rows = np.array([min(n, MOST_KEYS) for n in shared.rows_of], dtype=np.int64)
        memory = int(self._rows.sum()) if len(self.fields.keys) else 0
        block = BLOCK // math.gcd(BLOCK, KEY)
        held = tuple(zip(shared.table_names, self._rows.tolist(), strict=True))
        start = 0.5 if target.kind == "binary" else 0.0
        values = ("value",) * self._classes
        self.tensors = (
            Tensor("lags", (len(SPANS), self._classes + 1), "float64", units=(*values, "")),
            Tensor("prior", (2,), "float64", np.array([0.0, start]), units=("", "value")),
            Tensor(
                "keys", (-(-memory // block) * block, KEY), large=True,
                units=("", "value", "value", "value", "value", ""), axes=(held,),
            ),
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes; see seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def write(self, held: Held, x: NDArray[np.float32], rows: Inputs) -> None:
        """Write the columns of lags and keys into rows.x; take the labels of what is learned."""
        at, fields = held.at, self.fields
        learn = (rows.weights > 0).astype(np.uint8)
        compiled.lags(rows.y, self._classes, learn, at["lags"], x, fields.lags.start)
        if len(fields.keys):
            compiled.keys(
                rows.ids, self._rows, rows.y, learn, at["prior"], at["keys"],
                held.flags["keys"], x, fields.keys.start,
            )  # fmt: skip
