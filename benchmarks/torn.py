"""Predictions against learning at full speed, and how many of them were torn: there must be none.

The model has two number targets, and the label of `b` is always that of `a` with its sign changed.
Every operation on the way from labels to scores keeps that symmetry to the last bit, so in each
version b == -a; an image of two versions mixed breaks it. Beside that, each version's scores of
the same events are noted by the learner before it publishes, and what a reader says of a version
must be what the learner noted.

Learner, live file, reader and scorer are the real ones; every cut is published. Readers are
processes of their own: `python -m benchmarks.torn FOLDER PREDICTIONS FILE.npz`.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.plan import Plan
from benchmarks.processes import Process, module
from benchmarks.results import Failed, Result, Run
from service.events.decode import Columns
from service.learn.learner import Learner
from service.learn.publishing import Publisher
from service.learn.standing import Standing
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.model.recipe import Recipe
from service.model.scorer import Scorer
from service.serve.live_model import LiveModel
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record
from service.weights.live_writer import LiveWriter

PREDICTIONS, READERS = 1_000_000, 2
FIELDS, BUCKETS, ROWS, CUTS, PROBES = 4, 1 << 15, 32, 256, 8
_PATIENCE_S = 1800.0
_TOPIC = "torn"


class Seen(NamedTuple):
    """What all readers saw. `torn`: predictions that broke the symmetry, or that were of another
    version than they named; `fell`: those of a lower version than the one before."""

    predictions: int
    torn: int
    fell: int
    retries: int
    versions: int
    published: int
    seconds: float


def run(plan: Plan) -> list[Result]:
    """Measure once, with a million predictions."""
    plan.say(f"torn: {PREDICTIONS:,} predictions by {READERS} processes ...")
    seen = measure(plan.folder / "torn", PREDICTIONS, READERS)
    plan.say(
        f"torn: {seen.torn} of {seen.predictions:,} in {seen.seconds:.0f} s; {seen.versions:,} "
        f"versions seen of {seen.published:,} published, {seen.retries:,} reads tried again"
    )
    if seen.torn or seen.fell:
        raise Failed(f"{seen.torn} predictions were torn, {seen.fell} fell to an older version")
    rate = seen.predictions / seen.seconds
    details = dict(seen._asdict())
    return [Result("torn", seen.torn, "predictions", None, None, [Run(float(seen.torn))], details),
            Result("torn-rate", rate, "predictions/s", None, None, [Run(rate)])]  # fmt: skip


def measure(folder: Path, predictions: int, readers: int) -> Seen:
    """Learn at full speed until each reader made its share of the predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe_of()
    began = time.monotonic()
    with ExitStack() as stack:
        live = LiveWriter.open(
            folder / "live", nbytes=Learning.nbytes_of(recipe), layout=recipe.to_json()
        )
        stack.callback(live.close)
        learning = Learning(recipe, live)
        learning.turn()
        files = [folder / f"seen-{reader}.npz" for reader in range(readers)]
        processes = [
            stack.enter_context(
                Process(
                    module("benchmarks.torn", str(folder / "live"), str(predictions // readers),
                           str(file)),
                    file.with_suffix(".log"),
                )
            )
            for file in files
        ]  # fmt: skip
        overdue = time.monotonic() + _PATIENCE_S
        while any(process.running for process in processes):
            for _ in range(50):
                learning.turn()
            if time.monotonic() > overdue:
                raise Failed("the readers did not end")
        for process in processes:
            process.wait(1.0)
        published = live.publications
    seconds = time.monotonic() - began
    return _judged([np.load(file) for file in files], learning, published, seconds)


class Learning:
    """A learner that publishes every cut, and notes the scores of each version."""

    def __init__(self, recipe: Recipe, live: LiveWriter) -> None:
        self._learner = Learner.fresh(recipe, Standing(0, "feedbeef00000000", {(_TOPIC, 0): 0}))
        self._publisher = Publisher(live, Telemetry(Metrics("learner")), 0.0)
        scorer = Scorer(recipe)
        self._probe = probe_of(scorer)
        self._attached = scorer.attach(self._learner.state.image)
        self._cuts = [self._cut(number) for number in range(CUTS)]
        self.noted: dict[int, NDArray[np.float64]] = {}

    @staticmethod
    def nbytes_of(recipe: Recipe) -> int:
        """Bytes of the image."""
        return Scorer(recipe).nbytes

    def turn(self) -> None:
        """Learn a cut and publish it, unless a reader holds the slot."""
        version = self._learner.standing.version
        records, decoded = self._cuts[version % CUTS]
        self._learner.take(records, decoded, {(_TOPIC, 0): version + 1})
        scores = self._attached.score(self._probe)
        if not symmetric(scores):
            raise Failed("the model's two targets are not each other's mirror")
        self.noted[version + 1] = scores
        if self._publisher.is_due(self._learner):
            self._publisher.publish(self._learner)

    def _cut(self, number: int) -> tuple[list[Record], Any]:
        rng = np.random.default_rng(number)
        events = [_event(rng, amount) for amount in rng.normal(100.0, 30.0, ROWS).tolist()]
        records = [
            Record(_TOPIC, 0, number * ROWS + row, 1_000, None, msgspec.json.encode(event), None)
            for row, event in enumerate(events)
        ]
        return records, self._learner.decode(records)


def recipe_of() -> Recipe:
    """Return the model of the two mirrored targets."""
    features: dict[str, Any] = {
        f"c{at}": {"type": "category", "buckets": BUCKETS} for at in range(FIELDS)
    }
    features["x"] = {"type": "number"}
    targets = {"a": {"type": "number"}, "b": {"type": "number"}}
    return Recipe(
        "torn",
        EventSettings.model_validate({"features": features, "targets": targets}),
        ModelSettings.model_validate({"kind": "linear"}),
        LearningSettings(),
    )


def probe_of(scorer: Scorer) -> Columns:
    """Return the events that every prediction is of."""
    rng = np.random.default_rng(1 << 20)
    events = [{k: v for k, v in _event(rng, 1.0).items() if k not in "ab"} for _ in range(PROBES)]
    columns, _ = scorer.decoder.features(events)
    return columns


def symmetric(scores: NDArray[np.float64]) -> bool:
    """Whether the scores [N, 2] are those of one version."""
    return bool((scores[:, 0] == -scores[:, 1]).all())


def read(folder: Path, predictions: int, file: Path) -> None:
    """Predict so many times, as an API worker does, and note what was seen of each version."""
    retries = Metrics("api-0").counter("headwater_read_retries_total")
    live = LiveModel(folder, retries)
    live.follow()
    probe = probe_of(live.scorer())
    seen: dict[int, bytes] = {}
    torn = fell = last = 0
    for _ in range(predictions):
        live.follow()
        scores, served = live.read(lambda attached: attached.score(probe))
        version, said = served.version, scores.tobytes()
        torn += not symmetric(scores) or seen.setdefault(version, said) != said
        fell += version < last
        last = version
    live.close()
    versions = np.array(list(seen), dtype=np.int64)
    scores = np.frombuffer(b"".join(seen.values())).reshape(len(seen), PROBES, 2)
    counts = np.array([predictions, torn, fell, retries.get()], dtype=np.int64)
    np.savez(file, versions=versions, scores=scores, counts=counts)


def _judged(read_by: list[Any], learning: Learning, published: int, seconds: float) -> Seen:
    predictions, torn, fell, retries = (int(n) for n in sum(one["counts"] for one in read_by))
    versions: set[int] = set()
    for one in read_by:
        for version, scores in zip(one["versions"].tolist(), one["scores"], strict=True):
            noted = learning.noted.get(version)
            torn += noted is None or not np.array_equal(noted, scores)
            versions.add(version)
    return Seen(predictions, torn, fell, retries, len(versions), published, seconds)


def _event(rng: np.random.Generator, amount: float) -> dict[str, Any]:
    categories = {f"c{at}": f"v{rng.integers(0, 1 << 30)}" for at in range(FIELDS)}
    return categories | {"x": float(rng.normal()), "a": amount, "b": -amount}


if __name__ == "__main__":
    read(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
