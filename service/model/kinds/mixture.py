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
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.events.schema import TargetKind
from service.model.compiling import lent
from service.model.experts import EXPERTS
from service.model.experts.ensemble import Ensemble, Holder
from service.model.experts.inputs import Shared
from service.model.experts.moved import mark, move, taken
from service.model.experts.rota import LEFT_OUT, left_out_of
from service.model.experts.seam import Inputs, Tensor
from service.model.featurizer import Rows
from service.model.kinds import mixture_pass
from service.model.kinds.compiled import target_table
from service.model.kinds.mixture_course import Course, Cut, Parts
from service.model.kinds.mixture_views import Kept, Views, standings_of, views_of
from service.model.kinds.seam import (
    Effort,
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
    from service.model.kinds.guests import Guests
    from service.model.recipe import Recipe

EFFORT = "experts/effort"
"""What the names of the tensors begin with that say how much work is left out."""
_EFFORT = Tensor("level", (1,), "int64"), Tensor("left_out", (len(LEFT_OUT),), "int64")


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
        several = self.name == Mixture.name
        self._guests = _guests_of(recipe) if several and recipe.model.modules else None
        self.lacks = self._guests.lacks if self._guests else None
        chosen = recipe.model.built_in if several else self.chosen
        known_as = self._guests.known_as if self._guests else ()
        self._ensembles = [
            Ensemble(self._shared, t, chosen, seed, known_as) for t in schema.targets
        ]
        for one in self._ensembles:
            one.see_to_members(self.name)
        there = {expert.name for one in self._ensembles for expert in one.experts}
        self.sheds: tuple[str, ...] = left_out_of(there) if several else ()
        self._targets = target_table(schema)
        self._targets[self._targets[:, 0] == NUMBER, 3] = 1  # experts go by the frame
        self.holders = [
            Holder("experts/inputs", self._shared.tensors),
            Holder(EFFORT, _EFFORT),
            *(holder for one in self._ensembles for holder in one.holders),
        ]
        self.parameters: tuple[Parameter, ...] = tuple(self._parameters())
        self.places, self.size = placed(self.parameters)
        own = tuple(
            Extra("weights", f"{at}/{t.name}{mark(t)}", t.dtype, t.shape, t.initial)
            for at, tensors in self.holders
            for t in tensors
            if not t.large
        )
        self._own = len(own)
        if self._guests is not None:
            self.parameters += self._guests.parameters
            self.size = self._guests.place(self.size, self.places)
            own += self._guests.extras
        self.extras: tuple[Extra, ...] = own
        self.flats: tuple[Flat, ...] = ()
        self._readers, self._moved = Kept[Reader](), Kept[Views]()

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
            ensemble.added([taken(into, *holder) for holder in ensemble.holders])

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind."""
        theta = served.theta

        def made() -> Reader:
            return self.reader(theta.view(), served.extras)

        return self._readers.of(theta, made)(served.frames, rows)

    def reader(self, theta: NDArray[np.float32], extras: tuple[NDArray[np.generic], ...]) -> Reader:
        """Return what scores rows on these weights; see seam.Kind."""
        views = self._views(lent(theta), np.empty(0, np.uint8), tuple(map(lent, extras)))
        return partial(self._read, views, theta, extras)

    def _read(
        self,
        views: Views,
        theta: NDArray[np.float32],
        extras: tuple[NDArray[np.generic], ...],
        frames: NDArray[np.float64],
        rows: Rows,
    ) -> NDArray[np.float64]:
        """Learn nothing of N rows, return the scores [N, O]."""
        n = len(rows)
        scores = np.empty((n, self.recipe.schema.outputs))
        nothing, weightless = np.zeros(n, np.uint8), np.zeros(n)
        unlabelled = np.full(n, np.nan)
        votes = None
        if self._guests is not None:
            votes = self._guests.score(theta, extras[self._own :], rows)
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
            ensemble.score(held, given, views.level, block, ensemble.framed(votes, frames[t]))
            if target.kind == "number":
                block *= frames[t, 4]
                block += frames[t, 3]
                mixture_pass.within(unlabelled, nothing, held[ensemble.own].at["range"], block)
            scores[:, target.start : target.start + target.outputs] = block
        return scores

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Learn N rows; see seam.Kind."""
        into.norms[:] = 0.0
        fresh = (self._targets[:, 0] == NUMBER) & (moving.frames[:, 0] == 0.0)
        moving.frames[fresh, 4] = 0.0  # nothing is predicted in raw units, whose size is unknown
        views = self._moved.of(
            moving.theta, lambda: self._views(moving.theta, moving.touched, moving.extras)
        )
        sound = mixture_pass.sound(self._targets, rows.x, rows.y)
        into.applied[:] = np.where(weights <= 0.0, 0, np.where(sound, 1, 2))
        allowed = np.where(sound, weights, 0.0)
        importance = np.ones_like(rows.y)
        if moving.strategy is not None and len(moving.strategy.importance):
            importance = moving.strategy.importance
        votes = None
        if self._guests is not None:
            votes = self._guests.learn(moving, moving.extras[self._own :], rows, allowed)
        parts = Parts(self._shared, self._ensembles, self._targets)
        Course(parts, Cut(moving, views, rows, allowed, importance, votes, into)).run()
        views.effort.at["left_out"][: views.level] += int((into.applied == 1).sum())

    def standings(self, extras: Extras) -> dict[str, list[Standing]]:
        """Return how each member of each target did, and what it counts; in the order of members."""
        ailing = self._guests.ailing(extras) if self._guests is not None else {}
        return {one.target.name: standings_of(one, extras, ailing) for one in self._ensembles}

    def effort(self, extras: Extras) -> Effort:
        """Return how much is left out; see seam.Kind."""
        level, rows = (extras[f"{EFFORT}/{name}"] for name in ("level", "left_out"))
        return Effort(int(level[0]), tuple(rows.tolist()))

    def shed(self, extras: Extras, level: int) -> None:
        """Leave that many works out from now on; see seam.Kind."""
        extras[f"{EFFORT}/level"][0] = level

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Raise TypeError: experts learn each in their own way."""
        raise TypeError(
            "a mixture has no gradient; look at Kind.differentiable before asking for one"
        )

    def _views(
        self,
        theta: NDArray[np.float32],
        touched: NDArray[np.uint8],
        extras: tuple[NDArray[np.generic], ...],
    ) -> Views:
        counts = [len(one.holders) for one in self._ensembles]
        return views_of(self.holders, counts, self.places, theta, touched, extras[: self._own])


def _guests_of(recipe: Recipe) -> Guests:
    from service.model.kinds.guests import Guests  # torch: only where a module is asked for

    return Guests(recipe)


def alone(name: str) -> type[Mixture]:
    """Return the kind that is a mixture of one expert's members."""
    fits = tuple(kind for kind in Mixture.learns if kind in EXPERTS[name].fits)
    own = {"name": name, "learns": fits, "chosen": (name,)}
    return type(name.title(), (Mixture,), own)
