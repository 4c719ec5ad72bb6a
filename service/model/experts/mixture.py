"""The mixture of all members' predictions of one target; see mixture_pass.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.model.experts import mixture_pass as compiled
from service.model.experts.seam import Held, Task, Tensor


class Mixture:
    """Weighs members event by event."""

    def __init__(self, members: tuple[str, ...], task: Task) -> None:
        k, c = len(members), task.classes
        m = k + c + 1
        self.members = members
        self.tensors = (
            Tensor("logs", (3, k), "float64", -np.log(max(k, 1))),
            Tensor("tops", (3,), "float64", -np.log(3.0)),
            Tensor("ends", (2,), "float64", -np.log(2.0)),
            Tensor("stack", (m,), "float64"),
            Tensor("gradient", (m,), "float64"),
            Tensor("curvature", (m, m), "float64", np.eye(m) * compiled.RIDGE),
            Tensor("counts", (3,), "float64"),
        )

    def score(self, held: Held, p: NDArray[np.float32], into: NDArray[np.float64]) -> None:
        """Write the mixture [N, O] of predictions p [N, K, O]."""
        at = held.at
        compiled.score(p, at["logs"], at["tops"], at["ends"], at["stack"], into)

    def learn(
        self,
        held: Held,
        p: NDArray[np.float32],
        y: NDArray[np.float64],
        learn: NDArray[np.uint8],
        into: NDArray[np.float64],
    ) -> None:
        """Write the mixture of each row, then learn from its label."""
        at = held.at
        compiled.learn(
            p, y, learn, at["logs"], at["tops"], at["ends"], at["stack"], at["gradient"],
            at["curvature"], at["counts"], into,
        )  # fmt: skip
