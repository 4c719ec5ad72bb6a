"""The model seam: two ways to move a State by rows. Knows no files, no Kafka, no clock.

`learn` is the fused pass: each row is scored by weights that have not seen it, then learned.
`score`, `gradient` and `apply` are the same in three pieces, for whoever needs the gradient in
hand. With one row a step both ways give the same weights.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from service.model import ops
from service.model.featurizer import Rows
from service.model.kinds.seam import Gradient, Learned, Moving, Served
from service.model.layout import Layout
from service.model.rate import Rate
from service.model.state import State
from service.model.steps import RULES, hyper_of
from service.model.strategies.classes import Classes


class Model:
    """Moves the state of one layout. Holds no state of its own."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        recipe, learning = layout.recipe, layout.recipe.learning
        self.kind = layout.kind
        self._rate = Rate(recipe, self.kind)
        self._classes = Classes(layout.recipe)
        self._rule = RULES[recipe.optimizer]
        betas = (learning.beta1, learning.beta2)
        self._hyper = hyper_of(
            learning.learning_rate,
            learning.momentum,
            betas,
            recipe.optimizer,
            learning.clip,
            learning.cap,
        )

    def moving(self, state: State, importance: NDArray[np.float64] | None = None) -> Moving:
        """Return the views of a state that its kind learns on. importance: [N, T] of rows that are
        to be learned, see strategies/classes.py."""
        empty = [np.empty(0, dtype=np.float32) for _ in range(2 - len(state.slots))]
        slot0, slot1 = state.slots + empty
        extras = tuple(state.extras[one.name] for one in self.kind.extras)
        return Moving(
            self._rule, self._hyper, state.theta, slot0, slot1, state.counts, state.touched,
            state.frames, state.usual, self.layout.plan.strategy(state, importance), extras,
        )  # fmt: skip

    def learn(
        self, state: State, rows: Rows, weights: NDArray[np.float64], factor: float = 1.0
    ) -> Learned:
        """Score and learn N rows in order. weights: [N] importance, 0 means score only; factor: what
        the learning rate is multiplied by."""
        weights, importance = self._classes.count(state, rows, weights)
        done = self._blank(len(rows))
        views = self.moving(state, importance)
        for first, last in self._rate.pieces(state, self.served(state), rows, weights):
            moving = self._rate.moving(_between(views, first, last), state, factor)
            into = done.between(first, last)
            self.kind.learn(moving, rows.part(first, last), weights[first:last], into)
        return done

    def learn_again(
        self, state: State, rows: Rows, weights: NDArray[np.float64], factor: float = 1.0
    ) -> Learned:
        """Learn N rows that were learned before: neither classes nor the rate take them for new."""
        weights, importance = self._classes.apply(state, rows, weights)
        done = self._blank(len(rows))
        moving = self._rate.moving(self.moving(state, importance), state, factor)
        self.kind.learn(moving, rows, weights, done)
        self._rate.note(state)
        return done

    def rate(self, state: State) -> float | None:
        """Return the learning rate in force; None where the kind solves and takes no steps."""
        return self._rate.of(state) if self.kind.differentiable else None

    def served(self, state: State) -> Served:
        """Return what predictions come from."""
        moving = self.moving(state)
        theta = state.flats["average"] if self.layout.plan.serves_average else state.theta
        return Served(theta, moving.frames, moving.extras)

    def score(self, state: State, rows: Rows) -> NDArray[np.float64]:
        """Return the scores [N, O] of the weights as they are; changes nothing."""
        return self.kind.score(self.served(state), rows)

    def gradient(self, state: State, rows: Rows, weights: NDArray[np.float64]) -> Gradient:
        """Return the sum of the rows' gradients at the weights as they are; changes nothing."""
        size = self.layout.theta_size
        labelled = ~np.isnan(rows.y) & (weights > 0)[:, None]
        targets: NDArray[np.bool_] = np.logical_or.reduce(labelled, axis=0)
        found = Gradient(np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.uint8), targets)
        self.add_gradient(state, rows, weights, found)
        return found

    def add_gradient(
        self, state: State, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Add the sum of the rows' gradients to one in hand; changes nothing else."""
        weights, importance = self._classes.apply(state, rows, weights)
        self.kind.gradient(self.moving(state, importance), rows, weights, into)

    def apply(self, state: State, gradient: Gradient) -> None:
        """Take one optimizer step with a gradient in hand. Frames of targets stay as they are."""
        moving, counts = self.moving(state), state.counts
        counts[: len(gradient.targets)] += gradient.targets
        if len(counts) > len(gradient.targets):
            counts[-1] += bool(gradient.targets.any())
        steps = self._steps_of_weights(counts)
        c1, c2 = (1.0 - beta**steps for beta in self._hyper[2:4])
        arrays = (gradient.values, gradient.moved, c1, c2)
        ops.apply(
            self._rule,
            moving.strategy is not None,
            ops.packed(moving),
            [*map(torch.from_numpy, arrays)],
        )

    def _steps_of_weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [P]: how many steps the target (or the shared layers) of each weight took."""
        result = np.full(self.layout.theta_size, max(counts[-1], 1), dtype=np.float64)
        taken = {target.name: t for t, target in enumerate(self.layout.schema.targets)}
        for one in self.kind.parameters:
            if one.target is not None:
                first = self.kind.places[one.name]
                result[first : first + one.size] = max(counts[taken[one.target]], 1)
        return result

    def _blank(self, n: int) -> Learned:
        schema = self.layout.schema
        return Learned(
            np.empty((n, schema.outputs)),
            np.empty((n, len(schema.targets))),
            np.empty(n),
            np.empty(n, dtype=np.uint8),
        )


def _between(moving: Moving, first: int, last: int) -> Moving:
    """Return the views for the rows from `first` up to `last`."""
    strategy = moving.strategy
    if strategy is None or not len(strategy.importance):
        return moving
    return moving._replace(strategy=strategy._replace(importance=strategy.importance[first:last]))
