"""A module of the user's own as one expert of a mixture: kinds/module.py, and what happens around it
so that the rest goes on whatever it does.

It learns as it would alone, in steps of its own. What it says of a row is its vote. Where it fails
(forward raises, returns the wrong shape, is not finite) the vote is what is usual of the labels so far,
and nothing is learned from that row. After PATIENCE rows of which none went well it rests, each time twice
as long; where it fails on an event without fields too, it begins anew from its first weights. All of that
is a function of rows and state.

Names of tensors: modules/<expert>/<tensor>/<mark>, where the mark stands for the shapes of its
weights: where those change, the expert is another one and begins anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import LayoutChanged
from service.model.featurizer import Rows
from service.model.kinds import guest_votes
from service.model.kinds.guest_code import as_recorded
from service.model.kinds.module import Module
from service.model.kinds.module_build import nothing, said
from service.model.kinds.seam import (
    Extra,
    Extras,
    Learned,
    Moving,
    Parameter,
    Served,
    placed,
)
from service.model.recipe import Recipe
from service.model.steps import RULES, SLOTS, hyper_of, touched_are_finite

PATIENCE = 256
"""Rows in a row that it may fail on."""
LONGEST_REST = 65_536
FAILED, IN_A_ROW, LEFT, RESTED, WELL = range(5)
"""Places in `health`: rows that it failed on, those since one went well, rows for which it still rests,
how often it rested, rows that went well since."""
SMALL = ("frames", "usual_lengths", "steps", "known", "health")


class Held(NamedTuple):
    """What a guest remembers, as views of one state."""

    arrays: tuple[NDArray[np.float32], ...]
    """[P] each: its weights, then what its optimizer keeps of each."""
    all: NDArray[np.float32]
    """Those, one after another."""
    touched: NDArray[np.uint8]
    """One flag per 64 of `all`."""
    frames: NDArray[np.float64]
    usual: NDArray[np.float64]
    steps: NDArray[np.int64]
    known: NDArray[np.float64]
    """[O, 4], see guest_votes.py."""
    health: NDArray[np.int64]
    kept: tuple[NDArray[Any], ...]
    """Its buffers."""


class Guest:
    """One expert of a mixture that is a module of the user's own. Holds no state, but for the words of
    its last error."""

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.name = name
        self.error: str | None = None
        self._recipe = recipe.of_module(name)
        self._schema = self._recipe.schema
        code = self._recipe.module
        weights: tuple[Parameter, ...]
        kept: tuple[Extra, ...]
        self._module: Module | None = None
        """None: the state speaks of code that is not here any more. It is laid out, and rests."""
        try:
            module = Module(self._recipe)
            if code is None or code.shapes == module.shapes():
                self._module = module
            else:
                self.error = f"{self._recipe.kind} has more weights now than the state"
        except LayoutChanged as why:
            if code is None:
                raise
            self.error = str(why)
        if self._module is not None:
            weights, kept = self._module.parameters, self._module.extras
        else:
            assert code is not None, "else it was raised"
            weights, kept = as_recorded(code)
        shapes = {one.name: list(one.shape) for one in weights}
        self.mark = self._mark(shapes | {one.name: list(one.shape) for one in kept})
        self._places, self.size = placed(weights)
        self._weights = weights
        self._rule = self._recipe.optimizer
        of = self._recipe.learning
        self._hyper = hyper_of(
            of.learning_rate, of.momentum, (of.beta1, of.beta2), self._rule, of.clip, of.cap
        )
        slots = SLOTS[self._rule]
        self.parameters = [
            Parameter(self._named(one.name), one.shape, sparse=one.sparse, initial=one.initial)
            for one in weights
        ] + [
            Parameter(self._named(one.name, f"{self._rule}/{slot}/"), one.shape)
            for slot in slots
            for one in weights
        ]
        self.n_arrays = 1 + len(slots)
        self.extras = self._small() + [
            Extra("weights", self._named(one.name), one.dtype, one.shape, one.initial, quiet=True)
            for one in kept
        ]

    @property
    def is_here(self) -> bool:
        """Whether its code is there, and fits the weights."""
        return self._module is not None

    def places(self, base: int) -> dict[str, int]:
        """Return where each parameter begins in theta, of which its own begin at `base`."""
        found: dict[str, int] = {}
        n = len(self._weights)
        for at, one in enumerate(self.parameters):
            array, of = divmod(at, n)
            found[one.name] = base + array * self.size + self._places[self._weights[of].name]
        return found

    def held(
        self,
        base: int,
        theta: NDArray[np.float32],
        touched: NDArray[np.uint8],
        extras: tuple[NDArray[Any], ...],
    ) -> Held:
        """Return the views of a state. base: where its weights begin in theta; extras: its own."""
        end = base + self.n_arrays * self.size
        arrays = [theta[first : first + self.size] for first in range(base, end, max(self.size, 1))]
        frames, usual, steps, known, health = extras[: len(SMALL)]
        return Held(
            tuple(arrays), theta[base:end], touched[base >> 6 : end >> 6],
            frames, usual, steps, known, health, extras[len(SMALL) :],
        )  # fmt: skip

    def score(self, held: Held, rows: Rows) -> NDArray[np.float64]:
        """Return its votes [N, O] on rows, in the units of targets; writes nothing."""
        scores = np.full((len(rows), self._schema.outputs), np.nan)
        if self._module is not None and held.health[LEFT] == 0:
            module, frames = self._module, held.frames.copy()

            def ask(first: int, last: int) -> None:
                part = rows.part(first, last)
                scores[first:last] = module.score(Served(held.arrays[0], frames, held.kept), part)

            self._in_parts(ask, lambda _: None, 0, len(rows))
        return guest_votes.filled(self._schema, held.known, scores)

    def learn(
        self, held: Held, moving: Moving, rows: Rows, weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return its votes [N, O] on rows, each from before it was learned; then learn them. weights:
        [N], 0: vote only."""
        n, size = len(rows), self._recipe.learning.step_rows
        votes = np.empty((n, self._schema.outputs))
        for first in range(0, n, size):
            last = min(first + size, n)
            done = self._step(held, moving, rows, weights, first, last)
            votes[first:last] = guest_votes.filled(self._schema, held.known, done.scores)
            if self._module is not None:  # else nobody was asked, so nobody failed
                self._note(held, done.applied, weights[first:last])
            guest_votes.take(self._schema, held.known, rows.y[first:last], weights[first:last])
        flags = held.touched.reshape(self.n_arrays, -1)
        flags[1:] |= flags[0]
        if not touched_are_finite(held.all, held.touched):
            self.error = "its weights are not finite any more"
            held.health[FAILED] += 1
            self._begin_anew(held)
        return votes

    def _step(
        self, held: Held, moving: Moving, rows: Rows, weights: NDArray[np.float64], first: int, last: int
    ) -> Learned:  # fmt: skip
        """Learn one step; where that fails, its halves, down to the rows on which it does."""
        n = last - first
        into = Learned(
            np.full((n, self._schema.outputs), np.nan),
            np.empty((n, len(self._schema.targets))),
            np.zeros(n),
            np.where(weights[first:last] > 0.0, 2, 0).astype(np.uint8),
        )
        if self._module is None or held.health[LEFT] > 0:
            return into
        module = self._module

        def learn(at: int, to: int) -> None:
            part = self._moving(held, moving, at, to)
            done = into.between(at - first, to - first)
            module.learn(part, rows.part(at, to), weights[at:to], done)

        def fail(at: int) -> None:
            into.scores[at - first] = np.nan
            into.applied[at - first] = 2 if weights[at] > 0.0 else 0

        self._in_parts(learn, fail, first, last)
        return into

    def _in_parts(
        self, do: Callable[[int, int], None], fail: Callable[[int], None], first: int, last: int
    ) -> None:
        """Do something with rows; where it raises, with each half of them, and `fail` those with which
        it raises alone."""
        left = [(first, last)]
        while left:
            at, to = left.pop()
            try:
                do(at, to)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a user's code raises, the others go on
                self.error = said(error)
                if to - at == 1:
                    fail(at)
                else:
                    half = (at + to) // 2
                    left += [(half, to), (at, half)]

    def _moving(self, held: Held, moving: Moving, first: int, last: int) -> Moving:
        """Return what the module changes while it learns some of the rows."""
        none = np.empty(0, dtype=np.float32)
        slot0, slot1 = (*held.arrays[1:], none, none)[:2]
        strategy = moving.strategy
        if strategy is not None and len(strategy.importance):
            strategy = strategy._replace(importance=strategy.importance[first:last])
        return Moving(
            RULES[self._rule], self._hyper, held.arrays[0], slot0, slot1, held.steps,
            held.touched[: self.size >> 6], held.frames, held.usual, strategy, held.kept,
        )  # fmt: skip

    def _note(self, held: Held, applied: NDArray[np.uint8], weights: NDArray[np.float64]) -> None:
        """Take how a step went; see to it that it rests, or goes on."""
        health, asked = held.health, int((weights > 0.0).sum())
        if health[LEFT] > 0:
            health[LEFT] = max(0, int(health[LEFT]) - asked)
            return
        failed = int((applied == 2).sum())
        health[FAILED] += failed
        if failed < asked:
            health[IN_A_ROW] = 0
            health[WELL] += asked - failed
            if health[WELL] >= LONGEST_REST:
                health[RESTED] = 0
            return
        health[IN_A_ROW] += failed
        if health[IN_A_ROW] < PATIENCE:
            return
        health[RESTED] += 1
        health[LEFT] = min(PATIENCE << min(int(health[RESTED]), 16), LONGEST_REST)
        health[IN_A_ROW] = health[WELL] = 0
        if self._is_lost(held):
            self._begin_anew(held)

    def _is_lost(self, held: Held) -> bool:
        """Whether it fails even on an event in which every field is missing: by its weights, then."""
        assert self._module is not None, "else it was not asked"
        served = Served(held.arrays[0], held.frames.copy(), held.kept)
        try:
            return not np.isfinite(self._module.score(served, nothing(self._schema))).all()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises, the others go on
            self.error = said(error)
            return True

    def _begin_anew(self, held: Held) -> None:
        held.all[:] = 0.0
        for one in self._weights:
            first = self._places[one.name]
            held.arrays[0][first : first + one.size] = np.ravel(np.asarray(one.initial))
        held.touched[:] = 1
        held.usual[:] = 0.0

    def _named(self, name: str, before: str = "") -> str:
        return f"modules/{self.name}/{before}{name}/{self.mark}"

    def _mark(self, shapes: dict[str, list[int]]) -> str:
        targets = [(t.name, t.kind, t.outputs) for t in self._schema.targets]
        text = json.dumps([self._recipe.kind, targets, sorted(shapes.items())])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    def _small(self) -> list[Extra]:
        targets = self._schema.targets
        frames = np.zeros((len(targets), 5))
        frames[:, 4] = [0.0 if target.scaled else 1.0 for target in targets]
        return [
            Extra("weights", self._named(name), dtype, shape, initial)  # type: ignore[arg-type]
            for name, dtype, shape, initial in (
                ("frames", "float64", frames.shape, frames),
                ("usual_lengths", "float64", (4,), 0.0),
                ("steps", "int64", (len(targets) + 1,), 0.0),
                ("known", "float64", (self._schema.outputs, guest_votes.WIDTH), 0.0),
                ("health", "int64", (5,), 0.0),
            )
        ]

    def health(self, extras: Extras) -> NDArray[np.int64]:
        """Return how it is, from a state's extras by name."""
        return extras[self._named("health")]
