"""The way of a cut's rows through a mixture: piece by piece, each from inputs to experts to mixture.

What a stage remembers is its own, so stages of several pieces go on at the same time: while experts
learn one, the inputs of the next are made, and the mixture learns the one before. Every stage has the
pieces in order, so how many go on at a time changes no bit.

Only what reaches from one stage back into another waits until all has come to its end: a target's new
unit, and who works. There a stretch of pieces ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.model.experts import together
from service.model.experts.ensemble import Ensemble, Turn
from service.model.experts.inputs import Shared
from service.model.experts.restarts_pass import FURTHEST
from service.model.experts.seam import Inputs
from service.model.experts.together import ENDING, MAKING, Named
from service.model.featurizer import Rows
from service.model.kinds import mixture_pass
from service.model.kinds.mixture_views import Views
from service.model.kinds.seam import Learned, Moving

PIECE = 512
"""Rows that go through all experts together: their inputs stay in the cache."""

STRETCH = 8 * PIECE
"""Most rows of a stretch: all of it is looked through for its end."""


class Piece(msgspec.Struct):
    """Rows in which no frame is renewed, and nothing is decided, but by the last."""

    first: int
    last: int
    learn: NDArray[np.uint8] = np.empty(0, np.uint8)
    """[N]"""
    labels: list[NDArray[np.float64]] = []
    """Of each target [N], in its own unit."""
    given: list[Inputs] = []
    """Of each target what its experts see."""
    turns: list[Turn] = []

    def __len__(self) -> int:
        return self.last - self.first


class Parts(NamedTuple):
    """What a mixture is of, for each target."""

    shared: Shared
    ensembles: Sequence[Ensemble]
    targets: NDArray[np.int64]
    """See compiled.target_table."""


class Cut(NamedTuple):
    """N rows that a state is to learn."""

    moving: Moving
    views: Views
    rows: Rows
    weights: NDArray[np.float64]
    """[N]; 0: score only."""
    importance: NDArray[np.float64]
    """[N, T]"""
    votes: NDArray[np.float64] | None
    """[G, N, outputs of all targets]: what guests say."""
    into: Learned


class Course:
    """Takes a cut's rows through a mixture."""

    def __init__(self, parts: Parts, cut: Cut) -> None:
        self._shared, self._ensembles, self._targets = parts
        self._moving, self._views, self._rows = cut.moving, cut.views, cut.rows
        self._weights, self._importance = cut.weights, cut.importance
        self._votes, self._into = cut.votes, cut.into
        self._width = max(one.labels.fields.width for one in parts.ensembles)

    def run(self) -> None:
        """Learn all rows."""
        first = 0
        while first < len(self._rows):
            last = self._until(first)
            starts = range(first, last, PIECE)
            self._stretch([Piece(at, min(at + PIECE, last)) for at in starts])
            first = last

    def _until(self, first: int) -> int:
        """Return where the stretch ends that begins with row `first`."""
        last = min(first + STRETCH, len(self._rows))
        for t, ensemble in enumerate(self._ensembles):
            y = np.ascontiguousarray(self._rows.y[first:last, t])
            given = self._weights[first:last]
            frame, moves = self._moving.frames[t], self._targets[t, 3]
            last = first + mixture_pass.until_renewal(frame, moves, y, given)
            given = self._weights[first:last] * self._importance[first:last, t]
            y = y[: last - first]
            last = first + ensemble.until_decision(self._views.each[t], y, given)
        return last

    def _stretch(self, pieces: Sequence[Piece]) -> None:
        """Have the stages of three pieces go on at the same time."""
        before: Piece | None = None
        self._make(pieces[0])
        for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
            self._begin(piece, before)
            works = [
                work
                for ensemble, turn in zip(self._ensembles, piece.turns, strict=True)
                for work in ensemble.works(turn)
            ]
            if before is not None:
                works.append(Named(ENDING, partial(self._end, before)))
            if after is not None:
                works.append(Named(MAKING, partial(self._make, after)))
            together.do_named(works, len(piece))
            for ensemble, turn in zip(self._ensembles, piece.turns, strict=True):
                ensemble.settle(turn)
            before = piece
        assert before is not None
        self._end(before)

    def _make(self, piece: Piece) -> None:
        """Make the inputs; what they come from takes the rows in."""
        rows, weights = self._part(piece), self._weights[piece.first : piece.last]
        importance = self._importance[piece.first : piece.last]
        piece.learn = (weights > 0).astype(np.uint8)
        x, ranks, ids = self._shared.write(self._views.shared, rows, piece.learn, self._width)
        piece.labels, piece.given = [], []
        for t, (ensemble, held) in enumerate(zip(self._ensembles, self._views.each, strict=True)):
            frame, y = self._moving.frames[t], np.ascontiguousarray(rows.y[:, t])
            piece.labels.append(y)
            if ensemble.target.kind == "number":
                y = (y - frame[3]) / frame[4] if frame[4] > 0.0 else np.full(len(piece), np.nan)
                y = np.clip(y, -FURTHEST, FURTHEST)
            fitting = (
                x if len(self._ensembles) == 1 else x[:, : ensemble.labels.fields.width].copy()
            )
            given = Inputs(
                fitting, ranks, ids, rows.spans, rows.entries, rows.values, y,
                weights * importance[:, t],
            )  # fmt: skip
            ensemble.labels.write(held[0], fitting, given)
            piece.given.append(given)

    def _begin(self, piece: Piece, before: Piece | None) -> None:
        """Say who has what to learn of it. before: a piece that has not come to its end."""
        piece.turns = []
        for t, (ensemble, held) in enumerate(zip(self._ensembles, self._views.each, strict=True)):
            votes = None
            if self._votes is not None:
                mine = self._votes[:, piece.first : piece.last]
                votes = ensemble.framed(mine, self._moving.frames[t])
            behind = 0 if before is None else int(before.given[t].learned().sum())
            turn = ensemble.begin(held, piece.given[t], self._views.level, votes, behind)
            piece.turns.append(turn)

    def _end(self, piece: Piece) -> None:
        """Have the mixtures say what is predicted, and learn; take the losses; give the targets new
        units where it is time."""
        into, learn = self._into.between(piece.first, piece.last), piece.learn
        for t, (ensemble, held) in enumerate(zip(self._ensembles, self._views.each, strict=True)):
            target, frame, labels = ensemble.target, self._moving.frames[t], piece.labels[t]
            block = np.empty((len(piece), target.outputs))
            ensemble.end(piece.turns[t], block)
            if target.kind == "number":
                block *= frame[4]
                block += frame[3]
                mixture_pass.within(labels, learn, held[ensemble.own].at["range"], block)
            into.scores[:, target.start : target.start + target.outputs] = block
            mixture_pass.losses(
                self._targets[t, 0], labels, block, frame, learn, t, into.losses, into.norms
            )
            self._moving.steps[t] += int((learn & ~np.isnan(labels)).sum())
            ratio, shift, renewed = mixture_pass.grow(frame, self._targets[t, 3], labels, learn)
            if renewed:
                ensemble.rescale(held, ratio, shift)
        piece.labels, piece.given, piece.turns = [], [], []

    def _part(self, piece: Piece) -> Rows:
        return self._rows.part(piece.first, piece.last)
