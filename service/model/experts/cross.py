"""Crosses: a linear model on bins of numbers, categories, and hashed pairs and triples of them.

One weight per bin and output, AdaGrad with forgetting per weight (Duchi et al. 2011). Each member
has a rate of its own; the step of a row is the sum over its active inputs.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.codes import mixed
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale

RATES = np.array([1.0, 4.0])
PAIRS, TRIPLES = 32, 32
BINS, PAIR_BINS, TRIPLE_BINS = 16, 8, 4
FIRST = 1e-3
KEEP = 0.999


class Cross:
    """A linear model on crosses."""

    name: ClassVar[str] = "cross"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self.members = tuple(f"cross/{rate:g}" for rate in RATES)
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._rows = 2**17 if task.outputs > 4 else 2**18
        n = fields.numbers + len(fields.categories)
        self._combos = _combos(n, task.seed)
        self._dense = np.array([*fields.z, *fields.plain], dtype=np.int64)
        k, o, units = len(RATES), task.outputs, ("slope", "square")
        self.tensors = (
            Tensor("table", (self._rows, k, o, 2), large=True, units=units),
            Tensor("dense", (-(-(len(self._dense) + 1) // 32) * 32, k, o, 2), large=True, units=units),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        _score(
            self._kind, self._combos, self._dense, rows.x, rows.ranks, rows.ids, at["table"],
            at["dense"], into,
        )  # fmt: skip

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        _learn(
            self._kind, self._combos, self._dense, rows.x, rows.ranks, rows.ids, rows.y,
            rows.weights, at["table"], at["dense"], flags["table"], flags["dense"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)
        held.at["dense"][len(self._dense), :, :, 0] += np.float32(shift)


def _combos(n: int, seed: int) -> NDArray[np.int64]:
    """Return [M, 4]: how many members, and which (-1: none): all single ones, then random pairs and
    triples without repetition."""
    singles = [(1, i, -1, -1) for i in range(n)]
    draw = np.random.Generator(np.random.Philox(key=seed + 17))
    pairs = [(2, i, j, -1) for i in range(n) for j in range(i + 1, n)]
    found = list(singles)
    if pairs:
        take = draw.permutation(len(pairs))[:PAIRS]
        found += [pairs[i] for i in sorted(take.tolist())]
    if n >= 3:
        triples: set[tuple[int, int, int, int]] = set()
        for _ in range(20 * TRIPLES):
            i, j, k = sorted(draw.permutation(n)[:3].tolist())
            triples.add((3, i, j, k))
            if len(triples) == TRIPLES:
                break
        found += sorted(triples)
    return np.array(found, dtype=np.int64).reshape(-1, 4)


@njit(nogil=True, cache=True)
def _places(combos, ranks, ids, rows, out):
    """Write the row of the table for each combination."""
    n_numbers = ranks.shape[0]
    for m in range(combos.shape[0]):
        size = combos[m, 0]
        bins = BINS if size == 1 else PAIR_BINS if size == 2 else TRIPLE_BINS
        code = np.uint64(m + 1) * np.uint64(0x9E3779B97F4A7C15)
        for i in range(size):
            f = combos[m, 1 + i]
            if f < n_numbers:
                value = np.int64(-1) if ranks[f] < 0 else min(np.int64(ranks[f] * bins), bins - 1)
                value += 1
            else:
                value = ids[f - n_numbers]
            code = mixed(code + np.uint64(value) * np.uint64(0xD1B54A32D192ED03))
        out[m] = np.int64(code % np.uint64(rows))


@njit(nogil=True, cache=True)
def _outputs(kind, dense_at, x, places, table, dense, k, out):
    """Write the outputs of member k [O]: sums, then the link."""
    n = dense_at.shape[0]
    for o in range(out.shape[0]):
        total = dense[n, k, o, 0]
        for m in range(places.shape[0]):
            total += table[places[m], k, o, 0]
        for j in range(n):
            total += x[dense_at[j]] * dense[j, k, o, 0]
        out[o] = total
    if kind == 0:
        out[0] = 1.0 / (1.0 + math.exp(-min(max(out[0], -30.0), 30.0)))
    elif kind == 1:
        top = out[0]
        for o in range(1, out.shape[0]):
            top = max(top, out[o])
        total = 0.0
        for o in range(out.shape[0]):
            out[o] = math.exp(out[o] - top)
            total += out[o]
        for o in range(out.shape[0]):
            out[o] /= total


@njit(nogil=True, cache=True)
def _score(kind, combos, dense_at, x, ranks, ids, table, dense, into):
    places, out = np.empty(combos.shape[0], dtype=np.int64), np.empty(into.shape[2])
    for r in range(x.shape[0]):
        _places(combos, ranks[r], ids[r], table.shape[0], places)
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], places, table, dense, k, out)
            for o in range(out.shape[0]):
                into[r, k, o] = out[o]


@njit(nogil=True, cache=True)
def _learn(kind, combos, dense_at, x, ranks, ids, y, weights, table, dense, t_flags, d_flags, into):
    n_dense, n_out = dense_at.shape[0], into.shape[2]
    places, out = np.empty(combos.shape[0], dtype=np.int64), np.empty(n_out)
    row = table.shape[1] * n_out * 2
    active = combos.shape[0] + n_dense + 1
    for r in range(x.shape[0]):
        _places(combos, ranks[r], ids[r], table.shape[0], places)
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], places, table, dense, k, out)
            rate = RATES[k] / active
            for o in range(n_out):
                into[r, k, o] = out[o]
                if not learned:
                    continue
                truth = y[r] if kind != 1 else (1.0 if int(y[r]) == o else 0.0)
                g = (out[o] - truth) * weights[r]
                if kind == 2:
                    g = min(max(g, -1.5), 1.5)
                for m in range(places.shape[0]):
                    cell = table[places[m], k, o]
                    cell[1] = KEEP * cell[1] + g * g
                    cell[0] -= rate * g / math.sqrt(FIRST + cell[1])
                for j in range(n_dense + 1):
                    value = x[r, dense_at[j]] if j < n_dense else np.float32(1.0)
                    if value != 0.0:
                        cell, gj = dense[j, k, o], g * value
                        cell[1] = KEEP * cell[1] + gj * gj
                        cell[0] -= rate * gj / math.sqrt(FIRST + cell[1])
        if learned:
            d_flags[:] = 1
            for m in range(places.shape[0]):
                first = places[m] * row
                for b in range(first >> 6, ((first + row - 1) >> 6) + 1):
                    t_flags[b] = 1
