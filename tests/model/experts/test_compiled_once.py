"""Compiling takes long: whatever is learned or scored, each kernel is compiled for one type."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np

from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record

PROGRAM = """
import mmap, sys, tempfile
import numpy as np
from numba.core.dispatcher import Dispatcher
from service.model.scorer import Scorer
from tests.model.experts.test_compiled_once import learner_of, recipe_of, rows_of, take

for targets in (["b"], ["v"], ["b", "v"]):
    learner = learner_of(recipe_of("mixture", targets))
    for first, last in ((0, 1), (1, 4), (4, 300), (300, 301)):
        take(learner, rows_of(first, last))
    file = tempfile.TemporaryFile()
    file.write(learner.state.image.tobytes())
    file.flush()
    image = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    scorer = Scorer(learner.recipe)
    for n in (1, 5):
        columns, _ = scorer.decoder.features(rows_of(0, n))
        assert np.isfinite(scorer.attach(image).score(columns)).all()
for name, module in sorted(sys.modules.items()):
    if name.startswith(("service.model.experts.", "service.model.kinds.mixture")):
        for one in vars(module).values():
            if isinstance(one, Dispatcher) and one.__module__ == name and len(one.signatures):
                print(name, one.__name__, len(one.signatures))
"""


def recipe_of(kind: str, targets: list[str]) -> Recipe:
    kinds = {"b": {"type": "binary"}, "v": {"type": "number"}}
    event = {
        "features": {
            "x": {"type": "number"}, "z": {"type": "number"}, "c": {"type": "category"},
            "d": {"type": "category"}, "at": {"type": "time"}, "t": {"type": "text"},
        },
        "targets": {name: kinds[name] for name in targets},
    }  # fmt: skip
    settings = ModelSettings.model_validate({"kind": kind})
    return Recipe("once", EventSettings.model_validate(event), settings, LearningSettings())


def rows_of(first: int, last: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(7).normal(size=(400, 2)).tolist()
    return [
        {
            "x": draw[i][0], "z": draw[i][1], "c": "ab"[i % 2], "d": "uvw"[i % 3], "t": f"a b{i % 5}",
            "at": f"2026-01-31T{i % 24:02}:00:00Z", "b": int(sum(draw[i]) > 0), "v": sum(draw[i]),
        }
        for i in range(first, last)
    ]  # fmt: skip


def learner_of(recipe: Recipe) -> Learner:
    return Learner.fresh(recipe, Standing(0, "0" * 16, {}))


def take(learner: Learner, rows: list[dict[str, object]]) -> None:
    first = learner.standing.cursors.get(("t", 0), 0)
    records = [
        Record("t", 0, first + i, 0, None, msgspec.json.encode(row), None)
        for i, row in enumerate(rows)
    ]
    learner.take(records, learner.decode(records), {("t", 0): first + len(rows)})


def test_each_kernel_is_compiled_for_one_type_and_scoring_writes_nothing() -> None:
    """Few rows and many, one target and several, to learn and, on memory that cannot be written
    and where writing ends the process, to score."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert len(found) > 15, done.stdout
    assert [name for name, signatures in found if signatures != "1"] == []


def test_a_scorer_reads_what_is_there_now_and_in_the_image_that_it_is_given() -> None:
    learner = learner_of(recipe_of("prior", ["b"]))
    take(learner, rows_of(0, 40))
    before = learner.state.image.copy()
    take(learner, rows_of(40, 100))
    after = learner.state.image.copy()
    scorer = Scorer(learner.recipe)
    columns, _ = scorer.decoder.features(rows_of(100, 103))
    slot = before.copy()
    attached = scorer.attach(slot)
    old, new = scorer.attach(before).score(columns), scorer.attach(after).score(columns)
    assert (old != new).any()
    np.testing.assert_array_equal(attached.score(columns), old)
    slot[:] = after
    np.testing.assert_array_equal(attached.score(columns), new)
