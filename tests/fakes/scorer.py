"""A scorer whose scores say which bytes they were computed from.

An image of version N holds N in each of its 8-byte words. The two outputs of a prediction are the
least and the greatest word it saw: they differ when a read was torn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.events.decode import Columns
from service.model.recipe import Recipe
from service.model.scorer import Attached, Scorer
from service.settings import EventSettings, LearningSettings, ModelSettings

TELLTALE = Recipe(
    "telltale",
    EventSettings.model_validate(
        {
            "features": {"x": {"type": "number"}},
            "targets": {"greatest": {"type": "number"}, "least": {"type": "number"}},
        }
    ),
    ModelSettings(kind="linear"),
    LearningSettings(),
)


NBYTES = 1 << 20
"""Size of an image: large enough to be overtaken while it is read."""


def image_of(version: int) -> NDArray[np.uint8]:
    return np.full(NBYTES // 8, version, dtype=np.int64).view(np.uint8)


class TelltaleScorer(Scorer):
    """Scores TELLTALE events."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.nbytes = NBYTES

    def attach(self, image: NDArray[np.uint8]) -> Attached:
        return _Telltale(self, image)


class _Telltale(Attached):
    def score(self, columns: Columns) -> NDArray[np.float64]:
        words = self._image.view(np.int64)
        seen = np.array([float(words.max()), float(words.min())])
        return np.tile(seen, (len(columns), 1))


def telltale_scorer(layout: bytes) -> Scorer:
    return TelltaleScorer(Recipe.from_json(layout))
