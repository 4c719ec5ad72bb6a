"""The mixture of all members' predictions of one target; see mixture_pass.py and, for numbers,
mixture_numbers_pass.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.model.experts import grid_pass
from service.model.experts import mixture_numbers_pass as numbers
from service.model.experts import mixture_pass as classes
from service.model.experts.mixture_shares_pass import SLEEPING
from service.model.experts.seam import Held, Task, Tensor, rescale


class Mixture:
    """Weighs members event by event."""

    def __init__(self, members: tuple[str, ...], task: Task) -> None:
        k, self._number = len(members), task.kind == "number"
        self.members = members
        m = k + 1 if self._number else k + task.classes + 1
        n_ends = numbers.CANDIDATES if self._number else 2
        names = tuple((name, 1) for name in members)
        left = ("stack", m - k)
        self.tensors: tuple[Tensor, ...] = (
            Tensor("awake", (k,), "uint8", 1.0, axes=(names,)),
            Tensor(
                "weights", (3, k), "float64", 1.0 / max(k, 1), axes=(None, names), added=SLEEPING
            ),
            Tensor("tops", (3,), "float64", 1.0 / 3.0),
            Tensor("ends", (n_ends,), "float64", 1.0 / n_ends),
        )
        if self._number:
            ridges = np.eye(m) * numbers.RIDGES[:, None, None]
            self.tensors += (
                Tensor(
                    "usual", (k + n_ends,), "float64", 1.0, units=("slope",),
                    axes=((*names, ("candidates", n_ends)),),
                ),
                Tensor("stacks", (2, m), "float64", axes=(None, (*names, left))),
                Tensor("gradients", (2, m), "float64", axes=(None, (*names, left))),
                Tensor(
                    "curvatures", (2, m, m), "float64", ridges,
                    axes=(None, (*names, left), (*names, left)),
                ),
                Tensor("counts", (4,), "float64"),
                Tensor(
                    "tally", (k, 5), "float64", axes=(names,),
                    units=("", "square", "slope", "square", "slope"),
                ),
                Tensor(
                    "grid", (grid_pass.SIZE + numbers.PLACES,), "float64",
                    units=(*grid_pass.UNITS, *("slope",) * numbers.PLACES),
                ),
            )  # fmt: skip
            return
        axis = (*names, left)
        self.tensors += (
            Tensor("stack", (m,), "float64", axes=(axis,)),
            Tensor("gradient", (m,), "float64", axes=(axis,)),
            Tensor("curvature", (m, m), "float64", np.eye(m) * classes.RIDGE, axes=(axis, axis)),
            Tensor("counts", (5,), "float64"),
            Tensor("tally", (k, 5), "float64", axes=(names,)),
        )

    def score(
        self, held: Held, p: NDArray[np.float32], on: NDArray[np.uint8], into: NDArray[np.float64]
    ) -> None:
        """Write the mixture [N, O] of predictions p [N, K, O]. on: [K] members that take part."""
        n = len(p)
        self.learn(held, p, np.full(n, np.nan), np.zeros(n), on, into)

    def learn(
        self,
        held: Held,
        p: NDArray[np.float32],
        y: NDArray[np.float64],
        worth: NDArray[np.float64],
        on: NDArray[np.uint8],
        into: NDArray[np.float64],
    ) -> None:
        """Write the mixture of each row, then learn from its label. worth: [N] what a row counts,
        0: score only. on: [K] members that take part."""
        at = held.at
        if self._number:
            numbers.learn(
                p, y, worth, on, at["weights"], at["tops"], at["ends"], at["usual"], at["stacks"],
                at["gradients"], at["curvatures"], at["counts"], at["tally"], at["grid"], into,
            )  # fmt: skip
        else:
            classes.learn(
                p, y, worth, on, at["weights"], at["tops"], at["ends"], at["stack"], at["gradient"],
                at["curvature"], at["counts"], at["tally"], into,
            )  # fmt: skip

    def awaken(self, held: Held, members: NDArray[np.int64]) -> None:
        """Let members take part again as if they were new: with a share of next to nothing, outside
        the stack."""
        at = held.at
        at["awake"][members] = 1
        at["weights"][:, members] = SLEEPING
        ridges = numbers.RIDGES if self._number else np.array([classes.RIDGE])
        names = "stacks gradients curvatures" if self._number else "stack gradient curvature"
        stacks, slopes, curved = (at[name] for name in names.split())
        stacks[..., members] = slopes[..., members] = 0.0
        curved[..., members, :] = curved[..., members] = 0.0
        curved[..., members, members] = ridges[:, None] if self._number else ridges

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes; see seam.Expert."""
        rescale(self.tensors, held, ratio, shift)

    def added(self, held: Held) -> None:
        """Nothing is left to do; see seam.Expert."""

    def weights(self, held: Held) -> NDArray[np.float64]:
        """Return [K]: how much each member counts in the mixture of Bayes, nothing while it is
        asleep; they sum to 1."""
        each, tops = held.at["weights"] * (held.at["awake"] > 0), held.at["tops"]
        each /= each.sum(axis=1, keepdims=True)
        return (tops / tops.sum()) @ each  # type: ignore[no-any-return]
