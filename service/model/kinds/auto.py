"""A mixture of experts: many small learners on the same inputs, weighed event by event.

Nobody has to choose a model or a rate: whichever expert predicts best counts most, and when that
changes the weights follow. Inputs, experts and mixture are in service/model/experts. Every event
is predicted by all of them before it is learned by any; each learns row by row, in a compiled pass
of its own over the rows, so the passes of one cut do not depend on each other.

Names of tensors: experts/<target>/<expert>/<tensor>. It takes no gradient steps: `gradient` raises
TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Target, TargetKind
from service.model.experts import EXPERTS
from service.model.experts.inputs import Labels, Shared
from service.model.experts.mixture import Mixture
from service.model.experts.moved import mark, move
from service.model.experts.seam import Expert, Held, Inputs, Task, Tensor
from service.model.featurizer import Rows
from service.model.kinds import auto_pass, together
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
    Served,
    Standing,
    placed,
)
from service.model.names import escape

if TYPE_CHECKING:
    from service.model.recipe import Recipe

PIECE = 256
"""Rows that go through all experts together: their inputs stay in the cache."""
LONGEST = ("forest", "nets", "newton", "squares", "kernel")
"""Experts that take longest with a row, those first."""
FEW = 8
"""Rows of which no more than one expert learns at a time: to ask another thread takes as long."""


class Holder(NamedTuple):
    """Whose tensors, and how their names begin."""

    prefix: str
    tensors: tuple[Tensor, ...]


class Ensemble:
    """All that learns one target."""

    def __init__(self, shared: Shared, target: Target, chosen: Sequence[str], seed: int) -> None:
        self.target = target
        self.labels = Labels(shared, target)
        task = Task(target.kind, target.outputs, seed)
        self.experts: list[Expert] = [
            EXPERTS[name](self.labels.fields, task)
            for name in chosen
            if target.kind in EXPERTS[name].fits
        ]
        self.experts = [one for one in self.experts if one.members]
        self.members = tuple(name for expert in self.experts for name in expert.members)
        self.mixture = Mixture(self.members, task)
        start = f"experts/{escape(target.name)}"
        self.holders = [
            Holder(f"{start}/labels", self.labels.tensors),
            *(Holder(f"{start}/{one.name}", one.tensors) for one in self.experts),
            Holder(f"{start}/mixture", self.mixture.tensors),
        ]

    def score(self, held: list[Held], rows: Inputs, into: NDArray[np.float64]) -> None:
        """Write the scores [N, O] in the target's frame."""
        members = self._members(len(rows))
        for expert, mine, place in zip(self.experts, held[1:-1], members.parts, strict=True):
            expert.score(mine, rows, place)
        self.mixture.score(held[-1], members.joined(), into)

    def learn(self, held: list[Held], rows: Inputs, into: NDArray[np.float64]) -> None:
        """Write the scores [N, O] in the target's frame, then learn."""
        members = self._members(len(rows))
        works = [
            (expert.name, partial(expert.learn, mine, rows, place))
            for expert, mine, place in zip(self.experts, held[1:-1], members.parts, strict=True)
        ]
        works.sort(key=lambda one: LONGEST.index(one[0]) if one[0] in LONGEST else len(LONGEST))
        way = together.do if len(rows) >= FEW else together.in_turn
        way([work for _, work in works])
        learn = (rows.weights > 0).astype(np.uint8)
        self.mixture.learn(held[-1], members.joined(), rows.y, learn, into)

    def rescale(self, held: list[Held], ratio: float, shift: float) -> None:
        """The unit of the target changes."""
        self.labels.rescale(held[0], ratio, shift)
        for expert, mine in zip(self.experts, held[1:-1], strict=True):
            expert.rescale(mine, ratio, shift)
        self.mixture.rescale(held[-1], ratio, shift)

    def _members(self, n: int) -> Members:
        counts = [len(one.members) for one in self.experts]
        return Members([np.empty((n, k, self.target.outputs), np.float32) for k in counts])


class Members(NamedTuple):
    """Predictions of the members, expert by expert."""

    parts: list[NDArray[np.float32]]

    def joined(self) -> NDArray[np.float32]:
        """Return them [N, K, O]."""
        return np.concatenate(self.parts, axis=1)


class Auto:
    """A mixture of all experts; subclasses have a choice of them."""

    name: ClassVar[str] = "auto"
    learns: ClassVar[tuple[TargetKind, ...]] = ("binary", "multiclass", "number")
    differentiable: ClassVar[bool] = False
    chosen: ClassVar[tuple[str, ...]] = tuple(EXPERTS)

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        schema, seed = recipe.schema, recipe.learning.seed
        self._shared = Shared(schema)
        self._ensembles = [Ensemble(self._shared, t, self.chosen, seed) for t in schema.targets]
        self._targets = target_table(schema)
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
        if not isinstance(old, Auto):
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
                expert.added(Held(views, {}))

    def _held(
        self,
        theta: NDArray[np.float32],
        touched: NDArray[np.uint8],
        extras: tuple[NDArray[np.generic], ...],
    ) -> tuple[Held, list[list[Held]]]:
        """Return the views: of the shared inputs; of each ensemble, in the order of its holders."""
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
        return found[0], [[next(rest) for _ in one.holders] for one in self._ensembles]

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Score N rows; see seam.Kind."""
        scores = np.empty((len(rows), self.recipe.schema.outputs))
        theta, extras = _read_only(served.theta), tuple(map(_read_only, served.extras))
        shared, each = self._held(theta, np.empty(0, np.uint8), extras)
        n = len(rows)
        for t, (ensemble, held) in enumerate(zip(self._ensembles, each, strict=True)):
            target, fields = ensemble.target, ensemble.labels.fields
            x, ranks, ids = self._shared.read(shared, rows, fields.width)
            given = Inputs(
                x, ranks, ids, rows.spans, rows.entries, rows.values,
                np.full(n, np.nan), np.zeros(n),
            )  # fmt: skip
            ensemble.labels.read(held[0], x, ids)
            block = np.empty((n, target.outputs))
            ensemble.score(held, given, block)
            if target.kind == "number":
                block *= served.frames[t, 4]
                block += served.frames[t, 3]
            scores[:, target.start : target.start + target.outputs] = block
        return scores

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Learn N rows; see seam.Kind."""
        into.norms[:] = 0.0
        shared, each = self._held(moving.theta, moving.touched, moving.extras)
        sound = auto_pass.sound(self._targets, rows.x, rows.y)
        into.applied[:] = np.where(weights <= 0.0, 0, np.where(sound, 1, 2))
        allowed = np.where(sound, weights, 0.0)
        first, n = 0, len(rows)
        while first < n:
            last = min(first + PIECE, n)
            for t in range(len(self._ensembles)):
                y = np.ascontiguousarray(rows.y[first:last, t])
                last = first + auto_pass.until_renewal(
                    moving.frames[t], self._targets[t, 3], y, allowed[first:last]
                )
            self._piece(moving, shared, each, rows, allowed, first, last, into)
            first = last

    def _piece(
        self,
        moving: Moving,
        shared: Held,
        each: list[list[Held]],
        rows: Rows,
        weights: NDArray[np.float64],
        first: int,
        last: int,
        into: Learned,
    ) -> None:
        """Learn rows in which no frame is renewed but by the last."""
        part, n = rows.part(first, last), last - first
        learn = (weights[first:last] > 0).astype(np.uint8)
        importance = None if moving.strategy is None else moving.strategy.importance
        width = max(one.labels.fields.width for one in self._ensembles)
        x, ranks, ids = self._shared.write(shared, part, learn, width)
        for t, (ensemble, held) in enumerate(zip(self._ensembles, each, strict=True)):
            target, frame = ensemble.target, moving.frames[t]
            mine = weights[first:last]
            if importance is not None and len(importance):
                mine = mine * importance[first:last, t]  # classes count as their weights say
            y = np.ascontiguousarray(part.y[:, t])
            if target.kind == "number":
                y = (y - frame[3]) / frame[4] if frame[4] > 0.0 else np.full(n, np.nan)
            fitting = np.ascontiguousarray(x[:, : ensemble.labels.fields.width])
            given = Inputs(fitting, ranks, ids, part.spans, part.entries, part.values, y, mine)
            ensemble.labels.write(held[0], fitting, given)
            block = np.empty((n, target.outputs))
            ensemble.learn(held, given, block)
            if target.kind == "number":
                block *= frame[4]
                block += frame[3]
            into.scores[first:last, target.start : target.start + target.outputs] = block
            auto_pass.losses(
                self._targets[t, 0], part.y[:, t], block, frame, learn, into.losses[first:last, t],
                into.norms[first:last],
            )  # fmt: skip
            moving.steps[t] += int((learn & ~np.isnan(part.y[:, t])).sum())
            ratio, shift, renewed = auto_pass.grow(
                frame, self._targets[t, 3], np.ascontiguousarray(part.y[:, t]), learn
            )
            if renewed:
                ensemble.rescale(held, ratio, shift)

    def standings(self, extras: Extras) -> dict[str, list[Standing]]:
        """Return how each member of each target did, and what it counts; in the order of members."""
        found = {}
        for one in self._ensembles:
            at, tensors = one.holders[-1]
            held = Held({t.name: extras[f"{at}/{t.name}{mark(t)}"] for t in tensors}, {})
            rows = zip(one.members, one.mixture.weights(held), held.at["tally"], strict=True)
            found[one.target.name] = [
                Standing(name, float(weight), *(float(v) for v in tally))
                for name, weight, tally in rows
            ]
        return found

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Raise TypeError: experts learn each in their own way."""
        raise TypeError("auto has no gradient; look at Kind.differentiable before asking for one")


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that kernels know not to write, whatever the memory is: one form to compile."""
    view = array.view()
    view.flags.writeable = False
    return view


def alone(name: str) -> type[Auto]:
    """Return the kind that is a mixture of one expert's members."""
    fits = tuple(kind for kind in Auto.learns if kind in EXPERTS[name].fits)
    return type(name.title(), (Auto,), {"name": name, "learns": fits, "chosen": (name,)})
