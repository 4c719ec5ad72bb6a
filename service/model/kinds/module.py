"""A torch.nn.Module of the user's own as a kind of model, learned by autograd in steps.

Its parameters lie in theta as module/<name>, its persistent buffers are extras that nothing
changes. A step is `learning.step_rows` rows, or what is left of a cut: their mean gradient by the
optimizer's rule. Rows are scored by the weights before their step. The same cuts give the same
bits; the same rows in other cuts do not, and a prediction may differ in its last digits with the
number of rows that are asked for at once.

Embeddings are stepped lazily, in the rows that were used, as in the other kinds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.errors import BadSettings
from service.events.schema import TargetKind
from service.model.featurizer import Rows
from service.model.kinds import module_passes
from service.model.kinds.compiled import emphasis, given, target_table
from service.model.kinds.module_batch import batch_of, outputs_of
from service.model.kinds.module_bound import Bound, Placed, embeddings_of, heads_of
from service.model.kinds.module_build import (
    DTYPES,
    Killed,
    Shapes,
    check_shapes,
    construct,
    joined,
    nothing,
    one_thread,
    persistent_buffers,
    refuse,
    said,
    seeded,
)
from service.model.kinds.module_slope import Slope, piece_of, reaches_of, square_of
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
from service.model.steps import clipped
from service.model.strategies.view import SAFE, SERVE, is_on

if TYPE_CHECKING:
    from service.model.recipe import Recipe

PREFIX = "module/"


class Heads(NamedTuple):
    """Where the weights of each output lie, as module_passes.settle reads it."""

    places: NDArray[np.int64]
    """[O, 3]: its first weight, its bias (-1: not known), how many weights it has."""


class Module(Single):
    """The kind that is made of a user's module."""

    name: ClassVar[str] = "module"
    learns: ClassVar[tuple[TargetKind, ...]] = ("binary", "multiclass", "number")
    differentiable: ClassVar[bool] = True
    lacks: str | None = None

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        one_thread()
        schema = recipe.schema
        self.module = construct(recipe)
        sparse = {id(weight) for weight in embeddings_of(self.module)}
        self._named = {PREFIX + n: p for n, p in self.module.named_parameters()}
        self._kept = {PREFIX + n: b for n, b in persistent_buffers(self.module).items()}
        self.parameters: tuple[Parameter, ...] = tuple(
            Parameter(name, tuple(p.shape), sparse=id(p) in sparse, initial=p.detach().numpy())
            for name, p in self._named.items()
        )
        self.extras: tuple[Extra, ...] = tuple(
            Extra(
                "weights", name, DTYPES[b.dtype], tuple(b.shape),  # type: ignore[arg-type]
                b.numpy().astype(DTYPES[b.dtype]), quiet=True,
            )
            for name, b in self._kept.items()
        )  # fmt: skip
        self.flats: tuple[Flat, ...] = ()
        self.places, self.size = placed(self.parameters)
        if recipe.module is not None:
            check_shapes(recipe.kind, recipe.module.shapes, self.shapes())
        self._targets, self._emphasis = target_table(schema), emphasis(schema)
        self._heads = self._find_heads()
        self._bound: dict[tuple[int, ...], Bound] = {}

    def shapes(self) -> Shapes:
        """Return the shape of every parameter and kept buffer, by name."""
        tensors = {**self._named, **self._kept}
        return {name: list(tensor.shape) for name, tensor in tensors.items()}

    @classmethod
    def misfits(cls, old: Recipe, new: Recipe) -> list[str]:
        """Return nothing: the shapes of the user's weights are compared by others."""
        return reshaped((), old, new)

    def inherit(self, old: Kind, held: Extras, into: Extras) -> None:
        """Take over nothing but what names tell; see seam.Kind."""

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind."""
        one_thread()
        outs = self._outputs(self.bound(served.theta, served.extras), rows)
        scores = np.empty(outs.shape)
        module_passes.link_all(self._targets, served.frames, outs, scores)
        return scores

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Score, then learn, step after step; see seam.Kind and above."""
        one_thread()
        bound = self.bound(moving.theta, moving.extras)
        size = self.recipe.learning.step_rows
        for first in range(0, len(rows), size):
            at = np.arange(first, min(first + size, len(rows)))
            block = _of_rows(moving, at)
            self._learn_block(bound, block, rows.take(at), weights[at], _part(into, at))

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Add up the gradients of N rows; see seam.Kind."""
        one_thread()
        learned = np.flatnonzero((weights > 0.0) & ~np.logical_and.reduce(np.isnan(rows.y), axis=1))
        if not len(learned):
            return
        bound = self.bound(moving.theta, moving.extras)
        found = self._slope(bound, moving, rows, weights, learned, step=False)
        for place, ids, values in found.pieces:
            module_passes.add_rows(place.first, ids, values, into.values, into.moved)

    def _learn_block(
        self, bound: Bound, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        outs = self._outputs(bound, rows)
        sound = np.empty(len(rows), dtype=np.uint8)
        module_passes.judge(
            self._targets, moving.frames, outs, rows.y, into.scores, into.losses, sound
        )
        strategy = moving.strategy
        if strategy is not None and is_on(strategy, SERVE):
            steady = self._outputs(self.bound(strategy.average, moving.extras), rows)
            module_passes.link_all(self._targets, moving.frames, steady, into.scores)
        into.norms[:] = 0.0
        into.applied[:] = np.where(weights > 0.0, np.where(sound == 1, 1, 2), 0)
        slope = self._sound_slope(bound, moving, rows, weights, into.applied)
        learned = np.flatnonzero(into.applied == 1)
        if slope is None:
            return
        norm = math.sqrt(slope.square) / len(learned)
        factor = clipped(norm, 1.0, moving.hyper)
        into.norms[learned] = norm * factor
        into.applied[learned[slope.shares < 1.0]] = 3
        labelled = ~np.logical_and.reduce(np.isnan(rows.y[learned]), axis=0)
        moving.steps[: len(labelled)] += labelled
        moving.steps[-1] += 1
        alone = _of_rows(moving, learned)._replace(extras=())
        for place, ids, values in slope.pieces:
            module_passes.step_rows(alone, place.first, ids, values, factor / len(learned))
        module_passes.settle(
            self._targets, self._emphasis, self._heads, alone, outs[learned],
            given(rows.take(learned)),
        )  # fmt: skip

    def _sound_slope(
        self,
        bound: Bound,
        moving: Moving,
        rows: Rows,
        weights: NDArray[np.float64],
        applied: NDArray[np.uint8],
    ) -> Slope | None:
        """Return the gradient of the rows with `applied` 1; rows whose own is not finite are set to
        2. They are found by halving. None where none is left."""
        left = np.flatnonzero(applied == 1)
        slope = self._slope(bound, moving, rows, weights, left) if len(left) else None
        if slope is None or slope.sound:
            return slope
        suspects = [left]
        while suspects:
            at = suspects.pop()
            if self._slope(bound, moving, rows, weights, at).sound:
                continue
            if len(at) == 1:
                applied[at] = 2
            else:
                half = len(at) // 2
                suspects += [at[half:], at[:half]]
        left = np.flatnonzero(applied == 1)
        slope = self._slope(bound, moving, rows, weights, left) if len(left) else None
        if slope is not None and not slope.sound:  # each of them is, and all together are not
            applied[left] = 2
            return None
        return slope

    def _slope(
        self, bound: Bound, moving: Moving, rows: Rows, weights: NDArray[np.float64],
        at: NDArray[np.int64], *, step: bool = True,
    ) -> Slope:  # fmt: skip
        """Return the sum of the gradients of the rows `at`; as a step takes them: safely, where that
        is asked for. Chance (dropout) is a function of the seed and of the steps taken so far."""
        rows, weights, alone = rows.take(at), weights[at], _of_rows(moving, at)._replace(extras=())
        with seeded(self.recipe.learning.seed + _GOLDEN * (int(moving.steps[-1]) + 1)):
            outs = self._forward(bound, rows, train=True)
            held = outs.detach().double().numpy()
            slope, shares = np.empty(held.shape), np.empty(len(rows))
            module_passes.slopes(
                self._targets, self._emphasis, alone, held, given(rows), weights, shares, slope
            )
            if step and is_on(moving.strategy, SAFE):
                module_passes.safe_slopes(
                    self._emphasis, self._targets[0, 0], alone, held, given(rows), weights,
                    shares, reaches_of(outs, bound), slope,
                )  # fmt: skip
            found = _backward(outs, bound, slope)
        pieces = [piece_of(p, g) for p, g in zip(bound.places, found, strict=True) if g is not None]
        return Slope(pieces, square_of(pieces), shares)

    def _outputs(self, bound: Bound, rows: Rows) -> NDArray[np.float64]:
        """Return the outputs [N, O] that predictions are made of."""
        with torch.no_grad():
            outs: NDArray[np.float64] = self._forward(bound, rows, train=False).double().numpy()
        return outs

    def _forward(self, bound: Bound, rows: Rows, *, train: bool) -> Tensor:
        schema = self.recipe.schema
        if bound.module.training != train:
            bound.module.train(train)
        try:
            return joined(bound.module(batch_of(schema, rows)), outputs_of(schema), len(rows))
        except (BadSettings, SystemExit) as error:
            raise Killed(said(error)) from error

    def bound(self, theta: NDArray[np.float32], extras: tuple[NDArray[Any], ...]) -> Bound:
        """Return the module on these weights, where they lie."""
        where = tuple(one.__array_interface__["data"][0] for one in (theta, *extras))
        bound = self._bound.get(where)
        if bound is None:
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            places = [Placed(self.places[name], p) for name, p in self._named.items()]
            kept = list(zip(self._kept.values(), extras, strict=True))
            bound = self._bound[where] = Bound.of(self.module, theta, places, kept)
        return bound

    def _find_heads(self) -> Heads:
        schema = self.recipe.schema
        places = np.full((schema.outputs, 3), -1, dtype=np.int64)
        try:
            found = heads_of(self.module, batch_of(schema, nothing(schema)), outputs_of(schema))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's code raises is said to the user
            what = f"forward failed on an event in which every field is missing: {said(error)}"
            refuse(what, "Every field may be missing.")
        firsts = {id(p): self.places[name] for name, p in self._named.items()}
        for o, head in enumerate(found):
            if head is not None:
                (layer, row), width = head, head[0].in_features
                weight, bias = firsts[id(layer.weight)], firsts[id(layer.bias)]
                places[o] = (weight + row * width, bias + row, width)
        return Heads(places)


_MOST_BOUND = 8
_GOLDEN = 0x9E3779B97F4A7C15


def _backward(outs: Tensor, bound: Bound, slope: NDArray[np.float64]) -> tuple[Tensor | None, ...]:
    """Return the gradient of each weight that is learned; Killed as by forward."""
    try:
        return torch.autograd.grad(
            outs, bound.weights, torch.from_numpy(slope).to(outs.dtype), allow_unused=True
        )
    except SystemExit as error:
        raise Killed(said(error)) from error


def _part(into: Learned, at: NDArray[np.int64]) -> Learned:
    """Return the rows of a block, as views."""
    rows = slice(int(at[0]), int(at[-1]) + 1)
    return Learned(into.scores[rows], into.losses[rows], into.norms[rows], into.applied[rows])


def _of_rows(moving: Moving, at: NDArray[np.int64]) -> Moving:
    """Return the views for the rows `at`: the importance of their labels goes with them."""
    strategy = moving.strategy
    if strategy is None or not len(strategy.importance):
        return moving
    return moving._replace(strategy=strategy._replace(importance=strategy.importance[at]))
