"""Compile the passes before they are needed; numba keeps them beside the installation.

The first start after an installation takes some seconds here, later ones a fraction of one.
"""

from __future__ import annotations

import time

import numpy as np
import structlog

from service.learn.drift import inputs
from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.drift_tensors import CATEGORY
from service.model.kinds import KINDS
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record

_log = structlog.get_logger(__name__)
_EVENT = {
    "features": {
        "n": {"type": "number"},
        "c": {"type": "category", "buckets": 2},
        "yes": {"type": "boolean"},
        "text": {"type": "text", "buckets": 2},
        "map": {"type": "map", "buckets": 2, "names": 2},
    },
    "interactions": [["n", "c"]],
    "targets": {
        "b": {"type": "binary"},
        "m": {"type": "multiclass", "classes": ["x", "y"]},
        "v": {"type": "number"},
    },
}


def compile_passes(kind: str) -> None:
    """Learn and score two events with a tiny model of this kind.

    For a module of the user's own: what lies around it.
    """
    began = time.monotonic()
    if kind not in KINDS:
        from service.model.kinds import module_warm  # torch

        module_warm.compile_all()
    recipe = Recipe(
        "warm",
        EventSettings.model_validate(_EVENT),
        ModelSettings.model_validate(
            {"kind": kind if kind in KINDS else "linear", "hidden": 8, "embedding": 2}
        ),
        LearningSettings(),
    )
    learner = Learner.fresh(recipe, Standing(version=0, lineage="0" * 16, cursors={}))
    value = b'{"n": 1.5, "c": "a", "yes": 1, "text": "a b", "b": 1, "m": "x", "v": 2}'
    records = [Record("warm", 0, offset, offset, None, value, None) for offset in (0, 1)]
    learner.take(records, learner.decode(records), {("warm", 0): 2})
    figures = np.empty(5)
    inputs.figures(np.ones(CATEGORY), True, figures)
    score_once(recipe, learner.state.image.tobytes())
    seconds = time.monotonic() - began
    if seconds > 4.0:
        _log.info("compiled", seconds=round(seconds, 1), note="kept for later starts")


def score_once(recipe: Recipe, image: bytes) -> None:
    """Score one event the way the API does: on memory that cannot be written."""
    scorer = Scorer(recipe)
    columns, _ = scorer.decoder.features([{"n": 1.0}])
    scorer.attach(np.frombuffer(image, dtype=np.uint8)).score(columns)
