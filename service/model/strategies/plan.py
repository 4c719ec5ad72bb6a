"""Which strategies a recipe asks for: what they remember, and what the passes see of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from service.errors import BadSettings, Problem
from service.model.kinds.seam import Extra, Flat, Kind
from service.model.strategies import classes, view
from service.model.strategies.memory import Memory
from service.model.strategies.view import Strategy
from service.settings import BinaryTarget, LearningSettings, MulticlassTarget

STRATEGIES = (
    "l2", "l2_init", "ewc", "freeze", "trunk_every", "average", "safe_steps", "replay", "agem",
    "lookahead",
)  # fmt: skip
"""Settings of learning that are strategies."""

if TYPE_CHECKING:
    from service.model.recipe import Recipe
    from service.model.state import State


class Plan:
    """The strategies of one recipe. Raises BadSettings where they do not fit the weights."""

    def __init__(self, recipe: Recipe, kind: Kind) -> None:
        learning = recipe.learning
        self.still = _still(learning.freeze, kind)
        """[P] weights that are frozen; [0]: none."""
        if learning.trunk_every > 1 and all(one.target is not None for one in kind.parameters):
            raise BadSettings([
                Problem(
                    "learning.trunk_every", None,
                    f"has no effect: targets share no weights in a {kind.name} model",
                    "Leave it out, or choose model.kind: mlp.",
                )
            ])  # fmt: skip
        self.serves_average: bool = learning.average is not None and learning.average.serve
        self.flats = _flats(recipe)
        in_force = {one.name for one in self.flats} - (
            {"initial"} if learning.l2_init == 0 else set()
        )
        pulled = in_force - {"before", "slow"}
        pulls = bool(pulled) or learning.l2 > 0.0 or len(self.still) > 0
        self._numbers = _numbers(learning, pulls)
        self._on = bool(in_force) or pulls or learning.trunk_every > 1 or learning.safe_steps
        schema, seed, replay, agem = recipe.schema, learning.seed, learning.replay, learning.agem
        self.memory: Memory | None = None
        self.judges: Memory | None = None
        if replay is not None:
            self.memory = Memory("replay", replay.memory, schema, seed, replay.kind)
        if agem is not None:
            self.judges = Memory("agem", agem.memory, schema, seed + 1, "reservoir")
        asked = {"agem/moved": agem, "lookahead/moved": learning.lookahead}
        self.moved = tuple(name for name, settings in asked.items() if settings is not None)
        """Names of the extras that hold what a block has moved, one flag per 64 weights."""
        self.in_blocks: bool = bool(self.memory or self.moved)
        """Whether something is done after each block of `step_rows` learned rows."""
        self.extras = (*classes.extras(recipe), *self._extras(learning, kind.size // 64))
        self.names = tuple(sorted(_names(recipe)))
        """Settings of the strategies that are in force."""

    def _extras(self, learning: LearningSettings, blocks: int) -> Iterator[Extra]:
        if learning.trunk_every > 1:
            yield Extra("optimizer", "rows_learned", "int64", (1,))
        for memory in filter(None, (self.memory, self.judges)):
            yield from memory.extras
        for name in self.moved:
            yield Extra("optimizer", name, "uint8", (blocks,))
        if self.judges is not None:
            yield Extra("optimizer", "agem/figures", "int64", (2,))
        if self.in_blocks:
            yield Extra("optimizer", "block_rows", "int64", (1,))

    def strategy(
        self, state: State, importance: NDArray[np.float64] | None = None
    ) -> Strategy | None:
        """Return what the passes see of a state; None where no strategy is asked for."""
        if not self._on and importance is None:
            return None
        blank, flats = view.BLANK, state.flats
        none = blank.initial
        rows = cast("NDArray[np.int64]", state.extras.get("rows_learned", blank.rows))
        return Strategy(
            self._numbers, self.still, rows,
            flats.get("initial", none) if self._numbers[view.L2_INIT] else none, flats.get("fisher", none), flats.get("anchor", none),
            flats.get("average", none), flats.get("before", flats.get("slow", none)),
            blank.importance if importance is None else importance,
        )  # fmt: skip


def _flats(recipe: Recipe) -> tuple[Flat, ...]:
    learning = recipe.learning
    asked = {
        Flat("optimizer", "initial", "initial"): learning.l2_init > 0.0 or recipe.from_file,
        Flat("optimizer", "fisher"): learning.ewc,
        Flat("optimizer", "anchor", "weights"): learning.ewc,
        Flat("weights", "average", "weights"): learning.average,
        Flat("optimizer", "before", "weights"): learning.agem,
        Flat("optimizer", "slow", "weights"): learning.lookahead,
    }
    return tuple(flat for flat, settings in asked.items() if settings)


def _numbers(learning: LearningSettings, pulls: bool) -> NDArray[np.float64]:
    """Return Strategy.numbers."""
    ewc, average = learning.ewc, learning.average
    numbers = np.zeros(len(view.BLANK.numbers))
    numbers[view.L2], numbers[view.L2_INIT] = learning.l2, learning.l2_init
    numbers[view.TRUNK_EVERY], numbers[view.SAFE] = learning.trunk_every, learning.safe_steps
    numbers[view.PULLS] = pulls
    if ewc is not None:
        numbers[view.EWC], numbers[view.FORGET] = ewc.strength, 1.0 - ewc.decay
        numbers[view.FOLLOW] = 1.0 / ewc.every
    if average is not None:
        numbers[view.AVERAGE], numbers[view.SERVE] = average.decay, average.serve
    return numbers


def _still(patterns: tuple[str, ...], kind: Kind) -> NDArray[np.uint8]:
    """Return [P]: which weights are frozen; [0] where no pattern is given."""
    if not patterns:
        return view.BLANK.still
    still = np.zeros(kind.size, dtype=np.uint8)
    names = [one.name for one in kind.parameters]
    problems = []
    for at, pattern in enumerate(patterns):
        chosen = fnmatch.filter(names, pattern)
        if not chosen:
            problems.append(
                Problem(
                    f"learning.freeze.{at}", None, f"no weights are named {pattern!r}",
                    f"Known: {', '.join(names)}.",
                )
            )  # fmt: skip
        for one in kind.parameters:
            if one.name in chosen:
                first = kind.places[one.name]
                still[first : first + one.size] = 1
    if problems:
        raise BadSettings(problems)
    return still


def _names(recipe: Recipe) -> set[str]:
    blank = LearningSettings()
    found = {name for name in STRATEGIES if getattr(recipe.learning, name) != getattr(blank, name)}
    for spec in recipe.event.targets.values():
        if isinstance(spec, BinaryTarget | MulticlassTarget):
            found |= {n for n in ("class_weights", "balance") if getattr(spec, n)}
    return found
