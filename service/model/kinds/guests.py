"""All modules of the user's own in one mixture: where their weights lie in its own, and their votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.model.featurizer import Rows
from service.model.kinds.guest import FAILED, LEFT, Guest, Held
from service.model.kinds.seam import Extra, Extras, Moving, Parameter

if TYPE_CHECKING:
    from service.model.recipe import Recipe

Arrays = tuple[NDArray[Any], ...]


class Guests:
    """The modules of one mixture, in the order of its settings."""

    def __init__(self, recipe: Recipe) -> None:
        self._each = [Guest(recipe, name) for name in recipe.model.modules]
        gone = [guest.error for guest in self._each if not guest.is_here]
        self.lacks = gone[0] if gone else None
        self._bases: list[int] = []
        self.parameters: tuple[Parameter, ...] = tuple(p for g in self._each for p in g.parameters)
        self.extras: tuple[Extra, ...] = tuple(e for g in self._each for e in g.extras)
        self.known_as = tuple((guest.name, guest.mark) for guest in self._each)

    def place(self, base: int, places: dict[str, int]) -> int:
        """Place their weights in theta from `base` on, into `places`; return where they end."""
        for guest in self._each:
            self._bases.append(base)
            places.update(guest.places(base))
            base += guest.n_arrays * guest.size
        return base

    def score(self, theta: NDArray[np.float32], extras: Arrays, rows: Rows) -> NDArray[np.float64]:
        """Return their votes [G, N, O] in the units of targets; write nothing."""
        held = self._held(theta, np.empty(0, dtype=np.uint8), extras)
        return np.stack([g.score(one, rows) for g, one in zip(self._each, held, strict=True)])

    def learn(
        self, moving: Moving, extras: Arrays, rows: Rows, weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return their votes [G, N, O], each from before its row was learned; and learn the rows."""
        held = self._held(moving.theta, moving.touched, extras)
        votes = [
            g.learn(one, moving, rows, weights) for g, one in zip(self._each, held, strict=True)
        ]
        return np.stack(votes)

    def ailing(self, extras: Extras) -> dict[str, dict[str, Any]]:
        """Return what seam.Standing says of failures, by expert: of those that failed."""
        found = {}
        for guest in self._each:
            health = guest.health(extras)
            if health[FAILED] or not guest.is_here:
                resting = bool(health[LEFT]) or not guest.is_here
                found[guest.name] = {
                    "failures": int(health[FAILED]), "resting": resting, "error": guest.error,
                }  # fmt: skip
        return found

    def _held(
        self, theta: NDArray[np.float32], touched: NDArray[np.uint8], extras: Arrays
    ) -> list[Held]:
        found, at = [], 0
        for guest, base in zip(self._each, self._bases, strict=True):
            n = len(guest.extras)
            found.append(guest.held(base, theta, touched, extras[at : at + n]))
            at += n
        return found
