"""The live model beside its frozen twin: the same events, scored by both before they are learned.

The twin is a copy of the live weights as they were at one moment; it reads the live file as any
API worker does, and never again after that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.cli.demo_stream import Impression
from service.learn import exact
from service.model.recipe import Recipe
from service.model.scorer import Attached, Scorer
from service.weights.live_reader import LiveReader

RECENT = 5000
"""Events that the figures on the screen are of."""
_MOST = 300_000
"""Events that are kept for the figures since the freeze, at the least."""
_ENOUGH = 2000
"""Events a model must have learned before a copy of it is worth freezing."""


Figures = dict[str, float | None]
"""log_loss and auc; None where there is nothing to say."""


class Twin:
    """Freezes a copy once, then keeps score of both."""

    def __init__(self, runtime: Path, freeze_after_s: float) -> None:
        self._reader = LiveReader(runtime)
        self._after_s = freeze_after_s
        self._scorer: Scorer | None = None
        self._frozen: Attached | None = None
        self._start = 0
        self._labels: list[float] = []
        self._live: list[float] = []
        self._twin: list[float] = []
        self.version: int | None = None

    def compare(self, shown: list[Impression], live: list[float], elapsed_s: float) -> None:
        """Take the live predictions of some events, and score them with the twin."""
        if self._frozen is None and elapsed_s >= self._after_s:
            self._freeze()
        self._labels += [float(one.click) for one in shown]
        self._live += live
        self._forget()
        if self._frozen is None or self._scorer is None:
            return
        columns, _ = self._scorer.decoder.features([one.features for one in shown])
        self._twin += self._frozen.score(columns)[:, 0].tolist()

    def recent(self) -> tuple[Figures, Figures]:
        """Return {"log_loss", "auc"} over the last 5,000 events: (live, frozen)."""
        y, twin = np.array(self._labels[-RECENT:]), self._twin[-RECENT:]
        live = np.array(self._live[-RECENT:])
        return _figures(live, y), _figures(np.array(twin), y[len(y) - len(twin) :])

    def since_frozen(self) -> tuple[Figures, Figures]:
        """Return {"log_loss", "auc"} of both over the same events, those since the freeze."""
        y = np.array(self._labels[self._start :]) if self._frozen else np.array(self._labels)
        live = np.array(self._live[-len(y) :]) if len(y) else np.empty(0)
        return _figures(live, y), _figures(np.array(self._twin), y[-len(self._twin) :])

    def _forget(self) -> None:
        """Let go of the oldest events where there are too many."""
        many = len(self._labels) - 2 * _MOST
        if many >= 0:
            del self._labels[: many + _MOST], self._live[: many + _MOST]
            del self._twin[: max(0, len(self._twin) - len(self._labels))]
            self._start = max(0, self._start - many - _MOST)

    def _freeze(self) -> None:
        self._reader.refresh()
        with self._reader.pinned() as slot:
            if slot is None:
                return
            image, meta = slot.image.copy(), slot.meta
            if not slot.intact() or meta["events_learned"] < _ENOUGH:
                return
        self._scorer = Scorer(Recipe.from_json(self._reader.layout))
        self._frozen = self._scorer.attach(image)
        self.version = meta["version"]
        self._start = len(self._labels)


def log_loss(p: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the mean log loss, in nats."""
    safe = np.clip(p, 1e-7, 1 - 1e-7)
    return float(-np.where(y > 0, np.log(safe), np.log1p(-safe)).mean())


def _figures(p: NDArray[np.float64], y: NDArray[np.float64]) -> Figures:
    if not len(p):
        return {"log_loss": None, "auc": None}
    return {"log_loss": log_loss(p, y), "auc": exact.auc(p, y)}
