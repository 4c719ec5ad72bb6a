"""A learning rate that moves by itself, within bounds. Its state lies in the image, so a replay
repeats it, and how rows are cut into calls changes no bit.

hypergradient: the change of the weights over `every` events is one step; the rate is multiplied by
exp(pace * cos), cos being that of the angle between this step and the one before, taken over the
weights that both moved. Steps that go on in one direction are too short, steps that turn back too
long (Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent", ICLR 2018, in its
multiplicative form; a step stands for the gradient, which for plain SGD is the same but for a
factor). It looks one step ahead: on a stream whose neighbours resemble each other, steps agree for
that reason alone, and the rate ends too high where `every` is shorter than the resemblance.

held_out: the same question, asked of events that no weight ever learns: are they predicted better by
weights whose last step was half as long again, or half as long? Each held-out event is scored by
both, `longer` and `shorter`; after a step the rate is multiplied by exp(pace * d), d being the sum
of the differences of their losses over the largest that it could be, hence in [-1, 1]. Pairs tell
what losses of one rate after another do not: on a stream the next hour is easier or harder anyway
(a bold driver on windows of held-out losses was tried, and lost its way).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.model.featurizer import Rows
from service.model.kinds.seam import BLOCK, Extra, Flat, Kind, Moving, Served
from service.model.names import head_of
from service.model.recipe import Recipe
from service.settings import MOST_TIMES, AdaptSettings

if TYPE_CHECKING:
    from service.model.state import State

RATE, START, ROWS, SIZE, GAIN, SQUARES, EVENTS = range(7)
"""Places in the vector `rate`: the rate; the setting that it began from; events in the step that is
going on; weights when it was last looked at; of its held-out events: the sum of what they gain by the
longer step, of its squares, and their number."""
_FROM, _STEP, _LONGER, _SHORTER = "rate_from", "rate_step", "rate_longer", "rate_shorter"
_FRAMES = "rate_frames"
_FLATS = {"hypergradient": (_FROM, _STEP), "held_out": (_FROM, _LONGER, _SHORTER)}
_TINY = 1e-7  # as in prequential: a probability is never scored as exactly 0


class Remembered:
    """What the image holds of a rate, see seam.Remembers: nothing where it stands still.

    Flats: the weights at the last step; that step, or what weights would be had it been longer or
    shorter. Also the frames of targets at that time, where somebody asks for them.
    """

    def __init__(self, recipe: Recipe, theta_size: int) -> None:
        self.extras: tuple[Extra, ...] = ()
        self.flats: tuple[Flat, ...] = ()
        adapt = recipe.learning.adapt
        if adapt is None:
            return
        vector = np.zeros(EVENTS + 1)
        vector[RATE] = vector[START] = recipe.learning.learning_rate
        flags = (theta_size // BLOCK,)
        self.extras = (
            Extra("optimizer", "rate", "float64", vector.shape, vector),
            Extra("optimizer", "rate_pending", "uint8", flags),
            Extra("optimizer", "rate_moved", "uint8", flags),
        )
        if adapt.by == "held_out" or any(target.scaled for target in recipe.schema.targets):
            shape = (len(recipe.schema.targets), 5)
            self.extras += (Extra("optimizer", _FRAMES, "float64", shape),)
        self.flats = tuple(Flat("optimizer", name) for name in _FLATS[adapt.by])


class Rate:
    """The learning rate of one recipe. Holds no state of its own."""

    def __init__(self, recipe: Recipe, kind: Kind) -> None:
        self._learning = recipe.learning
        self._adapt = recipe.learning.adapt
        self._targets = recipe.schema.targets
        self._kind = kind
        self._touched = np.zeros(kind.size // BLOCK, dtype=np.uint8)

    def of(self, state: State) -> float:
        """Return the rate in a state."""
        return rate_of(self._learning.learning_rate, state.extras.get("rate"))

    def moving(self, moving: Moving, state: State, factor: float) -> Moving:
        """Return the views to learn the next piece on: with the rate times `factor`, and, where it
        moves by itself, flags of its own."""
        if self._adapt is None and factor == 1.0:
            return moving
        hyper = moving.hyper.copy()
        hyper[0] = self.of(state) * factor
        if self._adapt is None:
            return moving._replace(hyper=hyper)
        self._touched[:] = 0
        return moving._replace(hyper=hyper, touched=self._touched)

    def pieces(
        self, state: State, served: Served, rows: Rows, weights: NDArray[np.float64]
    ) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run of rows to learn at one rate; the rate moves after it."""
        n, adapt = len(rows), self._adapt
        if adapt is None:
            yield 0, n
            return
        self._begin(state)
        vector = state.extras["rate"]
        held = (weights <= 0) & ~np.isnan(rows.y).all(axis=1)
        places = np.flatnonzero(weights > 0) + 1
        first, seen = 0, 0
        while first < n:
            due = seen + adapt.every - int(vector[ROWS]) - 1
            last = int(places[due]) if due < len(places) else n
            if adapt.by == "held_out":
                self._compare(state, served, rows.take(first + np.flatnonzero(held[first:last])))
            yield first, last
            self.note(state)
            taken = int(np.searchsorted(places, last, side="right")) - seen
            seen += taken
            vector[ROWS] += taken
            if vector[ROWS] >= adapt.every:
                vector[ROWS] = 0.0
                self._step(state, vector, adapt)
            first = last

    def note(self, state: State) -> None:
        """Remember what a pass on the views of `moving` has changed."""
        if self._adapt is not None:
            for flags in (state.touched, state.extras["rate_pending"]):
                np.maximum(flags, self._touched, out=flags)

    def _begin(self, state: State) -> None:
        """Take over a rate from other settings, and weights from another layout."""
        vector, start = state.extras["rate"], self._learning.learning_rate
        if vector[START] != start:
            vector[RATE] = vector[START] = start
        self._move(vector, 0.0)
        if vector[SIZE] != len(state.theta):
            vector[ROWS:] = 0.0
            vector[SIZE] = len(state.theta)
            for name in (_FROM, _LONGER, _SHORTER):
                if name in state.flats:
                    state.flats[name][:] = state.theta
            if _FRAMES in state.extras:
                state.extras[_FRAMES][:] = state.frames
            if _STEP in state.flats:
                state.flats[_STEP][:] = 0.0
            state.touched[:] = 1
            state.extras["rate_pending"][:] = 0
            state.extras["rate_moved"][:] = 0

    def _compare(self, state: State, served: Served, held: Rows) -> None:
        """Score held-out events by both weights, and add up what the longer step gains."""
        if not len(held):
            return
        vector, losses = state.extras["rate"], []
        # those that the weights were written in: frames of now depend on where a cut ends
        served = served._replace(frames=cast("NDArray[np.float64]", state.extras[_FRAMES]))
        for name in (_SHORTER, _LONGER):
            scores = self._kind.score(served._replace(theta=state.flats[name]), held)
            losses.append(self._losses(scores, held.y, served.frames[:, 4]))
        for gain in losses[0] - losses[1]:  # in order: the sum must not depend on the cuts
            if math.isfinite(gain):
                vector[GAIN] += gain
                vector[SQUARES] += gain * gain
                vector[EVENTS] += 1.0

    def _losses(
        self, scores: NDArray[np.float64], y: NDArray[np.float64], units: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return [N]: log losses and squared errors, targets by their weight; 0 where missing.

        units [T]: what errors of each target are measured in where there are several, or dollars
        would be added to seconds; 0 where that is not known yet, and then nothing is said of it.
        """
        total = np.zeros(len(y))
        several = len(self._targets) > 1
        for t, target in enumerate(self._targets):
            block, known = (
                scores[:, target.start : target.start + target.outputs],
                ~np.isnan(y[:, t]),
            )
            label = np.where(known, y[:, t], 0.0)
            if target.kind == "number":
                loss = (block[:, 0] - label) ** 2
                if several:
                    loss = loss / units[t] ** 2 if units[t] > 0.0 else np.zeros(len(y))
            elif target.kind == "binary":
                loss = -np.log(
                    np.maximum(np.where(label > 0.5, block[:, 0], 1 - block[:, 0]), _TINY)
                )
            else:
                loss = -np.log(np.maximum(block[np.arange(len(y)), label.astype(int)], _TINY))
            total += target.weight * np.where(known, loss, 0.0)
        return total

    def _step(self, state: State, vector: NDArray[np.generic], adapt: AdaptSettings) -> None:
        """Move the rate by what the last step taught; begin the next."""
        flats, flags = state.flats, (state.extras["rate_pending"], state.extras["rate_moved"])
        for each in flags:
            np.maximum(state.touched, each, out=state.touched)
        self._reframe(state)
        if adapt.by == "hypergradient":
            by = _turned(state.theta, flats[_FROM], flats[_STEP], *flags)
        else:
            most = math.sqrt(float(vector[EVENTS]) * float(vector[SQUARES]))
            by = float(vector[GAIN]) / most if most > 0 and math.isfinite(most) else 0.0
            vector[GAIN:] = 0.0
            _varied(state.theta, flats[_FROM], flats[_LONGER], flats[_SHORTER], *flags)
        if _FRAMES in state.extras:
            state.extras[_FRAMES][:] = state.frames
        self._move(vector, adapt.pace * by)

    def _reframe(self, state: State) -> None:
        """Bring the weights at the last step, and the step before, to the units that number targets
        have now: that a frame was renewed is no step. Where it is not known which weights were
        brought along (a module of the user's own), this step is not looked at."""
        for t, target in enumerate(self._targets):
            if not target.scaled:
                continue
            (mean, unit), (now, new) = state.extras[_FRAMES][t, 3:], state.frames[t, 3:]
            if not (unit > 0.0 and new > 0.0) or (mean, unit) == (now, new):
                continue
            own = [one for one in self._kind.parameters if one.target == target.name]
            for name in _FROM, _STEP:
                if name not in state.flats:
                    continue
                for one in own:
                    first = self._kind.places[one.name]
                    run = state.flats[name][first : first + one.size]
                    run[:] = run.astype(np.float64) * (unit / new) ** one.unit
                if not own:
                    state.flats[name][:] = state.theta if name == _FROM else 0.0
            if own:
                bias = self._kind.places[f"{head_of(target.name)}bias"]
                state.flats[_FROM][bias] += (mean - now) / new

    def _move(self, vector: NDArray[np.generic], by: float) -> None:
        assert self._adapt is not None, "only a rate that moves has bounds"
        rate = float(vector[RATE]) * math.exp(by)
        highest = self._adapt.highest or MOST_TIMES * self._learning.learning_rate
        vector[RATE] = min(max(rate, self._adapt.lowest), highest)


def rate_of(setting: float, vector: NDArray[np.generic] | None) -> float:
    """Return the rate in force: that of the vector, or the setting where it stands still."""
    return setting if vector is None else float(vector[RATE])


@njit(nogil=True, cache=True)
def _turned(theta, anchor, step, pending, moved):
    """Return the cosine between this step and the one before, and put this one in its place.

    theta, anchor (the weights at the step before), step: [P]. pending, moved: uint8 [P / 64],
    blocks that this step, the one before moved. 0 where no weight was moved by both.
    """
    dot, square, square_before = 0.0, 0.0, 0.0
    for block in range(pending.shape[0]):
        if pending[block] == 0 and moved[block] == 0:
            continue
        for i in range(block * 64, (block + 1) * 64):
            d = theta[i] - anchor[i]
            before = step[i]
            if d != 0.0 and before != 0.0:
                dot += float(d) * float(before)
                square += float(d) * float(d)
                square_before += float(before) * float(before)
            step[i] = d
            anchor[i] = theta[i]
        moved[block] = pending[block]
        pending[block] = 0
    length = math.sqrt(square) * math.sqrt(square_before)
    if length > 0.0 and math.isfinite(length) and math.isfinite(dot):
        return min(max(dot / length, -1.0), 1.0)
    return 0.0


@njit(nogil=True, cache=True)
def _varied(theta, anchor, longer, shorter, pending, moved):
    """Write what the weights would be had the last step been half as long again, or half as long.
    Arguments as in _turned; longer, shorter: [P]."""
    for block in range(pending.shape[0]):
        if pending[block] == 0 and moved[block] == 0:
            continue
        for i in range(block * 64, (block + 1) * 64):
            half = np.float32(0.5) * (theta[i] - anchor[i])
            longer[i] = theta[i] + half
            shorter[i] = theta[i] - half
            anchor[i] = theta[i]
        moved[block] = pending[block]
        pending[block] = 0
