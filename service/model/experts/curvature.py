"""Which columns a linear expert of second order sees, what it remembers of them, and its cost.

Worth of columns, the best first: bias, deviations, plain, keys, one-hot, missing; then, where they
are asked for, lags, the two inner pieces of each rank, context over 8 rows, the outer pieces, context
over 1 and over 64 rows. Those that find no place among MOST are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.model.experts.curvature_pass import BIAS, GONE
from service.model.experts.curvature_whole_pass import STRIDE, WAIT, renew
from service.model.experts.seam import BLOCK, Fields, Held, Tensor, label_keys

MOST = STRIDE
"""Most columns of one set that are learned. A row costs as their square."""
LAGS = 32
"""Most columns of lags among them: those of many classes would crowd out all else."""
ONE_HOT, MISSING = 32, 8
"""Places kept for columns that are seldom other than 0, so that they find one when they come."""


class Part(NamedTuple):
    """One set of columns and what is remembered; legend in curvature_pass."""

    order: NDArray[np.int64]
    """The columns: n in use, then the others by worth; BIAS is one."""
    counts: NDArray[np.float64]
    """[4]: n; rows since the last renewal; rows learned; rows that wait."""
    weights: NDArray[np.float32]
    """[K * O, M]"""
    inverse: NDArray[np.float32]
    """[K, M, M]: P over the memory's scale."""
    scales: NDArray[np.float64]
    """[K]"""
    curvature: NDArray[np.float32]
    """[K, T and what fills the last block]: lower triangles, row by row, as of the last renewal."""
    fresh: NDArray[np.float32]
    """[T and what fills the last block]: the rows since then, in common for all memories."""
    rows: NDArray[np.float32]
    """[WAIT, M]: inputs of the rows that wait."""
    along: NDArray[np.float32]
    """[K, WAIT, M]: P x of them, but for the memory's scale."""
    bends: NDArray[np.float64]
    """[1 + K, WAIT]: their curvatures, and for how much of along along' each makes P less."""
    f_weights: NDArray[np.uint8]
    f_inverse: NDArray[np.uint8]
    f_curvature: NDArray[np.uint8]
    f_fresh: NDArray[np.uint8]
    f_rows: NDArray[np.uint8]
    f_along: NDArray[np.uint8]
    keeps: NDArray[np.float64]
    """[K]: what a memory keeps from row to row."""
    ridges: NDArray[np.float64]
    """[K]"""
    every: NDArray[np.int64]
    """[1]: rows between two computations of the inverses from the curvatures. Within them nothing is
    given back of the ridge that is forgotten."""


class Curved:
    """One set of columns of an expert, under a name. memories: what each keeps from row to row, and
    its ridge."""

    def __init__(
        self,
        name: str,
        order: NDArray[np.int64],
        memories: Sequence[tuple[float, float]],
        outputs: int,
        every: int,
        fields: Fields,
    ) -> None:
        self._name = name
        self._order, self._labels = order, {*fields.lags, *label_keys(fields)}
        keeps, ridges = zip(*memories, strict=True)
        self._keeps, self._ridges = np.array(keeps), np.array(ridges)
        self._every = np.array([every])
        self.most = min(MOST, -(-len(order) // BLOCK) * BLOCK)
        k, m = len(keeps), self.most
        triangle = -(-(m * (m + 1) // 2) // BLOCK) * BLOCK
        self.tensors = (
            Tensor(
                f"{name}_order",
                order.shape,
                "int64",
                order,
                points=fields.axis(range(fields.width)),
                gone=GONE,
            ),
            Tensor(f"{name}_counts", (4,), "float64"),
            Tensor(f"{name}_weights", (k * outputs, m), large=True),
            Tensor(f"{name}_inverse", (k, m, m), large=True),
            Tensor(f"{name}_scales", (k,), "float64", 1.0),
            Tensor(f"{name}_curvature", (k, triangle), large=True),
            Tensor(f"{name}_fresh", (triangle,), large=True),
            Tensor(f"{name}_rows", (WAIT, m), large=True),
            Tensor(f"{name}_along", (k, WAIT, m), large=True),
            Tensor(f"{name}_bends", (1 + k, WAIT), "float64"),
        )

    def part(self, held: Held) -> Part:
        """Return the views of a set."""
        part: Part | None = held.made.get(self._name)
        if part is None:
            part = held.made[self._name] = self._part(held)
        return part

    def _part(self, held: Held) -> Part:
        at, flags = held.at, held.flags
        names = {one: f"{self._name}_{one}" for one in Part._fields}
        views: dict[str, Any] = {one: at[name] for one, name in names.items() if name in at}
        views |= {f"f_{one}": flags[names[one]] for one in views if names[one] in flags}
        return Part(**views, keeps=self._keeps, ridges=self._ridges, every=self._every)

    def added(self, held: Held) -> None:
        """Columns changed: those in use move together where some are no more, so that others find
        places; they follow by worth."""
        part = self.part(held)
        order, learned = part.order, int(part.counts[0])
        n = min(learned, self.most, len(order))
        kept = np.flatnonzero(order[:n] != GONE)
        used = order[kept].tolist()
        rest = [column for column in self._order.tolist() if column not in used]
        order[:] = (used + rest)[: len(order)]
        if len(kept) < learned:
            self._keep(part, n, kept)

    def _keep(self, part: Part, n: int, kept: NDArray[np.int64]) -> None:
        """Forget all but some of the first n columns in use."""
        m = part.counts[0] = len(kept)
        renew(part, n)
        rows, columns = np.tril_indices(n)
        fewer = np.tril_indices(m)
        for packed in (*part.curvature, part.fresh):
            whole = np.zeros((n, n), np.float32)
            whole[rows, columns] = whole[columns, rows] = packed[: len(rows)]
            packed[:] = 0.0
            packed[: len(fewer[0])] = whole[np.ix_(kept, kept)][fewer]
        weights = part.weights[:, kept]
        part.weights[:], part.inverse[:] = 0.0, 0.0
        part.weights[:, :m] = weights
        renew(part, m)
        part.rows[:], part.along[:] = 0.0, 0.0
        flag(part)

    def rescale(self, held: Held, ratio: float, shift: float, moves: tuple[bool, ...]) -> None:
        """The label's unit changes: what was y is ratio * y + shift. moves: of each output, whether
        the shift is for it too (a difference of labels has none). Inputs that are labels change
        with it: x becomes T x, C becomes T C T'."""
        part = self.part(held)
        n = int(part.counts[0])
        if n == 0:
            return
        order = part.order[:n]
        labels = np.isin(order, [*self._labels])
        bias = int(np.flatnonzero(order == BIAS)[0])
        renew(part, n)
        change = np.diag(np.where(labels, ratio, 1.0))
        change[labels, bias] = shift
        rows, columns = np.tril_indices(n)
        for k in range(len(self._keeps)):
            whole = np.zeros((n, n))
            whole[rows, columns] = whole[columns, rows] = part.curvature[k, : len(rows)]
            part.curvature[k, : len(rows)] = (change @ whole @ change.T)[rows, columns]
        weights = part.weights[:, :n].astype(np.float64)
        moved = np.where(labels, weights, ratio * weights)
        moved[:, bias] += shift * (
            np.tile(moves, len(self._keeps)) - weights[:, labels].sum(axis=1)
        )
        part.weights[:, :n] = moved
        renew(part, n)
        flag(part)


def flag(part: Part) -> None:
    """Flag everything as changed."""
    for name in Part._fields:
        if name.startswith("f_"):
            getattr(part, name)[:] = 1


def plain_columns(fields: Fields) -> NDArray[np.int64]:
    """Return the columns of the event itself, by worth."""
    first = [BIAS, *fields.z, *fields.plain, *fields.keys, *fields.one_hot, *fields.missing]
    return np.array(first, dtype=np.int64)


def all_columns(fields: Fields) -> NDArray[np.int64]:
    """Return those, and by what is left of the places lags, context and pieces."""
    dense = [BIAS, *fields.z, *fields.plain, *fields.keys]
    lags = [*fields.lags][:LAGS]
    kept = min(len(fields.one_hot), ONE_HOT) + min(len(fields.missing), MISSING)
    left = max(0, MOST - len(dense) - len(lags) - kept)
    pieces = np.array(fields.pieces, dtype=np.int64).reshape(-1, 4)
    context = np.array(fields.context, dtype=np.int64).reshape(-1, 3)
    more = np.concatenate(
        [pieces[:, 1], pieces[:, 2], context[:, 1], pieces[:, 0], pieces[:, 3], context[:, 0],
         context[:, 2]]
    )[:left].tolist()  # fmt: skip
    return np.array([*dense, *fields.one_hot, *fields.missing, *lags, *more], dtype=np.int64)
