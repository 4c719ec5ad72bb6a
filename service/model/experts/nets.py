"""Nets: two banks of small nets, one on the fields of an event, one on all that is known of it.

A net has 32 hidden units (relu) and no more. Those of a bank differ in their rate, from slow to
fast: where a faster one is surely better, it is copied over the slower one, which goes on from
there. With every row, three of the last 1,024 (fewer, where there are many inputs or classes) are
learned once more, at a third of the rate. The last net of each bank learns every row once and no
more: that is the best where the world moves with every row. See nets_pass.

The narrow bank sees deviations, plain figures, values of categories and what earlier labels of a
category's value say; the wide one sees besides the labels before, the numbers' moving averages and
their ranks. Inputs that are rarely 0 cost time; a bank sees at most 256 of them, in this order:
deviations, keys, plain, labels (up to 64 columns), moving averages over 8, 64 and 1 rows, more
labels, ranks. One-hot columns of up to 64 categories come besides.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import nets_pass as compiled
from service.model.experts.nets_step import HIDDEN, Bank
from service.model.experts.seam import (
    Fields,
    Held,
    Inputs,
    Task,
    Tensor,
    label_keys,
    rescale,
    unweighted,
)

NARROW, WIDE = (0.0005, 0.003, 0.02, 0.03), (0.003, 0.012, 0.012)
"""Rates of each bank, from slow to fast: steps are about so long in every weight. The slowest was
chosen on SEA."""
ONCE = (1, 1)
"""How many of the rates of each bank, the last ones, learn each row once and no more."""
FEW_NARROW, FEW_WIDE, FEW_FROM = (0.003, 0.03), (0.006,), 32
"""Rates where there are more classes than that, which all learn rows again: an output costs about as
much as an input. Not measured for accuracy: no stream at hand has so many."""
SEEDS = (1, 1)
"""Nets of each rate; a member predicts their mean."""
AGAIN = 3
"""Earlier rows that the others learn again with each new one, at most."""
WORK = 576
"""Inputs that are rarely 0, times those rows: fewer rows where there is more, but one. An output
counts as eight inputs."""
SHARE = 0.35
"""Share of the rate for those."""
RING = 1024
"""Rows that are remembered to be learned again."""
MOST_INPUTS, MOST_CATEGORIES, MOST_LAGS = 256, 64, 64
ROWS = 2
"""Rows of a first layer come in multiples of this, that a table fills blocks of 64 floats."""


class Nets:
    """Two banks of small nets."""

    name: ClassVar[str] = "nets"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        narrow, wide, lit = _columns(fields)
        self._columns = np.array([*narrow, *wide], dtype=np.int64)
        self._few = len(narrow)
        self._again = min(AGAIN, max(1, WORK // (lit[1] + 8 * task.outputs)))
        few = task.outputs > FEW_FROM
        narrow_rates: tuple[float, ...] = FEW_NARROW if few else NARROW
        wide_rates: tuple[float, ...] = FEW_WIDE if few else WIDE
        once = (0, 0) if few else ONCE
        self._seeds = np.array(SEEDS, dtype=np.int64)
        self.members = tuple(
            f"nets/{bank}{rate:g}" + ("/once" if k >= len(rates) - last else "")
            for bank, rates, last in (("a", narrow_rates, once[0]), ("b", wide_rates, once[1]))
            for k, rate in enumerate(rates)
        )
        n = len(self._columns)
        inside = (*fields.axis(self._columns.tolist()), ("label", 2))
        self._labels = np.isin(self._columns, [*fields.lags, *label_keys(fields)])
        tensors = [
            Tensor("ring", (RING, n + 2), large=True, axes=(None, inside)),
            Tensor("count", (1,), "int64"),
        ]
        for bank, rates, seeds, d, dense in (
            ("narrow", narrow_rates, SEEDS[0], self._few, lit[0]),
            ("wide", wide_rates, SEEDS[1], n, lit[1]),
        ):
            m, c = len(rates) * seeds, task.outputs
            rows = -(-(d + 1) // ROWS) * ROWS
            first = _drawn(f"{task.seed}/nets/{bank}", (rows, m * HIDDEN), math.sqrt(2 / dense))
            first[0] = first[d + 1 :] = 0.0
            shapes = {
                "output": (c, m, HIDDEN), "bias": (c, m), "of_input": (d + 1,),
                "of_slope": (m * HIDDEN,), "of_hidden": (m * HIDDEN,), "of_output": (c, m),
            }  # fmt: skip
            axes = ((("bias", 1), *inside[:d]),)
            tensors.append(
                Tensor(
                    f"{bank}_first", first.shape, initial=first, large=True, axes=axes, added=0.0
                )
            )
            units = {"output": "slope", "bias": "value", "of_output": "square"}
            tensors += [
                Tensor(
                    f"{bank}_{name}", shape, units=(units.get(name, ""),),
                    axes=axes if name == "of_input" else (),
                )
                for name, shape in shapes.items()
            ]  # fmt: skip
            tensors.append(Tensor(f"{bank}_compared", (m, 3), "float64", units=("square", "", "")))
        self.tensors = tuple(tensors)
        self._fixed = tuple(
            _fixed(*each) for each in zip((narrow_rates, wide_rates), once, SEEDS, strict=True)
        )

    def _banks(self, held: Held) -> tuple[Bank, Bank]:
        banks: tuple[Bank, Bank] | None = held.made.get("banks")
        if banks is None:
            narrow, wide = self._fixed
            banks = held.made["banks"] = _bank(held, "narrow", narrow), _bank(held, "wide", wide)
        return banks

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        narrow, wide = self._banks(held)
        flags = held.flags
        compiled.learn(
            self._kind, rows.x, rows.y, rows.weights, self._columns, self._few, narrow, wide,
            self._seeds, 0 if "replays" in rows.rest else self._again, held.at["ring"], held.at["count"], flags["narrow_first"],
            flags["wide_first"], flags["ring"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert. An input that was a label is ratio times what it was, and shifted."""
        rescale(self.tensors, held, ratio, shift)
        at, labels = held.at, self._labels
        for bank in ("narrow", "wide"):
            first = at[f"{bank}_first"]
            mine = np.flatnonzero(labels[: len(at[f"{bank}_of_input"]) - 1]) + 1
            first[mine] /= np.float32(ratio)
            first[0] -= np.float32(shift) * first[mine].sum(axis=0)
            at[f"{bank}_of_input"][mine] *= np.float32(ratio**2)
            at[f"{bank}_of_slope"] *= np.float32(ratio**4)
            at[f"{bank}_compared"][:, 1] *= ratio**4
            held.flags[f"{bank}_first"][:] = 1
        moved = np.append(np.flatnonzero(labels), len(labels))
        at["ring"][:, moved] = at["ring"][:, moved] * np.float32(ratio) + np.float32(shift)
        held.flags["ring"][:] = 1

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""


def _bank(held: Held, name: str, fixed: tuple[Any, ...]) -> Bank:
    learned = Bank._fields[: -len(fixed)]
    return Bank._make([*(held.at[f"{name}_{tensor}"] for tensor in learned), *fixed])


def _columns(fields: Fields) -> tuple[list[int], list[int], tuple[int, int]]:
    """Return the columns of the narrow bank, those that the wide one sees besides, and how many of
    each bank are usually not 0."""
    f, v = fields.numbers, len(fields.categories)
    shown = min(v, MOST_CATEGORIES)
    dense = [*fields.z, *fields.keys, *fields.plain][:MOST_INPUTS]
    rare = [*fields.missing[:MOST_INPUTS]]
    if v:
        rare += fields.one_hot[: len(fields.one_hot) // v * shown]
    spans = len(fields.context) // f if f else 0
    by_span = [
        column
        for s in (1, 2, 0)[:spans]
        for column in fields.context[s::spans]
    ]  # fmt: skip
    lags = [*fields.lags]
    first, later = (lags, []) if len(lags) <= MOST_LAGS else ([], lags)
    more = [*first, *by_span, *later, *fields.pieces][: max(0, MOST_INPUTS - len(dense))]
    few = len(dense) + shown
    return dense + rare, more, (max(few, 1), max(few + len(more), 1))


def _drawn(name: str, shape: tuple[int, int], deviation: float) -> NDArray[np.float32]:
    seed = hashlib.sha256(name.encode()).digest()
    bits = np.random.Philox(key=np.frombuffer(seed[:16], dtype=np.uint64))
    return (np.random.Generator(bits).standard_normal(shape) * deviation).astype(np.float32)


def _fixed(
    rates: tuple[float, ...], once: int, seeds: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], int]:
    """Return what no net of a bank learns: rates, shares of them for rows learned again, which net
    is the next faster one of the same seed and habit, and how many learn rows again. Net
    k * seeds + s has rate k."""
    m, repeating = len(rates) * seeds, (len(rates) - once) * seeds
    faster = np.arange(m, dtype=np.int64) + seeds
    faster[faster >= m] = -1
    faster[max(repeating - seeds, 0) : repeating] = -1
    return (
        np.repeat(np.array(rates, dtype=np.float32), seeds),
        np.full(m, SHARE, dtype=np.float32),
        faster,
        repeating,
    )
