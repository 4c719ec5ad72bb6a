"""Crosses: a linear model on bins of numbers, categories, and hashed pairs and triples of them.

One weight per bin and output, AdaGrad with forgetting per weight (Duchi et al. 2011). Each member
has a rate of its own; the step of a row is the sum over its active inputs. Which pairs and triples
there are is drawn from the names of the fields, and stays when fields are added.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.codes import mixed
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale

RATES = np.array([1.0, 4.0])
PAIRS, TRIPLES = 32, 32
MOST = 64
"""Fields of which combinations are drawn; of more, the first ones by name."""
BINS, PAIR_BINS, TRIPLE_BINS = 16, 8, 4
FIRST = 1e-3
KEEP = 0.999
HUBER = 1.5


class Cross:
    """A linear model on crosses."""

    name: ClassVar[str] = "cross"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self.members = tuple(f"cross/{rate:g}" for rate in RATES)
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._names, self._seed = fields.names, task.seed
        rows = 2**17 if task.outputs > 4 else 2**18
        self._salts = np.array([_code(task.seed, name) for name in fields.names], dtype=np.uint64)
        self._dense = np.array([*fields.z, *fields.plain], dtype=np.int64)
        self._bias = len(self._dense)
        k, o, units = len(RATES), task.outputs, ("slope", "square")
        drawn = np.full((PAIRS + TRIPLES, 3), -1, dtype=np.int64)
        self._draw(drawn)
        places = ((fields.axis(self._dense.tolist())) + (("bias", 1),),)
        self.tensors = (
            Tensor(
                "combos", drawn.shape, "int64", drawn,
                points=tuple((name, 1) for name in fields.names),
            ),
            Tensor("table", (rows, k, o, 2), large=True, units=units),
            Tensor(
                "dense", (-(-(self._bias + 1) // 32) * 32, k, o, 2), large=True, units=units,
                axes=places,
            ),
        )  # fmt: skip

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at = held.at
        _score(
            self._kind, self._salts, at["combos"], self._dense, rows.x, rows.ranks, rows.ids,
            at["table"], at["dense"], into,
        )  # fmt: skip

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        _learn(
            self._kind, self._salts, at["combos"], self._dense, rows.x, rows.ranks, rows.ids,
            rows.y, rows.weights, at["table"], at["dense"], flags["table"], flags["dense"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)
        held.at["dense"][self._bias, :, :, 0] += np.float32(shift)

    def added(self, held: Held) -> None:
        """Draw combinations with fields that are new, where there is room; see seam.Expert."""
        self._draw(held.at["combos"])

    def _draw(self, combos: NDArray[np.int64]) -> None:
        """Fill free rows [3] (fields, -1: none) with pairs, then triples, in the order of a hash."""
        names = self._names[:MOST]
        for size, first, room in ((2, 0, PAIRS), (3, PAIRS, TRIPLES)):
            part = combos[first : first + room]
            part[(part[:, :size] < 0).any(axis=1)] = -1
            there = {tuple(row[:size]) for row in part.tolist()}
            free = np.flatnonzero(part[:, 0] < 0)
            possible = itertools.combinations(range(len(names)), size)
            ordered = sorted(possible, key=lambda c: _code(self._seed, *(names[i] for i in c)))
            fresh = (combo for combo in ordered if combo not in there)
            for slot, combo in zip(free.tolist(), fresh, strict=False):
                part[slot, :size] = combo


def _code(seed: int, *names: str) -> int:
    """Return a hash of names, 64 bits."""
    text = "\0".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@njit(nogil=True, cache=True)
def _value(f, bins, ranks, ids):
    """Return the bin of a number, 0 where it is missing, or the row of a category."""
    n = ranks.shape[0]
    if f >= n:
        return ids[f - n]
    return np.int64(0) if ranks[f] < 0 else 1 + min(np.int64(ranks[f] * bins), bins - 1)


@njit(nogil=True, cache=True)
def _places(salts, combos, ranks, ids, rows, out):
    """Write the row of the table of each active input; return how many there are."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    n = salts.shape[0]
    for f in range(n):
        value = np.uint64(_value(f, BINS, ranks, ids))
        out[f] = np.int64(mixed(salts[f] + value * golden) % np.uint64(rows))
    for m in range(combos.shape[0]):
        if combos[m, 0] < 0:
            continue
        bins = PAIR_BINS if combos[m, 2] < 0 else TRIPLE_BINS
        code = np.uint64(0)
        for i in range(3):
            f = combos[m, i]
            if f >= 0:
                code = mixed(code + salts[f] + np.uint64(_value(f, bins, ranks, ids)) * golden)
        out[n] = np.int64(code % np.uint64(rows))
        n += 1
    return n


@njit(nogil=True, cache=True)
def _outputs(kind, dense_at, x, places, table, dense, k, out):
    """Write the outputs of member k [O]: sums, then the link."""
    n = dense_at.shape[0]
    for o in range(out.shape[0]):
        total = float(dense[n, k, o, 0])
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
def _score(kind, salts, combos, dense_at, x, ranks, ids, table, dense, into):
    room = np.empty(salts.shape[0] + combos.shape[0], dtype=np.int64)
    out = np.empty(into.shape[2])
    for r in range(x.shape[0]):
        n = _places(salts, combos, ranks[r], ids[r], table.shape[0], room)
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], room[:n], table, dense, k, out)
            for o in range(out.shape[0]):
                into[r, k, o] = out[o]


@njit(nogil=True, cache=True)
def _learn(
    kind, salts, combos, dense_at, x, ranks, ids, y, weights, table, dense, t_flags, d_flags, into
):  # fmt: skip
    n_dense, n_out = dense_at.shape[0], into.shape[2]
    room = np.empty(salts.shape[0] + combos.shape[0], dtype=np.int64)
    out = np.empty(n_out)
    row = table.shape[1] * n_out * 2
    for r in range(x.shape[0]):
        n = _places(salts, combos, ranks[r], ids[r], table.shape[0], room)
        places = room[:n]
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        for k in range(into.shape[1]):
            _outputs(kind, dense_at, x[r], places, table, dense, k, out)
            rate = RATES[k] / (n + n_dense + 1)
            for o in range(n_out):
                into[r, k, o] = out[o]
                if not learned:
                    continue
                truth = y[r] if kind != 1 else (1.0 if int(y[r]) == o else 0.0)
                g = (out[o] - truth) * weights[r]
                if kind == 2:
                    g = min(max(g, -HUBER), HUBER)
                for m in range(n):
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
            for m in range(n):
                first = places[m] * row
                for b in range(first >> 6, ((first + row - 1) >> 6) + 1):
                    t_flags[b] = 1
