"""The watch for drift: what the detectors make of each cut, and what alarms do to the weights.

Holds no state: all that it knows lies in the learner's image, so snapshots, copies and replays
carry it. Pure functions of the rows: no clock, and how rows are cut makes no difference. Where
an alarm may change weights, rows are learned in blocks of 256, counted from the first event; what
an alarm inside a block asks for is done at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events.columns import Columns, take
from service.learn.drift import detectors, inputs, reset, rises
from service.model.drift_tensors import observed, watched
from service.model.kinds.seam import Learned
from service.model.layout import Entry, Layout
from service.model.state import State

BLOCK = 256
"""Rows after which an alarm is answered, where it may change weights."""
_IN_BLOCK, _LEARNED, _LEFT, _RAISES = 0, 1, 2, 3
_SURPRISE = 4.0
"""Log losses count up to so much above that of a blind guess."""

Pass = Callable[[Columns, NDArray[np.bool_], float], Learned]
"""Scores events and learns those whose flag [N] is set, with a factor on the learning rate."""


class Alarm(msgspec.Struct, frozen=True):
    """An alarm of a cut. by: a detector or a measure of inputs; of: the target or field; times:
    how often in this cut; figure: the rise of the loss, or the measure; 0 where it is not known any more."""

    by: str
    of: str
    times: int
    figure: float

    @property
    def on_inputs(self) -> bool:
        """Whether it is about a field, not about losses."""
        return self.by in inputs.MEASURES


class Watched(msgspec.Struct):
    """What one cut gave: the pass over its rows, its alarms, and what was done after them."""

    learned: Learned
    alarms: list[Alarm]
    done: list[str]
    """"raise_rates", or "reset_head <target>"."""


class Watch:
    """Detectors of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        recipe = layout.recipe
        self.settings = drift = recipe.drift
        self.targets = recipe.schema.targets
        self.numbers, self.categories = watched(recipe.schema)
        self._raises = "raise_rates" in drift.react
        self._resets = "reset_head" in drift.react
        self._limits = np.array(
            [
                drift.adwin_delta,
                drift.page_hinkley_delta,
                drift.page_hinkley_threshold,
                drift.always_events,
                drift.touches_weights and "adwin" in drift.react_to,
                drift.touches_weights and "page_hinkley" in drift.react_to,
            ],
            dtype=np.float64,
        )
        self._bounds = np.array(
            [drift.reference_events, drift.missing, drift.psi, drift.unseen], dtype=np.float64
        )

    def tensors(self, state: State, kind: str) -> NDArray[np.generic]:
        """Return the tensors of a kind as one view [how many, size]: adwin, page_hinkley, rise,
        number, category, seen."""
        return stacked(self.layout, state.image, kind)

    def course(self, state: State) -> NDArray[np.float64]:
        """Return the view [COURSE]: rows in the open block, of them learned, rows for which rates
        are still raised, times they were."""
        course: NDArray[np.float64] = stacked(self.layout, state.image, "course")[0]
        return course

    def factor(self, state: State) -> float:
        """Return what the learning rate is multiplied by now."""
        if not self.settings.losses or not self._raises:
            return 1.0
        raised = self.settings.raise_rates
        left = min(float(self.course(state)[_LEFT]) / raised.rows, 1.0)
        return 1.0 + (raised.factor - 1.0) * left

    def times_raised(self, state: State) -> int:
        """Return how often rates were raised."""
        return int(self.course(state)[_RAISES]) if self.settings.losses else 0

    def learn(
        self,
        state: State,
        columns: Columns,
        flags: NDArray[np.bool_],
        learn: Pass,
    ) -> Watched:
        """Have N events scored, and learned where `flags` [N] is set; look at their losses and
        inputs."""
        n, at, schema = len(columns), 0, self.layout.schema
        fired = np.zeros((len(self.targets), 2), dtype=np.int64)
        moved = self._no_alarms()
        if not self.settings.touches_weights:
            learned = learn(columns, flags, 1.0)
            self._look(state, observed(schema, columns, 0, n), learned, fired, moved)
            return Watched(learned, self._alarms(state, fired, moved), [])
        pieces: list[Learned] = []
        done: list[str] = []
        while at < n or not pieces:
            course = self.course(state)
            to = min(n, at + BLOCK - int(course[_IN_BLOCK]))
            part = take(columns, np.arange(at, to))
            piece = learn(part, flags[at:to], self.factor(state))
            self._look(state, observed(schema, columns, at, to), piece, fired, moved)
            course[_IN_BLOCK] += to - at
            course[_LEARNED] += float(((piece.applied == 1) | (piece.applied == 3)).sum())
            if course[_IN_BLOCK] == BLOCK:
                done += self._close_block(state, course)
            pieces.append(piece)
            at = to
        return Watched(_joined(pieces), self._alarms(state, fired, moved), done)

    def _close_block(self, state: State, course: NDArray[np.float64]) -> list[str]:
        """Do what the alarms of a block ask for."""
        done: list[str] = []
        course[_LEFT] = max(course[_LEFT] - course[_LEARNED], 0.0)
        course[_IN_BLOCK] = course[_LEARNED] = 0.0
        rise = self.tensors(state, "rise")
        waiting = rise[:, rises.WAITING] != 0.0
        if not waiting.any():
            return done
        rise[:, rises.WAITING] = 0.0
        if self._raises:
            course[_LEFT] = self.settings.raise_rates.rows
            course[_RAISES] += 1.0
            done.append("raise_rates")
        if self._resets:
            for t in np.flatnonzero(waiting):
                reset.head(state, self.targets[t])
                # what was usual for the old head says nothing about the new one
                self.tensors(state, "adwin")[t] = 0.0
                self.tensors(state, "page_hinkley")[t] = 0.0
                rise[t, rises.RESETS] += 1.0
                done.append(f"reset_head {self.targets[t].name}")
            for kind in {"number", "category"} & self.layout.drift.keys():
                inputs.begin_again(self.tensors(state, kind))
            if "seen" in self.layout.drift:
                self.tensors(state, "seen")[:] = 0
        return done

    def _look(
        self,
        state: State,
        given: tuple[NDArray[np.float64], NDArray[np.uint64]],
        learned: Learned,
        fired: NDArray[np.int64],
        moved: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        """Take losses and inputs of some rows into the detectors; alarms are added to `fired`
        [T, 2] and `moved` [fields, 3]."""
        if self.settings.losses:
            broken = learned.applied == 2
            adwin, page_hinkley, rise = (
                self.tensors(state, kind) for kind in ("adwin", "page_hinkley", "rise")
            )
            for t, target in enumerate(self.targets):
                losses = np.where(broken, np.nan, learned.losses[:, t])
                most = math.log(max(target.outputs, 2)) + _SURPRISE
                detectors.take(
                    losses, adwin[t], page_hinkley[t], rise[t], target.kind == "number", most,
                    self._limits, fired[t],
                )  # fmt: skip
        if self.settings.inputs:
            if self.numbers:
                states = self.tensors(state, "number")
                inputs.take_numbers(given[0], states, self._bounds, moved[0])
            if self.categories:
                states, seen = self.tensors(state, "category"), self.tensors(state, "seen")
                inputs.take_codes(given[1], states, seen, self._bounds, moved[1])

    def _no_alarms(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        width = len(inputs.MEASURES)
        return (
            np.zeros((len(self.numbers), width), dtype=np.int64),
            np.zeros((len(self.categories), width), dtype=np.int64),
        )

    def _alarms(
        self,
        state: State,
        fired: NDArray[np.int64],
        moved: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> list[Alarm]:
        found: list[Alarm] = []
        for t, d in np.argwhere(fired):
            last = self.tensors(state, "rise")[t, rises.FIRST + rises.FIGURES * d + rises.LAST]
            times = int(fired[t, d])
            found.append(Alarm(rises.DETECTORS[d], self.targets[t].name, times, float(last)))
        fields = (self.numbers, self.categories)
        for kind, (names, counts) in enumerate(zip(fields, moved, strict=True)):
            for f, m in np.argwhere(counts):
                vector = self.tensors(state, ("number", "category")[kind])[f]
                figure = inputs.measured(vector, coded=kind == 1)
                name = inputs.MEASURES[m]
                found.append(
                    Alarm(name, names[f], int(counts[f, m]), (figure or {}).get(name, 0.0))
                )
        return found


def stacked(layout: Layout, image: NDArray[np.uint8], kind: str) -> NDArray[np.generic]:
    """Return all tensors drift/<kind> or drift/<kind>/..., which lie next to each other."""
    entries = layout.drift[kind]
    first: Entry = entries[0]
    raw = image[first.offset : first.offset + len(entries) * first.nbytes]
    dtype = np.int64 if first.dtype == "int64" else np.float64
    return raw.view(dtype).reshape(len(entries), *first.shape)


def _joined(pieces: list[Learned]) -> Learned:
    if len(pieces) == 1:
        return pieces[0]
    fields = ((getattr(p, name) for p in pieces) for name in Learned.__struct_fields__)
    return Learned(*(np.concatenate(list(parts)) for parts in fields))
