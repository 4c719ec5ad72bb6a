"""What the class of a label makes of an event's weight: given weights, or shares seen so far.

A rare class counts min(20, (p / q) ** 0.5), p the share of the most frequent class and q its own,
both among the labels learned before the event; they forget after about 20,000 labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.featurizer import Rows
from service.model.kinds.seam import Extra
from service.model.losses import FORGET
from service.model.names import escape
from service.settings import BinaryTarget, MulticlassTarget

if TYPE_CHECKING:
    from service.model.recipe import Recipe
    from service.model.state import State

MOST = 20.0
"""A class never counts more than so many times the most frequent one."""


class Classes:
    """The importance of labels under one recipe. Holds no state."""

    def __init__(self, recipe: Recipe) -> None:
        self._n_targets = len(recipe.schema.targets)
        self._given: dict[int, NDArray[np.float64]] = {}
        self._balanced: dict[int, str] = {}
        for t, target in enumerate(recipe.schema.targets):
            spec = recipe.event.targets[target.name]
            if not isinstance(spec, BinaryTarget | MulticlassTarget):
                continue
            names = _names(spec)
            if spec.class_weights:
                weights = [spec.class_weights.get(name, 1.0) for name in names]
                self._given[t] = np.array(weights, dtype=np.float64)
            if spec.balance:
                self._balanced[t] = _counts(target.name)

    def count(
        self, state: State, rows: Rows, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return weights [N] and importances [N, T] (None: all 1) of rows; count their labels."""
        return self._of(state, rows, weights, learn=True)

    def apply(
        self, state: State, rows: Rows, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the same and count nothing."""
        return self._of(state, rows, weights, learn=False)

    def _of(
        self, state: State, rows: Rows, weights: NDArray[np.float64], *, learn: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        if not self._given and not self._balanced:
            return weights, None
        importance = np.ones((len(rows), self._n_targets))
        for t, given in self._given.items():
            labelled = ~np.isnan(rows.y[:, t])
            importance[labelled, t] = given[rows.y[labelled, t].astype(np.int64)]
        for t, name in self._balanced.items():
            counts = cast(NDArray[np.float64], state.extras[name])
            _balance(np.ascontiguousarray(rows.y[:, t]), weights, counts, learn, importance[:, t])
        if self._n_targets == 1:  # every kind knows the weight of a row
            return weights * importance[:, 0], None
        return weights, importance


def extras(recipe: Recipe) -> list[Extra]:
    """Return what balanced targets remember: the labels of each class so far, fading."""
    found = []
    for name, spec in sorted(recipe.event.targets.items()):
        if isinstance(spec, BinaryTarget | MulticlassTarget) and spec.balance:
            shape = (len(_names(spec)),)
            found.append(Extra("optimizer", _counts(name), "float64", shape, 1.0, name))
    return found


def _names(spec: BinaryTarget | MulticlassTarget) -> tuple[str, ...]:
    return ("0", "1") if isinstance(spec, BinaryTarget) else tuple(spec.classes)


def _counts(target: str) -> str:
    return f"class_counts/{escape(target)}"


@njit(nogil=True, cache=True)
def _balance(y, weights, counts, learn, importance):
    """Multiply importance [N] by that of each label's class; counts [K] grow row by row."""
    for r in range(y.shape[0]):
        if math.isnan(y[r]) or weights[r] <= 0.0:
            continue
        c = int(y[r])
        importance[r] *= min(MOST, math.sqrt(counts.max() / max(counts[c], 1e-9)))
        if learn:
            for k in range(counts.shape[0]):
                counts[k] *= 1.0 - FORGET
            counts[c] += 1.0
