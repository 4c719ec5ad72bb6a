"""Compile the passes before they are needed; numba keeps them beside the installation.

The first start after an installation takes some seconds here, later ones a fraction of one.
"""

from __future__ import annotations

import time

import numpy as np
import structlog

from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record

_log = structlog.get_logger(__name__)
_EVENT = {
    "features": {"n": {"type": "number"}, "c": {"type": "category", "buckets": 2}},
    "targets": {
        "b": {"type": "binary"},
        "m": {"type": "multiclass", "classes": ["x", "y"]},
        "v": {"type": "number"},
    },
}


def compile_passes(kind: str, learning: LearningSettings | None = None) -> None:
    """Learn and score two events with a tiny model of this kind, and with these strategies: those
    have kernels of their own."""
    began = time.monotonic()
    recipe = Recipe(
        "warm",
        EventSettings.model_validate(_EVENT),
        ModelSettings.model_validate({"kind": kind, "hidden": 8, "embedding": 2}),
        _without_names(learning or LearningSettings()),
    )
    learner = Learner.fresh(recipe, Standing(version=0, lineage="0" * 16, cursors={}))
    value = b'{"n": 1.5, "c": "a", "b": 1, "m": "x", "v": 2}'
    records = [Record("warm", 0, offset, offset, None, value, None) for offset in (0, 1)]
    learner.take(records, learner.decode(records), {("warm", 0): 2})
    score_once(recipe, learner.state.image.tobytes())
    seconds = time.monotonic() - began
    if seconds > 4.0:
        _log.info("compiled", seconds=round(seconds, 1), note="kept for later starts")


def _without_names(learning: LearningSettings) -> LearningSettings:
    """Return settings that ask for the same kernels, whatever weights there are."""
    frozen = ("head/b/bias",) if learning.freeze else ()
    return learning.model_copy(update={"freeze": frozen, "replay": None, "step_rows": 1})


def score_once(recipe: Recipe, image: bytes) -> None:
    """Score one event the way the API does: on memory that cannot be written."""
    scorer = Scorer(recipe)
    columns, _ = scorer.decoder.features([{"n": 1.0}])
    scorer.attach(np.frombuffer(image, dtype=np.uint8)).score(columns)
