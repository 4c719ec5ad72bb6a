"""Which experts work: what is left out while learning is behind, and who sleeps for want of worth.

**Left out.** While learning is behind, works of LEFT_OUT are dropped, those first that are missed
least. How many is the level, which whoever learns sets between two cuts and journals.

**Sleep.** An expert (of two of them, half) that earns nothing is neither learned nor scored. What it
earns is measured: for TRIAL rows a second mixture runs beside the one that is served, without the
experts that count least; where it loses no more, it takes its place, and they sleep. From time to
time a sleeper is woken on probation: it learns, and a second mixture has it; where that one loses
clearly less, it takes the place. What is served never hears of a trial that fails. When the mixture
itself does worse all at once, everyone is woken.

All of it follows from the state, at fixed numbers of learned rows: how rows are cut changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.model.experts import rota_pass as compiled
from service.model.experts.mixture import Mixture
from service.model.experts.rota_parts import parts_of
from service.model.experts.seam import Expert, Held, Inputs, Task, Tensor, rescale

LEFT_OUT = ("replays", "crosses", "windows", "plain", "ring", "solves")
"""Works that are left out, in that order: learning rows again (nets), the crosses, the second half of
the forests, the linear experts on the event alone (newton), half of the memory (kernel), and three of
four rows of the linear experts."""
OF_LEVEL = {
    "crosses": ("cross",),
    "windows": ("forest/own", "forest/change"),
    "plain": ("newton/plain",),
}
"""Parts that rest while a work is left out."""
THINNED, EVERY_NTH = ("newton", "squares"), 4
"""Experts that learn one row of so many while `solves` are left out."""
DONE_BY = {
    "replays": ("nets",),
    "crosses": ("cross",),
    "windows": ("forest",),
    "plain": ("newton",),
    "ring": ("kernel",),
    "solves": THINNED,
}
"""Whose work it is."""

BLOCK = 1024
"""Learned rows between two decisions."""
FIRST = 16 * BLOCK
"""Learned rows before the first trial, and after waking."""
TRIAL, LEAD = 16 * BLOCK, 4 * BLOCK
"""Rows of a trial, and how many of them are not judged: the second mixture settles."""
SLEEP, LONGEST = 64 * BLOCK, 512 * BLOCK
"""Rows from falling asleep to the first probation; twice as many after each that fails, up to this.
Likewise between two trials of an expert that is missed, from FIRST on."""
PAUSE = FIRST // 2
"""Rows without a trial of who could sleep, after one that failed; twice as many after the next that
fails, up to LONGEST. After one that passed there is none: a trial costs, and where everyone is missed it
gains nothing."""
LOST = 3.0
"""Standard errors beyond which a trial need not go on."""
TOLERANCE = 5e-4
"""What a trial may lose more, in nats a row, or of a number as a share of its usual error."""
SHARE = 2e-3
"""Nor may it lose more than this share of the usual loss: where nearly all is right, little is much."""
JUMP, LEAST_JUMP, MEMORY = 6.0, 1.1, 32.0
"""The mixture does worse all at once where a block's loss is so many usual deviations above the usual,
and so many times it. Blocks that `usual` remembers."""
MOST_ROLLS = 64
ALWAYS = ("prior", "bayes")
"""They cost next to nothing."""
TOGETHER = 2
"""Experts that the first trial is without; then twice as many after one that passed, half as many after
one that failed."""


def left_out_of(experts: Collection[str]) -> tuple[str, ...]:
    """Return what can be left out of the work of these experts: up to the last that any of them does."""
    useful = [at for at, work in enumerate(LEFT_OUT) if not set(DONE_BY[work]).isdisjoint(experts)]
    return LEFT_OUT[: useful[-1] + 1] if useful else ()


class Roll(NamedTuple):
    """Who takes part."""

    mixture: NDArray[np.uint8]
    """[K] members that the mixture counts."""
    trial: NDArray[np.uint8] | None
    """[K] those of the second mixture; None: there is no trial."""
    works: NDArray[np.uint8]
    """[K] those that predict and learn."""
    rest: frozenset[str]
    """What is left out of the experts' work: names of LEFT_OUT, and of parts."""
    idle: bool
    """Somebody does not work."""


class Rota:
    """Who works for one target. Holds no state; what it called lately is kept, for it is asked often."""

    def __init__(self, experts: Sequence[Expert], mixture: Mixture, task: Task) -> None:
        self.parts = parts_of(experts)
        self._mixture = mixture
        self._rolls: dict[tuple[bytes, int, bytes], Roll] = {}
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        n = len(self.parts)
        axis = tuple((part.name, 1) for part in self.parts)
        self.tensors: tuple[Tensor, ...] = (
            Tensor("seen", (2,), "int64"),
            Tensor("due", (n, 2), "int64", float(FIRST), axes=(axis,), added=0.0),
            Tensor("trial", (n,), "uint8", axes=(axis,)),
            Tensor("most", (1,), "int64", float(TOGETHER)),
            Tensor("pause", (2,), "int64"),
            Tensor(
                "figures", (5,), "float64", units=("", "slope", "square", "", "slope")
            ),
            Tensor("usual", (3,), "float64", units=("", "slope", "square")),
        )  # fmt: skip

    def roll(self, held: Held, awake: NDArray[np.uint8], level: int, *, learn: bool) -> Roll:
        """Return who takes part. awake: [K] of the mixture. learn: else rows are only scored."""
        on_trial = held.at["trial"].tobytes() if learn and level == 0 else b""
        key = (awake.tobytes(), level, on_trial if any(on_trial) else b"")
        found = self._rolls.get(key)
        if found is None:
            if len(self._rolls) >= MOST_ROLLS:
                self._rolls.clear()
            found = self._rolls[key] = self._called(awake, level, key[2])
        return found

    def _called(self, awake: NDArray[np.uint8], level: int, on_trial: bytes) -> Roll:
        left_out = LEFT_OUT[:level]
        resting = {name for work in left_out for name in OF_LEVEL.get(work, ())}
        mixture, works, trial = awake.copy(), awake.copy(), None
        if on_trial:
            trial = awake.copy()
            for part, on in zip(self.parts, on_trial, strict=True):
                if on:
                    trial[part.first : part.last] ^= 1
                    works[part.first : part.last] = 1
        for part in self.parts:
            if part.name in resting:
                mixture[part.first : part.last] = works[part.first : part.last] = 0
        if not mixture.any():  # nobody else is there
            mixture, works, left_out = awake.copy(), awake.copy(), ()
        idle = {part.name for part in self.parts if not works[part.first]}
        return Roll(mixture, trial, works, frozenset(left_out) | idle, idle=bool(idle))

    def thinned(self, held: Held, rows: Inputs, behind: int = 0) -> Inputs:
        """Return the rows with a weight for one of EVERY_NTH of those that are learned. behind: how
        many were learned before them that are not noted yet."""
        turn = (int(held.at["seen"][0]) + behind + np.cumsum(rows.learned()) - 1) % EVERY_NTH == 0
        return msgspec.structs.replace(rows, weights=np.where(turn, rows.weights, 0.0))

    def until_decision(
        self, held: Held, y: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> int:
        """Return how many rows there are up to the next decision, or all."""
        return int(compiled.until(BLOCK - int(held.at["seen"][0]) % BLOCK, y, weights))

    def note(
        self,
        held: Held,
        rows: Inputs,
        mixture: NDArray[np.float64],
        trial: NDArray[np.float64] | None,
    ) -> bool:
        """Take the predictions [N, O] of rows by the mixture and by the trial; return whether it is
        time to decide."""
        seen, figures = held.at["seen"], held.at["figures"]
        lead = LEAD - int(seen[0] - seen[1]) if trial is not None else len(rows)
        beside = mixture if trial is None else trial
        n = compiled.note(self._kind, rows.y, rows.weights, mixture, beside, lead, figures)
        seen[0] += n
        return bool(n and seen[0] % BLOCK == 0)

    def decide(self, held: Held, mixture: Held, trial: Held, level: int) -> None:
        """Begin a trial, end it, wake everyone. mixture, trial: the tensors of both mixtures."""
        jumped = self._jumped(held)
        asleep = self._asleep(mixture)
        if level or (jumped and asleep.any()):
            self._abandon(held)
            if not level:
                self._awaken(mixture, np.flatnonzero(asleep))
                self._put_off(held, np.arange(len(self.parts)), FIRST)
            return
        if held.at["trial"].any():
            self._judge(held, mixture, trial, asleep)
            return
        chosen = self._choose(held, asleep, self._mixture.weights(mixture))
        if len(chosen):
            self._begin(held, mixture, trial, chosen, asleep)

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Fields or members changed: a trial is given up, and what is new has its time."""
        self._abandon(held)
        due = held.at["due"]
        due[due[:, 1] == 0] = int(held.at["seen"][0]) + FIRST, FIRST

    def _asleep(self, mixture: Held) -> NDArray[np.bool_]:
        awake = mixture.at["awake"]
        return np.array([not awake[part.first] for part in self.parts], dtype=np.bool_)

    def _jumped(self, held: Held) -> bool:
        """Take the loss of the block that ended; return whether it was far above the usual."""
        figures, usual = held.at["figures"], held.at["usual"]
        loss = figures[compiled.LOSS] / max(figures[compiled.ROWS], 1.0)
        figures[compiled.LOSS] = figures[compiled.ROWS] = 0.0
        jumped = bool(
            usual[0] >= 8.0
            and loss > usual[1] + JUMP * math.sqrt(usual[2])
            and loss > LEAST_JUMP * usual[1]
        )
        usual[0] += 1.0
        rate = max(1.0 / usual[0], 1.0 / MEMORY)
        off = loss - usual[1]
        usual[1] += rate * off
        usual[2] = (1.0 - rate) * (usual[2] + rate * off * off)
        return jumped

    def _choose(
        self, held: Held, asleep: NDArray[np.bool_], shares: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Return the parts of the next trial: a sleeper whose time has come, or those that count least
        of the others whose time has."""
        times, seen = held.at["due"][:, 0], held.at["seen"][0]
        due = times <= seen
        sleepers = np.flatnonzero(due & asleep)
        if len(sleepers):
            first: NDArray[np.int64] = sleepers[np.argsort(times[sleepers], kind="stable")[:1]]
            return first
        if held.at["pause"][0] > seen:
            return np.empty(0, np.int64)
        may = due & ~asleep
        may &= np.array([part.name not in ALWAYS for part in self.parts])
        counted = np.array([shares[part.first : part.last].sum() for part in self.parts])
        order = np.flatnonzero(may)
        order = order[np.argsort(counted[order], kind="stable")]
        spare = int((~asleep).sum()) - 1  # one stays awake
        return order[: min(int(held.at["most"][0]), spare)]

    def _begin(
        self,
        held: Held,
        mixture: Held,
        trial: Held,
        chosen: NDArray[np.int64],
        asleep: NDArray[np.bool_],
    ) -> None:
        for name, tensor in trial.at.items():
            tensor[...] = mixture.at[name]
        if asleep[chosen[0]]:
            self._awaken(trial, chosen)
        else:
            self._send_to_sleep(trial, chosen)
        held.at["trial"][chosen] = 1
        held.at["seen"][1] = held.at["seen"][0]
        held.at["figures"][: compiled.ROWS] = 0.0

    def _judge(self, held: Held, mixture: Held, trial: Held, asleep: NDArray[np.bool_]) -> None:
        """End a trial that is over, or lost: the second mixture takes the place of the first, or is
        forgotten."""
        n, mean, spread = held.at["figures"][: compiled.ROWS]
        error = math.sqrt(spread) / max(n, 1.0)
        chosen = np.flatnonzero(held.at["trial"])
        waking = bool(asleep[chosen[0]])
        usual = held.at["usual"][1]
        allowed = TOLERANCE * usual if self._kind == 2 else min(TOLERANCE, SHARE * usual)
        allowed = -allowed if waking else allowed
        over = held.at["seen"][0] - held.at["seen"][1] >= TRIAL
        if not over and (n == 0 or mean - LOST * error <= allowed):
            return
        passed = over and mean + error < allowed
        held.at["trial"][:] = 0
        most, pause = held.at["most"], held.at["pause"]
        if passed:
            for name, tensor in trial.at.items():
                mixture.at[name][...] = tensor
            self._put_off(held, chosen, FIRST if waking else SLEEP)
            most[0] = TOGETHER if waking else min(2 * most[0], len(self.parts))
            pause[:] = 0
        elif len(chosen) > 1:
            most[0] = len(chosen) // 2
        else:
            gap = min(2 * int(held.at["due"][chosen[0], 1]), LONGEST)
            self._put_off(held, chosen, gap)
            most[0] = TOGETHER
            if not waking:
                pause[1] = min(2 * int(pause[1]), LONGEST) if pause[1] else PAUSE
                pause[0] = held.at["seen"][0] + pause[1]

    def _put_off(self, held: Held, chosen: NDArray[np.int64], gap: int) -> None:
        held.at["due"][chosen] = int(held.at["seen"][0]) + gap, gap

    def _abandon(self, held: Held) -> None:
        """End a trial as if it had not been; it may begin again."""
        held.at["trial"][:] = 0

    def _members_of(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        found = [np.arange(self.parts[i].first, self.parts[i].last) for i in chosen.tolist()]
        return np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64)

    def _send_to_sleep(self, mixture: Held, chosen: NDArray[np.int64]) -> None:
        mixture.at["awake"][self._members_of(chosen)] = 0

    def _awaken(self, mixture: Held, chosen: NDArray[np.int64]) -> None:
        self._mixture.awaken(mixture, self._members_of(chosen))
