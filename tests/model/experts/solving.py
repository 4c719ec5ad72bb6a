"""Rows with columns of every sort, and passes over them in cuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.model.experts.seam import BLOCK, Expert, Fields, Held, Inputs, Task, Tensor
from tests.model.experts.rows import fields as named_fields


def fields_of(numbers: int, categories: int, classes: int) -> Fields:
    """Return the columns of so many numbers and categories, 2 plain ones; classes: 0 is a number."""
    ends = [0]

    def span(width: int) -> range:
        ends.append(ends[-1] + width)
        return range(ends[-2], ends[-1])

    return named_fields(
        numbers, (64,) * categories, span(numbers), span(numbers), span(2), span(32 * categories),
        span(3 * numbers), span(4 * numbers), span(0 if classes > 2 else 5 * categories),
        span(3 * (classes if classes > 2 else 1)), ends[-1],
    )  # fmt: skip


def inputs(
    x: NDArray[np.float32], y: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Inputs:
    """Return rows that are nothing but x [N, D], y [N] and weights [N]."""
    n, none = len(x), np.empty(0, dtype=np.int64)
    return Inputs(
        np.ascontiguousarray(x), np.empty((n, 0), dtype=np.float32), np.zeros((n, 0), np.int64),
        np.zeros((n, 1), np.int64), none, np.empty(0, np.float32), y,
        np.ones(n) if weights is None else weights,
    )  # fmt: skip


def drawn(fields: Fields, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return x [N, D]: numbers, and one value of each category; 5 % of the missing flags are set."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, fields.width)).astype(np.float32)
    x[:, [*fields.missing]] = draw.random((n, len(fields.missing))) < 0.05
    x[:, [*fields.one_hot]] = 0.0
    for c in range(len(fields.categories)):
        x[np.arange(n), fields.one_hot.start + 32 * c + draw.integers(0, 5, n)] = 1.0
    return x


def held_of(tensors: Sequence[Tensor]) -> Held:
    """Return tensors as they are before the first row."""
    at, flags = {}, {}
    for one in tensors:
        at[one.name] = np.zeros(one.shape, one.dtype)
        at[one.name][...] = one.initial
        if one.large:
            assert at[one.name].size % BLOCK == 0, one.name
            flags[one.name] = np.zeros(at[one.name].size // BLOCK, np.uint8)
    return Held(at, flags)


def learned(
    expert: Expert, task: Task, rows: Inputs, size: int, held: Held | None = None
) -> tuple[Held, NDArray[np.float32]]:
    """Return tensors and predictions [N, K, O] after rows in cuts of one size."""
    held = held_of(expert.tensors) if held is None else held
    into = np.full((len(rows), len(expert.members), task.outputs), np.nan, np.float32)
    for lo in range(0, len(rows), size):
        cut = slice(lo, lo + size)
        part = inputs(rows.x[cut], rows.y[cut], rows.weights[cut])
        expert.learn(held, part, into[cut])
    return held, into


def bits(held: Held) -> dict[str, bytes]:
    """Return what the tensors hold, to compare."""
    return {name: one.tobytes() for name, one in held.at.items()}
