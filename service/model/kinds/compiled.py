"""A kind of model whose passes are numba kernels: what all of those share.

Such a kind names its kernels in `passes` and gives them, beside state and rows, a named tuple of
arrays of its own (`tables`): where its weights lie, and its settings. Learning goes through the
torch operators headwater::<name>_learn and ::<name>_gradient; scoring needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema, TargetKind
from service.model.featurizer import Rows
from service.model.kinds.seam import (
    Extra,
    Extras,
    Flat,
    Gradient,
    Kind,
    Learned,
    Moving,
    Parameter,
    Served,
    placed,
    reshaped,
)
from service.model.kinds.single import Single
from service.model.losses import KINDS as TARGETS

if TYPE_CHECKING:
    from service.model.recipe import Recipe


class Given(NamedTuple):
    """Rows as kernels read them; shapes as in featurizer.Rows."""

    x: NDArray[np.float32]
    ids: NDArray[np.int64]
    spans: NDArray[np.int64]
    entries: NDArray[np.int64]
    values: NDArray[np.float32]
    y: NDArray[np.float64]


class Passes(NamedTuple):
    """The kernels of one kind, and the type of the tables that they read. A kind with a `score` of
    its own calls its kernel as it likes; else:

    score(tables, served, given, scores); learn(tables, moving, given, weights, scores, losses,
    norms, applied); gradient(tables, moving, given, weights, values, moved).
    """

    tables: type[Any]
    score: Callable[..., None]
    learn: Callable[..., None]
    gradient: Callable[..., None]


class Compiled(Single, ABC):
    """Base of the kinds that are compiled: they say `parameters_of` and `tables_of`."""

    name: ClassVar[str]
    shaped_by: ClassVar[tuple[str, ...]] = ()
    """Settings of `model` that may not change under weights that have learned."""
    learns: ClassVar[tuple[TargetKind, ...]] = ("binary", "multiclass", "number")
    differentiable: ClassVar[bool] = True
    lacks: str | None = None
    passes: ClassVar[Passes]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.parameters: tuple[Parameter, ...] = tuple(self.parameters_of())
        self.places, self.size = placed(self.parameters)
        self.extras: tuple[Extra, ...] = tuple(self.extras_of())
        self.flats: tuple[Flat, ...] = ()
        self.tables: tuple[NDArray[Any], ...] = self.tables_of()

    @abstractmethod
    def parameters_of(self) -> list[Parameter]:
        """Return the weights, in their order."""

    def extras_of(self) -> list[Extra]:
        """Return what else it remembers."""
        return []

    @abstractmethod
    def tables_of(self) -> tuple[NDArray[Any], ...]:
        """Return the named tuple of arrays that the kernels read."""

    @classmethod
    def misfits(cls, old: Recipe, new: Recipe) -> list[str]:
        """Return why weights cannot go on; see seam.Kind."""
        return reshaped(cls.shaped_by, old, new)

    def inherit(self, old: Kind, held: Extras, into: Extras) -> None:
        """Take over nothing but what names tell; see seam.Kind."""
        del old, held, into

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind."""
        scores = np.empty((len(rows), self.recipe.schema.outputs))
        self.passes.score(self.tables, served, given(rows), scores)
        return scores

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Learn N rows; see seam.Kind."""
        from service.model import ops  # torch: the API never learns

        results = (into.scores, into.losses, into.norms, into.applied)
        ops.learn(self.name, self.passes, self.tables, moving, (*given(rows), weights), results)

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Add up the gradients of N rows; see seam.Kind."""
        from service.model import ops

        results = (into.values, into.moved)
        ops.gradient(self.name, self.passes, self.tables, moving, (*given(rows), weights), results)


def given(rows: Rows) -> Given:
    """Return rows as kernels read them."""
    return Given(rows.x, rows.ids, rows.spans, rows.entries, rows.values, rows.y)


def target_table(schema: Schema) -> NDArray[np.int64]:
    """Return [T, 4]: kind, first output, outputs, whether the frame moves."""
    rows = [(TARGETS[t.kind], t.start, t.outputs, int(t.scaled)) for t in schema.targets]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def emphasis(schema: Schema) -> NDArray[np.float64]:
    """Return [T]: what the slopes of each target are multiplied with."""
    return np.array([t.weight for t in schema.targets], dtype=np.float64)
