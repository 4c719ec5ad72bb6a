"""A mixture of experts: many small learners on the same inputs, weighed event by event.

Nobody has to choose a model or a rate: whichever expert predicts best counts most, and when that
changes the weights follow. Inputs, experts and mixture are in service/model/experts. Every event
is predicted by all of them before it is learned by any; each learns row by row, in a compiled pass
of its own over the rows, so the passes of one cut do not depend on each other.

Names of tensors: experts/<target>/<expert>/<tensor>. It takes no gradient steps: `gradient` raises
TypeError.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import TargetKind
from service.model.compiling import lent
from service.model.experts import EXPERTS
from service.model.experts.ensemble import Ensemble, Holder
from service.model.experts.inputs import Shared
from service.model.experts.moved import mark, move
from service.model.experts.restarts_pass import FURTHEST
from service.model.experts.seam import BLOCK, Held, Inputs
from service.model.featurizer import Rows
from service.model.kinds import mixture_pass
from service.model.kinds.compiled import target_table
from service.model.kinds.seam import (
    Extra,
    Extras,
    Flat,
    Gradient,
    Kind,
    Learned,
    Moving,
    Parameter,
    Reader,
    Served,
    Standing,
    placed,
)
from service.model.losses import NUMBER

if TYPE_CHECKING:
    from service.model.recipe import Recipe

PIECE = 256
"""Rows that go through all experts together: their inputs stay in the cache."""


class Views(NamedTuple):
    """The tensors of one state."""

    shared: Held
    each: list[list[Held]]
    """Of each ensemble, in the order of its holders."""


class Mixture:
    """A mixture of all experts; subclasses have a choice of them."""

    name: ClassVar[str] = "mixture"
    learns: ClassVar[tuple[TargetKind, ...]] = ("binary", "multiclass", "number")
    differentiable: ClassVar[bool] = False
    chosen: ClassVar[tuple[str, ...]] = tuple(EXPERTS)

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        schema, seed = recipe.schema, recipe.learning.seed
        self._shared = Shared(schema)
        self._ensembles = [Ensemble(self._shared, t, self.chosen, seed) for t in schema.targets]
        self._targets = target_table(schema)
        self._targets[self._targets[:, 0] == NUMBER, 3] = 1  # experts go by the frame
        self.holders = [Holder("experts/inputs", self._shared.tensors)] + [
            holder for one in self._ensembles for holder in one.holders
        ]
        self.parameters: tuple[Parameter, ...] = tuple(self._parameters())
        self.places, self.size = placed(self.parameters)
        self.extras: tuple[Extra, ...] = tuple(
            Extra("weights", f"{at}/{t.name}{mark(t)}", t.dtype, t.shape, t.initial)
            for at, tensors in self.holders
            for t in tensors
            if not t.large
        )
        self.flats: tuple[Flat, ...] = ()

    def _parameters(self) -> list[Parameter]:
        found = []
        for at, tensors in self.holders:
            for one in tensors:
                if one.large and 0 not in one.shape:
                    fixed = isinstance(one.initial, np.ndarray)
                    found.append(
                        Parameter(
                            f"{at}/{one.name}{mark(one)}",
                            one.shape,
                            constant=0.0 if fixed else float(one.initial),
                            initial=one.initial.astype(np.float32) if fixed else None,  # type: ignore[union-attr]
                        )
                    )
        return found

    @classmethod
    def misfits(cls, old: Recipe, new: Recipe) -> list[str]:
        """Return why weights cannot go on; see seam.Kind."""
        return []

    def inherit(self, old: Kind, held: Extras, into: Extras) -> None:
        """Bring what was learned to other fields, by their names; see seam.Kind."""
        if not isinstance(old, Mixture):
            return
        before = {f"{at}/{one.name}": one for at, tensors in old.holders for one in tensors}
        for at, tensors in self.holders:
            for one in tensors:
                name = f"{at}/{one.name}"
                former = before.get(name)
                same = (
                    former is not None and mark(former) == mark(one) and former.shape == one.shape
                )
                if former is None or same or 0 in one.shape + former.shape:
                    continue
                move(former, one, held[name + mark(former)], into[name + mark(one)])
        self._see_to_what_is_new(into)

    def _see_to_what_is_new(self, into: Extras) -> None:
        """Have every expert look at what it took over."""
        for ensemble in self._ensembles:
            for expert, (at, tensors) in zip(ensemble.experts, ensemble.holders[1:-1], strict=True):
                views = {
                    t.name: into[f"{at}/{t.name}{mark(t)}"] for t in tensors if 0 not in t.shape
                }
                flags = {
                    t.name: np.ones(-(-views[t.name].size // BLOCK), np.uint8)
                    for t in tensors
                    if t.large and t.name in views
                }
                expert.added(Held(views, flags))

    def _views(
        self,
        theta: NDArray[np.float32],
        touched: NDArray[np.uint8],
        extras: tuple[NDArray[np.generic], ...],
    ) -> Views:
        """Return the views of a state's arrays."""
        left = iter(extras)
        found = []
        for at, tensors in self.holders:
            views, flags = {}, {}
            for one in tensors:
                if not one.large:
                    views[one.name] = next(left)
                elif 0 in one.shape:
                    views[one.name] = np.empty(one.shape, np.float32)
                    flags[one.name] = touched[:0]
                else:
                    first = self.places[f"{at}/{one.name}{mark(one)}"]
                    size = int(np.prod(one.shape))
                    views[one.name] = theta[first : first + size].reshape(one.shape)
                    flags[one.name] = touched[first >> 6 : (first + size) >> 6]
            found.append(Held(views, flags))
        rest = iter(found[1:])
        return Views(found[0], [[next(rest) for _ in one.holders] for one in self._ensembles])

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind."""
        return self.reader(served.theta, served.extras)(served.frames, rows)

    def reader(self, theta: NDArray[np.float32], extras: tuple[NDArray[np.generic], ...]) -> Reader:
        """Return what scores rows on these weights; see seam.Kind."""
        views = self._views(lent(theta), np.empty(0, np.uint8), tuple(map(lent, extras)))
        return partial(self._read, views)

    def _read(self, views: Views, frames: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
        """Learn nothing of N rows, return the scores [N, O]."""
        n = len(rows)
        scores = np.empty((n, self.recipe.schema.outputs))
        nothing, weightless = np.zeros(n, np.uint8), np.zeros(n)
        unlabelled = np.full(n, np.nan)
        for t, (ensemble, held) in enumerate(zip(self._ensembles, views.each, strict=True)):
            target = ensemble.target
            x, ranks, ids = self._shared.write(
                views.shared, rows, nothing, ensemble.labels.fields.width
            )
            given = Inputs(
                x, ranks, ids, rows.spans, rows.entries, rows.values, unlabelled, weightless
            )
            ensemble.labels.write(held[0], x, given)
            block = np.empty((n, target.outputs))
            ensemble.score(held, given, block)
            if target.kind == "number":
                block *= frames[t, 4]
                block += frames[t, 3]
                mixture_pass.within(unlabelled, nothing, held[-1].at["range"], block)
            scores[:, target.start : target.start + target.outputs] = block
        return scores

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Learn N rows; see seam.Kind."""
        into.norms[:] = 0.0
        fresh = (self._targets[:, 0] == NUMBER) & (moving.frames[:, 0] == 0.0)
        moving.frames[fresh, 4] = 0.0  # nothing is predicted in raw units, whose size is unknown
        views = self._views(moving.theta, moving.touched, moving.extras)
        sound = mixture_pass.sound(self._targets, rows.x, rows.y)
        into.applied[:] = np.where(weights <= 0.0, 0, np.where(sound, 1, 2))
        allowed = np.where(sound, weights, 0.0)
        importance = np.ones_like(rows.y)
        if moving.strategy is not None and len(moving.strategy.importance):
            importance = moving.strategy.importance
        first, n = 0, len(rows)
        while first < n:
            last = min(first + PIECE, n)
            for t in range(len(self._ensembles)):
                y = np.ascontiguousarray(rows.y[first:last, t])
                last = first + mixture_pass.until_renewal(
                    moving.frames[t], self._targets[t, 3], y, allowed[first:last]
                )
            self._piece(
                moving, views, rows.part(first, last), allowed[first:last], importance[first:last],
                into.between(first, last),
            )  # fmt: skip
            first = last

    def _piece(
        self,
        moving: Moving,
        views: Views,
        rows: Rows,
        weights: NDArray[np.float64],
        importance: NDArray[np.float64],
        into: Learned,
    ) -> None:
        """Learn rows in which no frame is renewed but by the last. importance: [N, T]."""
        n, learn = len(rows), (weights > 0).astype(np.uint8)
        width = max(one.labels.fields.width for one in self._ensembles)
        x, ranks, ids = self._shared.write(views.shared, rows, learn, width)
        for t, (ensemble, held) in enumerate(zip(self._ensembles, views.each, strict=True)):
            target, frame = ensemble.target, moving.frames[t]
            labels = np.ascontiguousarray(rows.y[:, t])
            y = labels
            if target.kind == "number":
                y = (labels - frame[3]) / frame[4] if frame[4] > 0.0 else np.full(n, np.nan)
                y = np.clip(y, -FURTHEST, FURTHEST)
            fitting = np.ascontiguousarray(x[:, : ensemble.labels.fields.width])
            given = Inputs(
                fitting, ranks, ids, rows.spans, rows.entries, rows.values, y,
                weights * importance[:, t],
            )  # fmt: skip
            ensemble.labels.write(held[0], fitting, given)
            block = np.empty((n, target.outputs))
            ensemble.learn(held, given, block)
            if target.kind == "number":
                block *= frame[4]
                block += frame[3]
                mixture_pass.within(labels, learn, held[-1].at["range"], block)
            into.scores[:, target.start : target.start + target.outputs] = block
            mixture_pass.losses(
                self._targets[t, 0], labels, block, frame, learn, t, into.losses, into.norms
            )
            moving.steps[t] += int((learn & ~np.isnan(labels)).sum())
            ratio, shift, renewed = mixture_pass.grow(frame, self._targets[t, 3], labels, learn)
            if renewed:
                ensemble.rescale(held, ratio, shift)

    def standings(self, extras: Extras) -> dict[str, list[Standing]]:
        """Return how each member of each target did, and what it counts; in the order of members."""
        found = {}
        for one in self._ensembles:
            at, tensors = one.holders[-1]
            held = Held({t.name: extras[f"{at}/{t.name}{mark(t)}"] for t in tensors}, {})
            shares, figures = one.mixture.weights(held).tolist(), held.at["tally"].tolist()
            again = np.repeat(held.at["restarts"], [len(e.members) for e in one.experts]).tolist()
            found[one.target.name] = [
                Standing._make((name, shares[k], *figures[k], again[k]))
                for k, name in enumerate(one.members)
            ]
        return found

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Raise TypeError: experts learn each in their own way."""
        raise TypeError(
            "a mixture has no gradient; look at Kind.differentiable before asking for one"
        )


def alone(name: str) -> type[Mixture]:
    """Return the kind that is a mixture of one expert's members."""
    fits = tuple(kind for kind in Mixture.learns if kind in EXPERTS[name].fits)
    return type(name.title(), (Mixture,), {"name": name, "learns": fits, "chosen": (name,)})
