"""The tensors of a mixture's state, by whose they are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts.ensemble import Ensemble, Holder
from service.model.experts.moved import mark
from service.model.experts.seam import Held
from service.model.kinds.seam import Extras, Standing

T = TypeVar("T")


class Views(NamedTuple):
    """The tensors of one state."""

    shared: Held
    effort: Held
    each: list[list[Held]]
    """Of each ensemble, in the order of its holders."""

    @property
    def level(self) -> int:
        """How much work is left out."""
        return int(self.effort.at["level"][0])


class Kept(Generic[T]):
    """What was put together for a state's weights, for as long as these live: to look up a hundred
    tensors takes a millisecond."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[NDArray[np.float32]], T]] = {}

    def of(self, theta: NDArray[np.float32], make: Callable[[], T]) -> T:
        """Return what `make` made for these weights; it must not hold `theta` itself."""
        key = id(theta)
        found = self._kept.get(key)
        if found is not None and found[0]() is theta:
            return found[1]
        made = make()
        self._kept[key] = weakref.ref(theta, lambda _: self._kept.pop(key, None)), made
        return made


def views_of(
    holders: Sequence[Holder],
    counts: Sequence[int],
    places: Mapping[str, int],
    theta: NDArray[np.float32],
    touched: NDArray[np.uint8],
    extras: tuple[NDArray[np.generic], ...],
) -> Views:
    """Return the views of a state's arrays. counts: how many holders each ensemble has; places: where
    a large tensor begins in theta. extras: of all tensors that are not large, in their order."""
    left = iter(extras)
    found = []
    for at, tensors in holders:
        views, flags = {}, {}
        for one in tensors:
            if not one.large:
                views[one.name] = next(left)
            elif 0 in one.shape:
                views[one.name] = np.empty(one.shape, np.float32)
                flags[one.name] = touched[:0]
            else:
                first = places[f"{at}/{one.name}{mark(one)}"]
                size = int(np.prod(one.shape))
                views[one.name] = theta[first : first + size].reshape(one.shape)
                flags[one.name] = touched[first >> 6 : (first + size) >> 6]
        found.append(Held(views, flags))
    rest = iter(found[2:])
    return Views(found[0], found[1], [[next(rest) for _ in range(n)] for n in counts])


def standings_of(
    ensemble: Ensemble, extras: Extras, ailing: Mapping[str, Mapping[str, Any]]
) -> list[Standing]:
    """Return how each member did, and what it counts. ailing: more of guests, by their names."""
    at, tensors = ensemble.holders[ensemble.own]
    held = Held({t.name: extras[f"{at}/{t.name}{mark(t)}"] for t in tensors}, {})
    shares, figures = ensemble.mixture.weights(held).tolist(), held.at["tally"].tolist()
    again = np.repeat(held.at["restarts"], [len(e.members) for e in ensemble.experts]).tolist()
    again += [0] * (len(ensemble.members) - len(again))  # of guests
    awake = held.at["awake"].astype(np.bool_).tolist()
    return [
        Standing(name, shares[k], *figures[k])._replace(
            restarts=again[k], awake=awake[k], **ailing.get(name, {})
        )
        for k, name in enumerate(ensemble.members)
    ]
