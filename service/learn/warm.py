"""Compile the passes before they are needed; numba keeps them beside the installation.

The first start after an installation takes some seconds here, later ones a fraction of one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import structlog

from service.learn.busy import busy
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
_FIELDS: dict[str, tuple[dict[str, object], object]] = {
    "number": ({}, 1.5),
    "boolean": ({}, True),
    "category": ({"buckets": 2}, "a"),
    "categories": ({"buckets": 2}, ["a", "b"]),
    "text": ({"buckets": 2}, "a b"),
    "vector": ({"size": 2}, [1.5, 2.0]),
    "map": ({"buckets": 2, "names": 2}, {"a": 1.5}),
    "time": ({}, "2026-01-31T12:00:00Z"),
}
"""By the type of a field: settings of a tiny one, and a value."""
_TARGETS: dict[str, dict[str, object]] = {
    "b": {"type": "binary"},
    "m": {"type": "multiclass", "classes": ["x", "y"]},
    "v": {"type": "number"},
}


def compile_passes(given: Recipe) -> None:
    """Learn and score two events with a tiny model of each kind in the recipe, with its types of fields and
    strategies, which have kernels of their own.

    For modules of the user's own: what lies around them.
    """
    note = "the first start after an installation takes up to a minute; kept for later ones"
    with rarely_collected():
        for one in given.models:
            with busy("compiling", model=one.kind, note=note):
                _compile(one)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for unused memory more rarely: what numba builds while it compiles is in use, and to
    look through all of it again and again takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _compile(given: Recipe) -> None:
    began = time.monotonic()
    kind = given.kind if given.kind in KINDS else "linear"
    if given.model.references:
        from service.model.kinds import module_warm  # torch

        module_warm.compile_all()
    types = sorted({spec.type for spec in given.schema.specs.values()})
    learned = KINDS[kind].learns
    experts: tuple[str, ...] = ("auto",)
    if given.model.is_mixture:  # experts have kernels for each kind of target: a minute's worth
        learned = tuple(t.kind for t in given.schema.targets)
        experts = given.model.built_in
        if (
            given.model.references
        ):  # those may be for targets and fields that the others do not take
            experts = tuple(dict.fromkeys((*experts, "prior")))
    targets = {n: t for n, t in _TARGETS.items() if t["type"] in learned}
    event = {
        "features": {name: {"type": name, **_FIELDS[name][0]} for name in types},
        "targets": targets,
        "interactions": [["number", "category"]] * ({"number", "category"} <= set(types)),
    }
    recipe = Recipe(
        "warm",
        EventSettings.model_validate(event),
        ModelSettings.model_validate(
            {"kind": kind, "hidden": 8, "embedding": 2, "experts": experts}
        ),
        _without_names(given.learning),
    )
    learner = Learner.fresh(recipe, Standing(version=0, lineage="0" * 16, cursors={}))
    event = {name: _FIELDS[name][1] for name in types} | {"b": 1, "m": "x", "v": 2}
    value = msgspec.json.encode(event)
    records = [Record("warm", 0, offset, offset, None, value, None) for offset in (0, 1)]
    learner.take(records, learner.decode(records), {("warm", 0): 2})
    figures = np.empty(5)
    inputs.figures(np.ones(CATEGORY), True, figures)
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
    columns, _ = scorer.decoder.features([{"number": 1.0}])
    scorer.attach(np.frombuffer(image, dtype=np.uint8)).score(columns)
