"""Experts that start anew: those that predict what is no number, and all of a target whose unit has
become another by far.

What is no number stays none whatever is learned, and no version that holds one is served. A member
without a prediction for a row says of it what the others say, as if it slept. Whether an expert starts
anew is decided where rows end that are learned together, which a replay repeats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.model.experts import restarts_pass as compiled
from service.model.experts.restarts_pass import FURTHEST
from service.model.experts.seam import Expert, Held, Tensor

SMALLEST = 1e-4
"""Least part of a unit that another one may be, or may be of it; beyond, what was learned says
nothing, and what is squared in float32 is lost."""


class Restarts:
    """How often each expert of a target started anew."""

    def __init__(self, experts: Sequence[Expert], neutral: float) -> None:
        """neutral: what is predicted where no member predicts anything."""
        self._experts, self._neutral = experts, neutral
        names = tuple((one.name, 1) for one in experts)
        self.tensors = (Tensor("restarts", (len(experts),), "int64", axes=(names,)),)

    def see_to(self, own: Held, held: Sequence[Held], parts: Sequence[NDArray[np.float32]]) -> None:
        """Have those experts start anew whose predictions [N, K, O] are not all finite."""
        for i, (expert, mine, part) in enumerate(zip(self._experts, held, parts, strict=True)):
            if not np.isfinite(part).all():
                begin(expert.tensors, mine)
                own.at["restarts"][i] += 1

    def all_anew(self, own: Held, held: Sequence[Held]) -> None:
        """Have all experts start anew."""
        for expert, mine in zip(self._experts, held, strict=True):
            begin(expert.tensors, mine)
        own.at["restarts"][:] += 1

    def mend(self, p: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Bring predictions [N, K, O] into reach; what is no number becomes what others say, by
        weights [K]."""
        broken = np.logical_not(np.isfinite(p).all(axis=2))
        each = np.where(broken, 0.0, weights)[..., None]
        norm = each.sum(axis=1)
        said = (each * np.where(broken[..., None], 0.0, p)).sum(axis=1)
        said = np.where(norm > 0.0, said / np.where(norm > 0.0, norm, 1.0), self._neutral)
        p[:] = np.where(broken[..., None], said[:, None], p)
        np.clip(p, -FURTHEST, FURTHEST, out=p)


def sound(p: NDArray[np.float32]) -> bool:
    """Return whether all predictions [N, K, O] are finite and in reach."""
    return bool(compiled.sound(p))


def far(ratio: float) -> bool:
    """Return whether a new unit of the target leaves nothing of what was learned."""
    return not SMALLEST < ratio < 1.0 / SMALLEST


def begin(tensors: Sequence[Tensor], held: Held) -> None:
    """Have tensors be as they were before the first row."""
    for one in tensors:
        if 0 in one.shape:
            continue
        held.at[one.name][...] = one.initial
        if one.large:
            held.flags[one.name][:] = 1
