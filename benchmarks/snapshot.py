"""How long learning stands still for a snapshot of 64 MB of weights and their optimizer's state.

The learner, journal, live file and snapshots are the real ones; Kafka is left out: the cuts are
decoded beforehand, and learned as fast as it goes, with categories drawn from the whole tables, so
that blocks change everywhere. The baseline is the plain copy of the image into fresh memory, made
in the same run, at the same boundary of a cut.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.plan import Plan
from benchmarks.results import Failed, Result, Run, of_rounds
from service.events.decode import Decoded
from service.learn import restore
from service.learn.learner import Learner
from service.learn.publishing import Publisher
from service.learn.saving import Saver
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.live_writer import LiveWriter
from service.weights.snapshots import Keep, Snapshots

FIELDS, BUCKETS = 8, 1 << 21
"""8 tables of 2 M float32: 64 MiB of weights, and as much of AdaGrad's sums."""
ROWS, CUTS = 1024, 64
_TOPIC = "snapshot"
_PATIENCE_S = 120.0


class Cut(NamedTuple):
    """A cut that is ready to be learned."""

    records: list[Record]
    decoded: Decoded


class Bench:
    """A learner at full speed, with everything that it does in the service but reading Kafka."""

    def __init__(self, folder: Path, stack: ExitStack, buckets: int = BUCKETS) -> None:
        self.journal = stack.enter_context(Journal.open(folder / "journal"))
        self.snapshots = Snapshots(folder / "snapshots", Keep(last=1, hourly=0, daily=0))
        recipe = recipe_of(buckets)
        self.learner = restore.begin(recipe, {(_TOPIC, 0): 0}, {_TOPIC: None}, self.journal, {})
        live = LiveWriter.open(
            folder / "live", nbytes=self.learner.layout.nbytes, layout=recipe.to_json()
        )
        stack.callback(live.close)
        self._telemetry = Telemetry(Metrics("learner"))
        self.publisher = Publisher(live, self._telemetry, 0.010)
        self._saver = Saver(self.snapshots, self.journal, {})
        stack.callback(self._saver.close)
        self._cuts = cuts_of(self.learner)
        self._turn = 0
        self._offset = 0

    def learn(self) -> int:
        """One turn of the loop; return the rows learned."""
        cut = self._cuts[self._turn % len(self._cuts)]
        self._turn += 1
        self._offset += len(cut.records)
        ends = {(_TOPIC, 0): self._offset}
        step = self.learner.take(cut.records, cut.decoded, ends)
        self.journal.append({"version": step.version, "kind": "cut", "loss": step.loss})
        if self.publisher.is_due(self.learner):
            self.publisher.publish(self.learner)
        return len(cut.records)

    def rate(self, seconds: float) -> float:
        """Rows a second without any snapshot."""
        rows, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            rows += self.learn()
        return rows / (time.monotonic() - began)

    def copy_in_one_go(self) -> float:
        """Seconds of a plain copy into fresh memory."""
        self.learn()
        began = time.monotonic()
        image = self.learner.state.image.copy()
        seconds = time.monotonic() - began
        del image
        return seconds

    def save(self) -> Saved:
        """One snapshot under full-speed learning, from its first piece to durable."""
        turns = [0.0]
        pauses, own = [], []
        rows, began, whole = 0, time.monotonic(), False
        while not whole:
            rows += self._turn_of(turns)
            at, cpu_at = time.monotonic(), time.thread_time()
            whole = self._saver.advance(self.learner)
            pauses.append(time.monotonic() - at)
            own.append(time.thread_time() - cpu_at)
        copied_s, copied_rows = time.monotonic() - began, rows
        while self._saver.busy:
            rows += self._turn_of(turns)
        written_s = time.monotonic() - began - copied_s
        self._succeeded()
        rates = copied_rows / copied_s, (rows - copied_rows) / written_s
        return Saved(pauses, max(own), *rates, written_s, max(turns))

    def prove(self) -> None:
        """One snapshot whose every bit is compared with the state that it was taken from."""
        while not self._saver.advance(self.learner):
            self.learn()
        expected = digest(self.learner.state.parts())
        self.learn()
        overdue = time.monotonic() + _PATIENCE_S
        while self._saver.busy and time.monotonic() < overdue:
            self.learn()
        if self._succeeded() != expected:
            raise Failed("the snapshot has other bits than the state that it was taken from")

    def _turn_of(self, turns: list[float]) -> int:
        began = time.monotonic()
        rows = self.learn()
        turns.append(time.monotonic() - began)
        return rows

    def _succeeded(self) -> dict[str, str]:
        [saved] = self._saver.take_done()
        if saved.manifest is None:
            raise Failed(f"the snapshot failed: {saved.error}")
        return saved.manifest.digest


class Saved(NamedTuple):
    """One snapshot: its pauses [s], the processor time of the longest [s] (a busy machine makes
    pauses longer than that), rows a second while it was copied and while it was written, seconds
    of writing, and the longest turn of the loop [s], pauses left out."""

    pauses: list[float]
    longest_own: float
    copying_rate: float
    writing_rate: float
    written_s: float
    longest_turn: float


def run(plan: Plan) -> list[Result]:
    """Measure in rounds."""
    with ExitStack() as stack:
        plan.say("snapshot: making a model of 64 MiB of weights ...")
        bench = Bench(plan.folder / "snapshot", stack)
        bench.rate(1.0)
        bench.prove()
        pauses, rates, copying, details = [], [], [], []
        for number in range(1, plan.rounds + 1):
            alone = bench.rate(min(2.0, plan.seconds / 4))
            plain = bench.copy_in_one_go()
            saved = bench.save()
            pauses.append(Run.against(1e3 * max(saved.pauses), 1e3 * plain))
            rates.append(Run.against(saved.writing_rate, alone))
            copying.append(Run.against(saved.copying_rate, alone))
            details.append({
                "pauses": len(saved.pauses),
                "p50_ms": round(1e3 * statistics.median(saved.pauses), 3),
                "max_ms": round(1e3 * max(saved.pauses), 3),
                "max_cpu_ms": round(1e3 * saved.longest_own, 3),
                "written_s": round(saved.written_s, 3),
                "longest_turn_ms": round(1e3 * saved.longest_turn, 3),
            })  # fmt: skip
            plan.say(
                f"snapshot: round {number} of {plan.rounds}: {len(saved.pauses)} pauses, longest "
                f"{1e3 * max(saved.pauses):.2f} ms; one copy takes {1e3 * plain:.1f} ms; learning "
                f"{alone:,.0f} rows/s, while writing {saved.writing_rate:,.0f}"
            )
    sizes = {"image_bytes": bench.learner.layout.nbytes, "rounds": details}
    return [
        of_rounds("snapshot-pause-max", "ms", "copy in one go", pauses, sizes),
        of_rounds("snapshot-learning-while-copying", "rows/s", "no snapshot", copying),
        of_rounds("snapshot-learning-while-writing", "rows/s", "no snapshot", rates),
    ]


def recipe_of(buckets: int) -> Recipe:
    """Return a linear model with AdaGrad over categories alone."""
    features = {f"c{at}": {"type": "category", "buckets": buckets} for at in range(FIELDS)}
    event = {"features": features, "targets": {"y": {"type": "binary"}}}
    return Recipe(
        "snapshot",
        EventSettings.model_validate(event),
        ModelSettings.model_validate({"kind": "linear"}),
        LearningSettings(),
    )


def cuts_of(learner: Learner) -> list[Cut]:
    """Return cuts of categories that are drawn anew for every event."""
    rng = np.random.default_rng(0)
    cuts = []
    for cut in range(CUTS):
        drawn = rng.integers(0, 1 << 40, (ROWS, FIELDS)).tolist()
        records = [
            Record(_TOPIC, 0, cut * ROWS + row, 1_000, None, msgspec.json.encode(
                {f"c{at}": str(value) for at, value in enumerate(values)} | {"y": row % 2}
            ), None)
            for row, values in enumerate(drawn)
        ]  # fmt: skip
        cuts.append(Cut(records, learner.decode(records)))
    return cuts
