"""Words: linear models on the entries of bags (texts, lists, maps), and naive Bayes on them.

AdaGrad with forgetting per weight as in cross.py; multinomial naive Bayes whose likelihoods are
tamed (Rennie et al. 2003 call it too sure of itself). It is shown no pieces of words, which it would
take for as many words more: they depend on each other as nothing else does. Bags share one table of
hashed rows.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.model.experts import words_pass as compiled
from service.model.experts.cross import code_of, rows_for
from service.model.experts.seam import Fields, Held, Inputs, Task, Tensor, rescale, unweighted


class Words:
    """Linear models and naive Bayes on bags; has no members where there are no bags."""

    name: ClassVar[str] = "words"
    fits: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "number")

    def __init__(self, fields: Fields, task: Task) -> None:
        self._kind = 0 if task.kind == "binary" else 1 if task.kind == "multiclass" else 2
        self._dense = np.array([*fields.plain, *fields.z], dtype=np.int64)
        self._salts = np.array([code_of(task.seed, name) for name in fields.bags], dtype=np.uint64)
        self._pieces = np.array(fields.in_pieces, dtype=np.uint8)
        ways = zip(compiled.RATES, compiled.BY_VALUE, strict=True)
        members = tuple(f"words/{'value' if by else 'entry'}/{rate:g}" for rate, by in ways)
        if self._kind != 2:
            members += ("words/bayes",)
        self.members = members if len(fields.bags) else ()
        rows = rows_for(task.outputs, 2**18 if task.outputs <= 2 else 2**16)
        rows = rows if len(fields.bags) else 0
        k, o, c = len(compiled.RATES), task.outputs, task.classes
        self.tensors = (
            Tensor("table", (rows, k, o, 2), large=True, units=("slope", "square")),
            Tensor(
                "dense",
                (1 + len(self._dense), k, o, 2),
                "float64",
                units=("slope", "square"),
                axes=((("bias", 1), *fields.axis(self._dense.tolist())),),
            ),
            Tensor("counted", (rows, c), large=True),
            Tensor("classes", (c, 2), "float64"),
            Tensor("seen", (1,), "float64"),
        )

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        self.learn(held, unweighted(rows), into)

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """See seam.Expert."""
        at, flags = held.at, held.flags
        compiled.learn(
            self._kind, self._dense, rows.x, self._salts, self._pieces, rows.spans, rows.entries, rows.values, rows.y, rows.weights,
            at["table"], at["dense"], at["counted"], at["classes"], at["seen"], flags["table"],
            flags["counted"], into,
        )  # fmt: skip

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """See seam.Expert."""
        rescale(self.tensors, held, ratio, shift)
        held.at["dense"][0, ..., 0] += shift

    def added(self, held: Held) -> None:
        """Nothing is left to do: entries are hashed with the name of their field."""
