"""All that learns one target: the labels before, the experts, and the mixture of their members."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Target
from service.model.experts import EXPERTS, together
from service.model.experts.inputs import Labels, Shared
from service.model.experts.mixture import Mixture
from service.model.experts.restarts import Restarts, begin, far, sound
from service.model.experts.seam import Expert, Held, Inputs, Task, Tensor
from service.model.names import escape

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
        neutral = 0.0 if target.kind == "number" else 1.0 / task.classes
        self.restarts = Restarts(self.experts, neutral)
        start = f"experts/{escape(target.name)}"
        self.holders = [
            Holder(f"{start}/labels", self.labels.tensors),
            *(Holder(f"{start}/{one.name}", one.tensors) for one in self.experts),
            Holder(
                f"{start}/mixture",
                (*self.mixture.tensors, *self.restarts.tensors, Tensor("range", (4,), "float64")),
            ),
        ]

    def score(self, held: list[Held], rows: Inputs, into: NDArray[np.float64]) -> None:
        """Write the scores [N, O] in the target's frame."""
        members = self._members(len(rows))
        for expert, mine, place in zip(self.experts, held[1:-1], members.parts, strict=True):
            expert.score(mine, rows, place)
        p = members.joined()
        if not sound(p):
            self.restarts.mend(p, self.mixture.weights(held[-1]))
        self.mixture.score(held[-1], p, into)

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
        p, learn = members.joined(), (rows.weights > 0).astype(np.uint8)
        if not sound(p):
            self.restarts.see_to(held[-1], held[1:-1], members.parts)
            self.restarts.mend(p, self.mixture.weights(held[-1]))
        self.mixture.learn(held[-1], p, rows.y, learn, into)

    def rescale(self, held: list[Held], ratio: float, shift: float) -> None:
        """The unit of the target changes."""
        if far(ratio):
            begin(self.labels.tensors, held[0])
            self.restarts.all_anew(held[-1], held[1:-1])
            begin(self.mixture.tensors, held[-1])
            return
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
