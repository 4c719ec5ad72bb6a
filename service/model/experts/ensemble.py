"""All that learns one target: the labels before, the experts, and the mixture of their members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import BadSettings, Problem
from service.events.schema import Target
from service.model.experts import EXPERTS, together
from service.model.experts.inputs import Labels, Shared
from service.model.experts.mixture import Mixture
from service.model.experts.restarts import Restarts, begin, far, sound
from service.model.experts.rota import LEFT_OUT, THINNED, Roll, Rota
from service.model.experts.seam import Divided, Expert, Held, Inputs, Task, Tensor
from service.model.experts.together import Named, Work
from service.model.names import escape

SOLVES = LEFT_OUT.index("solves") + 1


Votes = NDArray[np.float32] | None
Guest = tuple[str, str]
"""What a member of another making is called, and a mark that tells it from others of that name."""


class Holder(NamedTuple):
    """Whose tensors, and how their names begin."""

    prefix: str
    tensors: tuple[Tensor, ...]


class Places(NamedTuple):
    """The views of an ensemble, by whose they are."""

    labels: Held
    experts: list[Held]
    mixture: Held
    rota: Held | None
    """None: there is one expert only, which always works."""
    trial: Held | None
    """Of the second mixture; see rota.py."""


class Members(NamedTuple):
    """Predictions of the members, expert by expert."""

    parts: list[NDArray[np.float32]]

    def joined(self, votes: Votes = None) -> NDArray[np.float32]:
        """Return them [N, K, O], and those of guests behind them."""
        return np.concatenate(self.parts if votes is None else [*self.parts, votes], axis=1)


class Turn(msgspec.Struct):
    """Rows on their way through an ensemble."""

    at: Places
    rows: Inputs
    fewer: Inputs
    """Those that thinned experts learn."""
    roll: Roll
    members: Members
    votes: Votes
    level: int
    p: NDArray[np.float32] = np.empty((0, 0, 0), np.float32)
    """[N, K, O] what the members predict, once it is settled."""


class Ensemble:
    """All that learns one target."""

    def __init__(
        self,
        shared: Shared,
        target: Target,
        chosen: Sequence[str],
        seed: int,
        guests: Sequence[Guest] = (),
    ) -> None:
        """guests: members whose predictions are given; they come last."""
        self.target = target
        self.labels = Labels(shared, target)
        task = Task(target.kind, target.outputs, seed)
        self.experts: list[Expert] = [
            EXPERTS[name](self.labels.fields, task)
            for name in chosen
            if target.kind in EXPERTS[name].fits
        ]
        self.experts = [one for one in self.experts if one.members]
        own = tuple(name for expert in self.experts for name in expert.members)
        self.members = (*own, *(name for name, _ in guests))
        known_as = (*own, *(f"{name}/{mark}" for name, mark in guests))
        self.mixture = Mixture(known_as, task)
        self._neutral = 0.0 if target.kind == "number" else 1.0 / max(task.classes, 1)
        self.restarts = Restarts(self.experts, self._neutral)
        self.rota = Rota(self.experts, self.mixture, task) if len(self.experts) > 1 else None
        self.own = 1 + len(self.experts)
        """Place of the mixture's tensors among the holders."""
        start = f"experts/{escape(target.name)}"
        self.holders = [
            Holder(f"{start}/labels", self.labels.tensors),
            *(Holder(f"{start}/{one.name}", one.tensors) for one in self.experts),
            Holder(
                f"{start}/mixture",
                (*self.mixture.tensors, *self.restarts.tensors, Tensor("range", (4,), "float64")),
            ),
        ]
        if self.rota is not None:
            self.holders += [
                Holder(f"{start}/rota", self.rota.tensors),
                Holder(f"{start}/trial", self.mixture.tensors),
            ]

    def see_to_members(self, kind: str) -> None:
        """Raise BadSettings where no expert that was chosen has members for this target."""
        if self.members:
            return
        target = self.target
        msg = (
            f"{kind} has no members for target {target.name} of type {target.kind} with these fields "
            "in event.features: nothing could predict it"
        )
        hint = "Set model.kind: auto, which takes every target and field; docs/models.md says what experts do."
        raise BadSettings([Problem("model.kind", None, msg, hint)])

    def places(self, held: Sequence[Held]) -> Places:
        """Return the views of the holders, by whose they are."""
        n = self.own
        rota, trial = held[n + 1 :] if self.rota is not None else (None, None)
        return Places(held[0], list(held[1:n]), held[n], rota, trial)

    def score(
        self,
        held: list[Held],
        rows: Inputs,
        level: int,
        into: NDArray[np.float64],
        votes: Votes = None,
    ) -> None:
        """Write the scores [N, O] in the target's frame. level: how much work is left out. votes:
        [N, G, O] of guests."""
        at, members = self.places(held), self._members(len(rows))
        roll = self._roll(at, level, learn=False)
        if roll.rest:
            rows = msgspec.structs.replace(rows, rest=roll.rest)
        works = [
            Named(expert.name, partial(expert.score, mine, rows, place))
            for expert, mine, place in self._working(at, roll, members)
        ]
        together.do_named(works, len(rows))
        p = members.joined(votes)
        if not sound(p):
            self.restarts.mend(p, self.mixture.weights(at.mixture) * roll.mixture)
        self.mixture.score(at.mixture, p, roll.mixture, into)

    def begin(
        self, held: list[Held], rows: Inputs, level: int, votes: Votes = None, behind: int = 0
    ) -> Turn:
        """Return what there is to learn of rows. They end where there is something to decide, see
        until_decision. votes: [N, G, O] of guests. behind: rows that are learned before these and
        have not come to their end yet."""
        at, members = self.places(held), self._members(len(rows))
        roll = self._roll(at, level, learn=True)
        rows = msgspec.structs.replace(rows, rest=roll.rest)
        fewer = rows
        if self.rota is not None and at.rota is not None and level >= SOLVES:
            fewer = self.rota.thinned(at.rota, rows, behind)
        return Turn(at, rows, fewer, roll, members, votes, level)

    def works(self, turn: Turn) -> list[Named]:
        """Return what the experts have to do: to predict the rows, then learn them."""
        found = []
        for expert, mine, place in self._working(turn.at, turn.roll, turn.members):
            rows = turn.fewer if expert.name in THINNED else turn.rows
            works: list[Work] = [partial(expert.learn, mine, rows, place)]
            if isinstance(expert, Divided):
                works = expert.works(mine, rows, place)
            found += [Named(expert.name, work) for work in works]
        return found

    def settle(self, turn: Turn) -> None:
        """Gather what the experts predicted; who predicted what is no number starts anew. Rows before
        these have come to their end, and no expert has seen a later one."""
        at, members = turn.at, turn.members
        turn.p = p = members.joined(turn.votes)
        if not sound(p):
            self.restarts.see_to(at.mixture, at.experts, members.parts)
            self.restarts.mend(p, self.mixture.weights(at.mixture) * turn.roll.mixture)

    def end(self, turn: Turn, into: NDArray[np.float64]) -> None:
        """Write the scores [N, O] in the target's frame, have the mixture learn, decide."""
        at, rows, roll, p = turn.at, turn.rows, turn.roll, turn.p
        self.mixture.learn(at.mixture, p, rows.y, rows.weights, roll.mixture, into)
        if self.rota is None or at.rota is None or at.trial is None:
            return
        trial = None
        if roll.trial is not None:
            trial = np.empty_like(into)
            self.mixture.learn(at.trial, p, rows.y, rows.weights, roll.trial, trial)
        if self.rota.note(at.rota, rows, into, trial):
            self.rota.decide(at.rota, at.mixture, at.trial, turn.level)

    def framed(self, votes: NDArray[np.float64] | None, frame: NDArray[np.float64]) -> Votes:
        """Return what guests say [N, G, O] in the target's frame, of votes [G, N, outputs of all
        targets]."""
        if votes is None:
            return None
        target = self.target
        mine = votes[:, :, target.start : target.start + target.outputs].swapaxes(0, 1)
        if target.kind == "number":
            mine = (mine - frame[3]) / frame[4] if frame[4] > 0.0 else np.zeros_like(mine)
        return mine.astype(np.float32)

    def until_decision(
        self, held: list[Held], y: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> int:
        """Return how many of the rows there are up to where something is decided, or all."""
        rota = self.places(held).rota
        if self.rota is None or rota is None:
            return len(y)
        return self.rota.until_decision(rota, y, weights)

    def rescale(self, held: list[Held], ratio: float, shift: float) -> None:
        """The unit of the target changes."""
        at = self.places(held)
        if far(ratio):
            self._begin(at)
            return
        self.labels.rescale(at.labels, ratio, shift)
        for expert, mine in zip(self.experts, at.experts, strict=True):
            expert.rescale(mine, ratio, shift)
        self.mixture.rescale(at.mixture, ratio, shift)
        if self.rota is not None and at.rota is not None and at.trial is not None:
            self.mixture.rescale(at.trial, ratio, shift)
            self.rota.rescale(at.rota, ratio, shift)

    def _begin(self, at: Places) -> None:
        """Have all that is of the target start anew."""
        begin(self.labels.tensors, at.labels)
        self.restarts.all_anew(at.mixture, at.experts)
        begin(self.mixture.tensors, at.mixture)
        if self.rota is not None and at.rota is not None and at.trial is not None:
            begin(self.mixture.tensors, at.trial)
            begin(self.rota.tensors, at.rota)

    def added(self, held: Sequence[Held]) -> None:
        """Fields or members changed, and what stays was taken over."""
        at = self.places(held)
        for expert, mine in zip(self.experts, at.experts, strict=True):
            expert.added(mine)
        if self.rota is not None and at.rota is not None:
            self.rota.added(at.rota)

    def _roll(self, at: Places, level: int, *, learn: bool) -> Roll:
        awake = at.mixture.at["awake"]
        if self.rota is None or at.rota is None:
            return Roll(awake, None, awake, frozenset(), idle=False)
        return self.rota.roll(at.rota, awake, level, learn=learn)

    def _working(
        self, at: Places, roll: Roll, members: Members
    ) -> Iterator[tuple[Expert, Held, NDArray[np.float32]]]:
        """Go through the experts that have something to do. Members that rest predict nothing."""
        first = 0
        for expert, mine, place in zip(self.experts, at.experts, members.parts, strict=True):
            if not roll.idle:
                yield expert, mine, place
                continue
            on = roll.works[first : first + place.shape[1]]
            first += len(on)
            if not on.all():
                place[:] = self._neutral
            if on.any():
                yield expert, mine, place

    def _members(self, n: int) -> Members:
        counts = [len(one.members) for one in self.experts]
        return Members([np.empty((n, k, self.target.outputs), np.float32) for k in counts])
