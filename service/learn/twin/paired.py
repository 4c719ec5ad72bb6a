"""A copy of the weights that learns no more, and its score beside the live one on the same events.

Pure: no threads, no clock, no files. Reads a learner and what a cut did; changes neither, so that
what is learned has the same bits with it and without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from service.events.columns import Columns, take
from service.learn.learner import Learner, Step
from service.model import prequential, rivals
from service.model.layout import Layout
from service.model.scorer import Scorer
from service.model.state import Parts, State
from service.weights.digest import Part

MODELS = ("frozen", "live_paired")
"""The copy, and the live model on the very events that the copy was scored on."""


class Paired:
    """A copy of version `version` of a lineage, which had learned `events` events."""

    def __init__(self, weights: State, version: int, lineage: str, events: int) -> None:
        """weights: a state of this object's own, of which nothing but the weights counts."""
        self.layout = weights.layout
        self.version, self.lineage, self.events = version, lineage, events
        self._state = weights
        image = weights.image.view()
        image.flags.writeable = False  # as the API's memory, for which kernels are compiled
        self._attached = Scorer(self.layout.recipe, self.layout).attach(image)
        self.forget()

    @classmethod
    def of(cls, learner: Learner) -> Paired:
        """Return a copy of what a learner knows now: of the weights, and of nothing else."""
        layout, weights = learner.layout, State(learner.layout)
        for entry in layout.entries:
            if entry.part == "weights":
                entry.view(weights.image)[...] = entry.view(learner.state.image)
        standing = learner.standing
        return cls(weights, standing.version, standing.lineage, learner.events_learned)

    def forget(self) -> None:
        """Begin the figures anew."""
        targets = self.layout.schema.targets
        self._vectors = {m: {t.name: prequential.fresh(t) for t in targets} for m in MODELS}

    @property
    def weights(self) -> Parts:
        """The named tensors of it, as views."""
        return {"weights": self._state.parts()["weights"]}

    def compare(self, step: Step, columns: Columns, most: int | None = None) -> None:
        """Score events of a cut that was just learned, and take the live scores that they had
        before; `most` of them, spread evenly over the cut, None: all."""
        n = len(columns)
        index = None if most is None or n <= most else np.arange(most) * n // most
        scores = self._attached.score(columns if index is None else take(columns, index))
        live, labels = (
            each if index is None else each[index] for each in (step.scores, step.labels)
        )
        both = np.isfinite(scores).all(axis=1) & np.isfinite(live).all(axis=1)
        for t, target in enumerate(self.layout.schema.targets):
            y = np.where(
                both, labels[:, t], np.nan
            )  # what one cannot score is not of the same events
            for model, of in zip(MODELS, (scores, live), strict=True):
                block = of[:, target.start : target.start + target.outputs]
                prequential.update(target, self._vectors[model][target.name], block, y)

    def report(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return {target: {model: {"type", "scored", "metrics", "fading", ...}}}, for both models."""
        return {
            t.name: {
                model: prequential.report(t, vectors[t.name])
                for model, vectors in self._vectors.items()
            }
            for t in self.layout.schema.targets
        }


def fits(layout: Layout, weights: Part) -> bool:
    """Whether the tensors of a copy are those that its predictions read in this layout. Where the
    main model answers, challengers may come and go."""
    ours = {e.name: e.shape for e in layout.entries if e.part == "weights"}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    serves = weights.get(rivals.SERVES)
    if serves is None or not bool(serves.any()):
        ours, theirs = _of_main(ours), _of_main(theirs)
    return ours == theirs


def _of_main(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {n: s for n, s in shapes.items() if not n.startswith(rivals.BESIDE)}
