"""Gradients of a user's module as autograd gives them: whole, or of some rows of a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.model.kinds.module_bound import Bound, Placed
from service.model.steps import LARGEST_NORM


class Piece(NamedTuple):
    """The gradient of some rows of a parameter; one that is learned as a whole is one row."""

    place: Placed
    ids: NDArray[np.int64]
    """[K]"""
    values: NDArray[np.float32]
    """[K, width]"""


class Slope(NamedTuple):
    """A sum of gradients."""

    pieces: list[Piece]
    square: float
    """Its squared length."""
    shares: NDArray[np.float64]
    """[N]: what the cap let through of each row."""

    @property
    def sound(self) -> bool:
        """Whether it is finite, and not so long that a row of it must be beyond all measure."""
        return self.square < (LARGEST_NORM * len(self.shares)) ** 2


def piece_of(place: Placed, gradient: Tensor) -> Piece:
    """Return the gradient of a parameter, lazily where it is sparse."""
    if gradient.is_sparse:
        lazy = gradient.coalesce()
        ids, values = lazy.indices()[0].numpy(), lazy.values().contiguous().numpy()
        return Piece(place, ids, values.reshape(len(ids), place.parameter[0].numel()))
    values = gradient.contiguous().numpy().reshape(1, -1)
    return Piece(place, np.zeros(1, dtype=np.int64), values)


def square_of(pieces: list[Piece]) -> float:
    """Return the squared length of a gradient; not finite where a part of it is not."""
    flat = (one.values.reshape(-1).astype(np.float64) for one in pieces)
    return float(sum(float(values @ values) for values in flat))


def reaches_of(outs: Tensor, bound: Bound) -> NDArray[np.float64]:
    """Return [N]: the squared length of d output / d weights of each row of outs [N, 1], one
    backward pass each. The graph of outs is kept."""
    reaches = np.empty(len(outs))
    for r in range(len(outs)):
        found = torch.autograd.grad(outs[r, 0], bound.weights, retain_graph=True, allow_unused=True)
        held = zip(bound.places, found, strict=True)
        reaches[r] = square_of([piece_of(p, g) for p, g in held if g is not None])
    return reaches
