"""Forests: histogram trees over the last rows, ever renewed.

A tree is made from a sample of a window of rows; the oldest of eight is replaced whenever an eighth
of the window has passed, and the leaves of all move with every row. Age matters more than number:
no drift detector is needed (compare Gomes et al. 2017, adaptive random forests). Members differ in
the window, and in whether they see what came lately (moving averages of numbers and labels).
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import forest_pass as compiled
from service.model.experts.forest_bins_pass import BINS
from service.model.experts.forest_grow_pass import DEPTH
from service.model.experts.forest_pass import (
    FIRST_LEAF,
    LABEL,
    MOST_LEAVES,
    RENEW,
    ROWS,
    SEEN,
    TREES,
)
from service.model.experts.seam import (
    KEY_INPUTS,
    Fields,
    Held,
    Inputs,
    Task,
    Tensor,
    label_keys,
    unweighted,
)

CLASS = (("", "", 1024), ("", "", ROWS), ("", "own", 1024), ("", "own", ROWS))
NUMBER = (("", "", ROWS), ("", "own", ROWS), ("change", "", 1024), ("change", "", ROWS))
"""Members: whether they learn the label or its change since the earlier label that is nearest as a
rule, whether they see all inputs or not what came lately, and the window in rows."""
MOST_COLUMNS = 192
"""Inputs that a window holds. Of more, these come first: deviations, plain inputs, labels of keys,
one-hot codes (more than two classes), missing, context, lags; each in the order of the schema."""
SAMPLE = 2048
"""Last rows that borders of bins come from; every second one of them."""
TAILS = (0.001, 0.003, 0.01, 0.02)
SHARES = np.array([*TAILS, *np.linspace(0.03, 0.97, BINS - 1 - 2 * len(TAILS)),
                   *(1.0 - t for t in reversed(TAILS))])  # fmt: skip
"""Of the rows below each border."""
VALUES = 2**17
"""Floats of the leaves of a group, about: classes beyond a few make trees coarser."""
UNPROVEN = 1e3
"""Usual error of an earlier label that joins others."""
FIRST = 4
"""Rows before the first tree."""


class Forest:
    """Rolling forests. The window takes 32 KiB for each input that it holds (five for a number, five
    for a category), at most 6 MiB; trees take 3 MiB, with a hundred classes 3.5."""

    name: ClassVar[str] = "forest"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._seed = task.seed
        own = [*fields.z, *fields.plain, *fields.keys]
        own += [*(fields.one_hot if task.classes > 2 else ()), *fields.missing]
        both = [*own, *fields.context, *fields.lags][:MOST_COLUMNS]
        self._columns = np.array(both, dtype=np.int64)
        d, widths = len(both), {"": len(both), "own": min(len(own), len(both))}
        self._labels = np.isin(self._columns, [*fields.lags, *label_keys(fields)])
        axis = fields.axis(both)
        self._last = np.array(
            [fields.lags.start, *fields.keys[::KEY_INPUTS]] if task.kind == "number" else [],
            dtype=np.int64,
        )
        one = 1 + task.outputs
        groups: list[tuple[int, ...]] = []
        names, node, leaf = [], 0, 0
        for change, seen, window in NUMBER if task.kind == "number" else CLASS:
            size = min(_leaves(window), max(256, VALUES // (TREES * one) // 64 * 64))
            label = d + 2 if change else d
            groups.append((window, widths[seen], label, size, node, leaf, len(groups)))
            names.append("/".join(x for x in ("forest", change, seen, str(window)) if x))
            node, leaf = node + TREES * 2 * size, leaf + TREES * size
        self.members: tuple[str, ...] = tuple(names)
        number = task.kind == "number"
        self.halves = ("forest/value", "forest/change") if number else ("forest/all", "forest/own")
        self._groups = np.array(groups, dtype=np.int64)
        start = 0.0 if task.kind == "number" else 1.0 / max(task.classes, 1)
        self.tensors: tuple[Tensor, ...] = (
            Tensor("ring", (ROWS, d + 3), large=True, axes=(None, (*axis, ("label", 3)))),
            Tensor("edges", (d + d % 2, BINS), large=True, axes=(axis,)),
            Tensor(
                "splits", (node, 4), large=True, points=(("leaf", 1), *axis), points_at=0, gone=1
            ),
            Tensor("leaves", (leaf, one), "float32", _first_leaves(leaf, one, start), large=True),
            Tensor("counts", (2 + 2 * len(groups),), "int64", _first_counts(len(groups))),
            Tensor(
                "bases",
                (max(len(self._last), 1),),
                "float64",
                axes=(fields.axis(self._last.tolist()),),
                added=UNPROVEN,
            ),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """Look at no counter but the rows': it may be in the middle of a change; see seam.Expert."""
        groups, found = self._working(rows, into)
        self._pass(held, unweighted(rows), 0, groups, found)
        if found is not into:
            into[:, -found.shape[1] :] = found

    def _pass(
        self,
        held: Held,
        rows: Inputs,
        first: int,
        groups: NDArray[np.int64],
        into: NDArray[np.float32],
    ) -> int:
        """Take rows from `first` on; return the row before which something is due, or N."""
        at, flags = held.at, held.flags
        row: int = compiled.learn(
            self._kind, rows.x, self._columns, self._last, rows.y, rows.weights, first, groups,
            at["ring"], at["splits"], at["leaves"], at["counts"], at["bases"], flags["ring"],
            flags["leaves"], into,
        )  # fmt: skip
        return row

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags, row = held.at, held.flags, 0
        groups, found = self._working(rows, into)
        while row < len(rows):
            row = self._pass(held, rows, row, groups, found)
            if at["counts"][SEEN] >= at["counts"][RENEW]:
                self._renew(held)
            compiled.make_due(
                self._kind, groups, at["ring"], at["edges"], at["splits"], at["leaves"],
                at["counts"], flags["splits"], flags["leaves"], self._seed,
            )  # fmt: skip
        if found is not into:
            into[:, -found.shape[1] :] = found

    def _working(
        self, rows: Inputs, into: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the groups that do not rest, and room for their predictions: into, or what is to be
        copied there behind what rests."""
        n = len(self._groups)
        first = n // 2 if self.halves[0] in rows.rest else 0
        last = n // 2 if self.halves[1] in rows.rest else n
        room = (
            into if first == 0 else np.empty((len(rows), last - first, into.shape[2]), np.float32)
        )
        return self._groups[first:last], room

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes: what was y is ratio * y + shift from now on."""
        at, d = held.at, len(self._columns)
        ring, edges, splits, leaves = (at[n] for n in ("ring", "edges", "splits", "leaves"))
        ring[:, d] = np.where(ring[:, d + 1] > 0, ring[:, d] * ratio + shift, 0.0)
        ring[:, d + 2] *= ratio
        for j in np.flatnonzero(self._labels):
            ring[:, j] = ring[:, j] * ratio + shift
            used = int(edges[j, -1])
            edges[j, :used] = edges[j, :used] * ratio + shift
            mine = splits[:, 0] == 1 + j
            splits[mine, 1] = splits[mine, 1] * ratio + shift
        for group in self._groups:
            first = group[FIRST_LEAF]
            by = shift if group[LABEL] == d else 0.0
            mine = slice(first, first + TREES * group[MOST_LEAVES])
            leaves[mine, 1:] = leaves[mine, 1:] * ratio + by
        at["bases"][:] *= ratio
        for flags in held.flags.values():
            flags[:] = 1

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""

    def _renew(self, held: Held) -> None:
        """Set the borders of bins anew, from the last rows."""
        at = held.at
        seen = int(at["counts"][SEEN])
        slots = np.arange(max(0, seen - SAMPLE), seen, 1 if seen < SAMPLE else 2) % ROWS
        edges = at["edges"][: len(self._columns)]
        edges[:] = borders(at["ring"][slots, : len(self._columns)])
        held.flags["edges"][:] = 1
        at["counts"][RENEW] = seen + max(1, min(seen // 4, SAMPLE // 2))


def _leaves(window: int) -> int:
    """Return how many leaves a tree has at most, a multiple of 64."""
    return int(min(-(-window * 0.68 // 64) * 64, 2**DEPTH))


def _first_counts(groups: int) -> NDArray[np.int64]:
    return np.array([0, FIRST, *[FIRST, 0] * groups], dtype=np.int64)


def _first_leaves(n: int, one: int, value: float) -> NDArray[np.float32]:
    leaves = np.full((n, one), value, dtype=np.float32)
    leaves[:, 0] = 1.0
    return leaves


def borders(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return borders [D, BINS] between bins of values x [N, D]: rising; the last is how many there
    are, the rest zero.

    Each lies in the middle of the widest gap near its share. Deviations of one value move with the
    running mean: a border close to them would some day lie on their other side.
    """
    n, d = x.shape
    edges = np.zeros((d, BINS), dtype=np.float32)
    if n < 2:
        return edges
    ordered = np.sort(np.ascontiguousarray(x.T), axis=1)
    gaps = ordered[:, 1:] - ordered[:, :-1]
    places = np.unique((SHARES * (n - 1)).astype(np.int64))
    ends = [0, *((places[1:] + places[:-1] + 1) // 2).tolist(), n - 1]
    every, used = np.arange(d), np.zeros(d, dtype=np.int64)
    for first, end in itertools.pairwise(ends):
        at = first + gaps[:, first:end].argmax(axis=1)
        gap = gaps[every, at]
        found = np.flatnonzero(gap > 0.0)
        edges[found, used[found]] = (ordered[every, at] + gap * np.float32(0.5))[found]
        used[found] += 1
    edges[:, -1] = used
    return edges
