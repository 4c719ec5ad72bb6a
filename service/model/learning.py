"""The model seam: two ways to move a State by rows. Knows no files, no Kafka, no clock.

`learn` is the fused pass: each row is scored by weights that have not seen it, then learned.
`score`, `gradient` and `apply` are the same in three pieces, for whoever needs the gradient in
hand. With one row a step both ways give the same weights.
"""

from __future__ import annotations

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from service.model import ops
from service.model.featurizer import Rows
from service.model.layout import Layout
from service.model.scorer import score_rows, target_table
from service.model.state import State
from service.model.steps import RULES, hyper_of


class Learned(msgspec.Struct):
    """What one pass over N rows did."""

    scores: NDArray[np.float64]
    """[N, O], each row scored before it was learned."""
    losses: NDArray[np.float64]
    """[N, T] in the target's units; NaN where the target is missing."""
    norms: NDArray[np.float64]
    """[N] length of the gradient that was applied; 0 where none was."""
    applied: NDArray[np.uint8]
    """[N] 1 learned, 0 only scored, 2 not finite: that row changed nothing; 3 learned with a
    gradient that was shortened to the cap."""


class Gradient(msgspec.Struct):
    """A gradient in hand: `values` [P], and `moved` [P], the weights that a step would move."""

    values: torch.Tensor
    moved: torch.Tensor
    targets: NDArray[np.bool_]
    """[T] targets that were labelled in at least one row."""


class Model:
    """Moves the state of one layout. Holds no state of its own."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        recipe, learning = layout.recipe, layout.recipe.learning
        self._linear = recipe.kind == "linear"
        self._rule = RULES[recipe.optimizer]
        betas = (learning.beta1, learning.beta2)
        self._hyper = torch.from_numpy(
            hyper_of(
                learning.learning_rate,
                learning.momentum,
                betas,
                recipe.optimizer,
                learning.clip,
                learning.cap,
            )
        )
        self._targets = torch.from_numpy(target_table(layout))
        self._dense = torch.from_numpy(layout.dense)
        self._heads = torch.from_numpy(layout.heads)
        self._tables = torch.from_numpy(layout.tables)
        widths = [t.outputs for t in layout.schema.targets]
        # A single scale serves a number target's tables; others are never rescaled.
        sizes = [b * min(widths) for b in layout.schema.buckets]
        self._sizes = torch.tensor(sizes, dtype=torch.int64)

    def learn(
        self, state: State, rows: Rows, weights: NDArray[np.float64], rate: float = 1.0
    ) -> Learned:
        """Score and learn N rows in order. weights: [N] importance, 0 means score only; rate: what
        the learning rate is multiplied by."""
        done = self._blank(len(rows))
        hyper = self._hyper.clone()
        hyper[0] *= rate
        given = (state.usual, rows.x, rows.ids, rows.y, weights)
        tensors = [torch.from_numpy(a) for a in given]
        into = [torch.from_numpy(a) for a in (done.scores, done.losses, done.norms, done.applied)]
        head = (self._rule, *self._moving(state), torch.from_numpy(state.counts),
                torch.from_numpy(state.touched), torch.from_numpy(state.frames), self._targets,
                self._dense)  # fmt: skip
        if self._linear:
            ops.linear_learn(*head, self._tables, self._sizes, hyper, *tensors, *into)
        else:
            model = self.layout.recipe.model
            ops.mlp_learn(
                *head, self._heads, self._tables, model.embedding, model.hidden, hyper,
                *tensors, *into,
            )  # fmt: skip
        return done

    def score(self, state: State, rows: Rows) -> NDArray[np.float64]:
        """Return the scores [N, O] of the weights as they are; changes nothing."""
        return score_rows(self.layout, state.theta, state.frames, rows)

    def gradient(self, state: State, rows: Rows, weights: NDArray[np.float64]) -> Gradient:
        """Return the sum of the rows' gradients at the weights as they are; changes nothing."""
        scores = torch.from_numpy(self._blank(len(rows)).scores)
        values = torch.zeros(self.layout.theta_size)
        moved = torch.zeros(self.layout.theta_size, dtype=torch.uint8)
        tensors = [torch.from_numpy(a) for a in (rows.x, rows.ids, rows.y, weights)]
        head = (torch.from_numpy(state.theta), torch.from_numpy(state.frames), self._targets,
                self._dense)  # fmt: skip
        if self._linear:
            ops.linear_gradient(*head, self._tables, *tensors, scores, values, moved)
        else:
            model = self.layout.recipe.model
            ops.mlp_gradient(
                *head, self._heads, self._tables, model.embedding, model.hidden, *tensors,
                scores, values, moved,
            )  # fmt: skip
        labelled = ~np.isnan(rows.y) & (weights > 0)[:, None]
        targets: NDArray[np.bool_] = np.logical_or.reduce(labelled, axis=0)
        return Gradient(values, moved, targets)

    def apply(self, state: State, gradient: Gradient) -> None:
        """Take one optimizer step with a gradient in hand. Frames of targets stay as they are."""
        counts = state.counts
        counts[: len(gradient.targets)] += gradient.targets
        if not self._linear:
            counts[-1] += bool(gradient.targets.any())
        betas = self._hyper[2:4]
        steps = torch.from_numpy(self._steps_of_weights(counts))
        c1, c2 = (1.0 - beta**steps for beta in betas)
        ops.apply(
            self._rule, *self._moving(state), torch.from_numpy(state.touched), gradient.values,
            gradient.moved, self._hyper, c1, c2,
        )  # fmt: skip

    def _steps_of_weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [P]: how many steps the target (or the shared layers) of each weight took."""
        result = np.full(self.layout.theta_size, max(counts[-1], 1), dtype=np.float64)
        for name, shape, first in self.layout.parameters:
            for t, target in enumerate(self.layout.schema.targets):
                if name.startswith(self.layout.head_name(target)):
                    result[first : first + int(np.prod(shape))] = max(counts[t], 1)
        return result

    def _moving(self, state: State) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        slots = [torch.from_numpy(s) for s in state.slots]
        empty = [torch.empty(0) for _ in range(2 - len(slots))]
        first, second = slots + empty
        return torch.from_numpy(state.theta), first, second

    def _blank(self, n: int) -> Learned:
        schema = self.layout.schema
        return Learned(
            np.empty((n, schema.outputs)),
            np.empty((n, len(schema.targets))),
            np.empty(n),
            np.empty(n, dtype=np.uint8),
        )
