"""The learner: a model's state, where it stands in the topics, and what one cut does to both.

Pure: no threads, no clock, no files, no Kafka. The same state and the same cuts give the same
bits, which is what a replay relies on. Nouns: a cut is one micro-batch of records; a version is
the number of the journal entry that made this state; cursors are the NEXT offsets to learn.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service import crash
from service.events.decode import Columns, Decoded, Decoder, Fault
from service.learn import quarantine
from service.learn.drift.watch import Alarm, Watch, Watched
from service.learn.holdout import held_out
from service.learn.marks import mark
from service.learn.rivals import Lessons, Rivals
from service.learn.standing import Standing, meta_of
from service.model import intervals, prequential, rivals
from service.model.featurizer import Featurizer
from service.model.layout import Layout
from service.model.learning import Model
from service.model.prequential import OUTCOMES
from service.model.recipe import Recipe
from service.model.state import State
from service.model.strategies.lesson import Lesson
from service.stream.records import Offsets, Record

_AT = {outcome: i for i, outcome in enumerate(OUTCOMES)}


class DeadEvent(msgspec.Struct):
    """An event that was not learned, and why: to be sent to the dead-letter topic."""

    record: Record
    row: int
    reason: str
    error: str


class Step(msgspec.Struct):
    """What one cut did: its counts, its checksum, its loss, and the events it could not use."""

    version: int
    records: int
    counts: dict[str, int]
    keys: int
    loss: str
    dead: list[DeadEvent]
    capped: int
    """Events that were learned with a gradient shortened to the cap."""
    scores: NDArray[np.float64]
    labels: NDArray[np.float64]
    held: NDArray[np.bool_]
    """[N] which events were set aside: scored, never learned."""
    rate: float | None
    """The learning rate after the cut."""
    newest_ms: int
    timestamps_ms: NDArray[np.int64]
    alarms: list[Alarm]
    """Of drift; `answers`: what they did to the weights."""
    answers: list[str]
    failed: dict[str, str]
    """Challengers that failed, and why."""

    def entry(self, *, adapts: bool) -> dict[str, Any]:
        """Return what the cut's journal entry says of it, and of drift where there is any.

        adapts: the learning rate moves by itself.
        """
        entry = {
            "version": self.version,
            "kind": "cut",
            "records": self.records,
            "counts": self.counts,
            "keys": self.keys,
            "loss": self.loss,
        }
        failed = {"challengers": self.failed} if self.failed else {}
        return entry | ({"rate": self.rate} if adapts else {}) | self._drift() | failed

    def _drift(self) -> dict[str, Any]:
        if not self.alarms and not self.answers:
            return {}
        alarms = [[a.by, a.of, a.times, a.figure] for a in self.alarms]
        return {"drift": {"alarms": alarms, "answers": self.answers}}


class Learner:
    """Learns cuts. `state` and `standing` are everything that it remembers."""

    def __init__(self, recipe: Recipe, state: State, standing: Standing) -> None:
        self.recipe = recipe
        self.layout = state.layout
        self.state = state
        self.standing = standing
        self.decoder = Decoder(recipe.schema, recipe.learning.seed)
        self._featurizer = Featurizer(recipe.schema)
        self._model = Model(state.layout)
        self.watch = Watch(state.layout)
        self._lesson = Lesson(state.layout, self._featurizer, self._model)
        self._blank, _ = self.decoder.features([{}])
        self._rivals = Rivals(state.layout, self._blank)

    @classmethod
    def fresh(cls, recipe: Recipe, standing: Standing) -> Learner:
        """Return a learner before its first event."""
        return cls(recipe, State.fresh(Layout(recipe)), standing)

    def copy(self, into: Learner | None = None) -> Learner:
        """Return a learner that goes its own way from here; `into`: one of the same layout whose
        memory may be used."""
        other = copy.copy(self)
        other.state = self.state.copy() if into is None else into.state
        if into is not None:
            other.state.image[:] = self.state.image
        other.state.touch_all()
        other.standing = self.standing.copy()
        return other

    @property
    def events_learned(self) -> int:
        """Events that are in the weights."""
        return int(self.state.outcomes[_AT["learned", ""]])

    @property
    def rate(self) -> float | None:
        """The learning rate in force; None where there is none."""
        return self._model.rate(self.state)

    @property
    def sheds(self) -> tuple[str, ...]:
        """Works that can be left out where learning is behind, in that order."""
        return self.layout.kind.sheds

    @property
    def shed_level(self) -> int:
        """How many of them are left out."""
        return self.layout.kind.effort(self.state.extras).level

    def shed(self, level: int) -> None:
        """Leave so many of them out from now on."""
        self.layout.kind.shed(self.state.extras, level)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decode a cut's records; touches no state, so another thread may do it ahead."""
        return quarantine.decode(self.decoder, records, self.standing)

    def score(self, columns: Columns) -> NDArray[np.float64]:
        """Return the scores [N, O] of events by the model that answers, as it is; changes nothing."""
        return self._score(self.state.serves, columns)

    def due(self) -> tuple[str, str] | None:
        """Return which model is to answer from now on by the rule, and why."""
        return self._rivals.due(self.state)

    def is_fit(self) -> bool:
        """Whether its version may be served: see unfit."""
        return self.unfit() is None

    def unfit(self, name: str | None = None) -> str | None:
        """Return what is not finite, so that its version may not be served: the weights that a
        prediction reads, or the scores of an event without fields (finite weights of a network can
        be too large for any). name: of the model to look at; None: the one that answers."""
        name = name or self.state.serves
        if not self.state.rivals.get(name, self.state).is_finite():
            return "weights"
        return None if np.isfinite(self._score(name, self._blank)).all() else "scores"

    def take(
        self,
        records: Sequence[Record],
        decoded: Decoded,
        next_offsets: Offsets,
        gave_up: dict[str, str] | None = None,
    ) -> Step:
        """Score and learn one cut; the version grows by one.

        records: in row order. decoded: what `decode` made of them. next_offsets: where the
        cursors of the partitions that moved stand afterwards. gave_up: in a replay, the challengers
        that failed when it was learned.
        """
        columns = decoded.columns
        labelled = ~np.isnan(columns.targets).all(axis=1)
        held = held_out(self.recipe.learning.holdout, records, decoded) & labelled
        learn = labelled & ~held
        watched, lessons = self._learn(columns, learn, gave_up or {})
        learned = watched.learned
        crash.point("mid_forward")
        broken = learned.applied == 2
        labels = np.where(broken[:, None], np.nan, columns.targets)
        scores = learned.scores
        if self.state.rivals:
            scores = self._rivals.mark(self.state, lessons, learned.scores, labels, held)
        mark(self.state, learned.scores, labels, held, told=scores)
        dead = self._dead(records, decoded, broken)
        counts = {
            ("learned", ""): int(learn.sum() - broken.sum()),
            ("held_out", "hash"): int(held.sum()),
            ("filtered", "tombstone"): len(decoded.tombstones),
            ("filtered", "unlabelled"): int((~labelled).sum()),
            ("quarantined", "not_finite"): int(broken.sum()),
        }
        for key in map(quarantine.outcome, decoded.faults):
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            self.state.outcomes[_AT[key]] += count
        crash.point("after_step_before_cursor")
        self._move(records, columns.times_ms[learn], next_offsets)
        losses = learned.losses[learn & ~broken]
        return Step(
            version=self.standing.version,
            records=len(records),
            counts={"/".join(filter(None, key)): n for key, n in counts.items() if n},
            keys=checksum(records),
            loss=np.float64(np.nansum(losses) + lessons.loss).tobytes().hex(),
            dead=dead,
            capped=int((learned.applied == 3).sum()),
            scores=scores,
            labels=labels,
            held=held,
            rate=self.rate,
            newest_ms=max((r.timestamp_ms for r in records), default=-1),
            timestamps_ms=np.fromiter((r.timestamp_ms for r in records), np.int64, len(records)),
            alarms=watched.alarms,
            answers=watched.done,
            failed=lessons.failed,
        )

    def _learn(
        self, columns: Columns, learn: NDArray[np.bool_], gave_up: dict[str, str]
    ) -> tuple[Watched, Lessons]:
        """Have all models score N events, and learn those where `learn` [N] is set."""
        state, done = self.state, list[Watched]()

        def main() -> None:
            lesson = self._lesson
            watched = self.watch.learn(state, columns, learn, lambda *p: lesson.learn(state, *p))
            done.append(watched)

        if not state.rivals:
            main()
            return done[0], Lessons({}, {}, {})
        lessons = self._rivals.learn(state, columns, learn, gave_up, main)
        return done[0], lessons

    def meta(self) -> dict[str, Any]:
        """Return what a snapshot keeps beside the tensors, as plain JSON values."""
        return {
            **meta_of(self.standing),
            "recipe": msgspec.json.decode(self.recipe.to_json()),
            "events_learned": self.events_learned,
            "learning_rate": self.rate,
            "targets": self.report(),
            **({"challengers": self.challengers()} if self.state.rivals else {}),
        }

    def challengers(self) -> dict[str, Any]:
        """Return how each model did, see model/rivals.py; nothing where there is one."""
        return rivals.report(self.layout, self.state.image)

    def report(self) -> dict[str, Any]:
        """Return {target: {"type", "scored", "metrics", "fading", "baselines", "held_out", ...}}."""
        state = self.state
        return {
            t.name: prequential.report(t, state.scores[t.name], state.held_out.get(t.name))
            | intervals.report(state.answering.intervals.get(t.name))
            for t in self.recipe.schema.targets
        }

    def _score(self, name: str, columns: Columns) -> NDArray[np.float64]:
        if (pupil := self._rivals.pupils.get(name)) is not None:
            return pupil.score(self.state.rivals[name], columns)
        return self._model.score(self.state, self._featurizer.rows(columns, self.state.scales))

    def _dead(
        self, records: Sequence[Record], decoded: Decoded, broken: NDArray[np.bool_]
    ) -> list[DeadEvent]:
        dead = [DeadEvent(records[at], row, f.code, said(f)) for at, row, f in decoded.faults]
        error = "its score or gradient is not finite; nothing was learned from it"
        for at in np.flatnonzero(broken):
            record, row = records[decoded.record[at]], int(decoded.row[at])
            dead.append(DeadEvent(record, row, "not_finite", error))
        return dead

    def _move(
        self, records: Sequence[Record], times_ms: NDArray[np.int64], next_offsets: Offsets
    ) -> None:
        s = self.standing
        s.version += 1
        s.cursors.update(next_offsets)
        for record in records:
            s.records[record.topic] = s.records.get(record.topic, 0) + 1
        known = times_ms[times_ms >= 0]
        if len(known):
            s.event_time_ms = max(int(known.max()), s.event_time_ms or 0)


def said(fault: Fault) -> str:
    """Return the sentence for a dead letter's header."""
    return fault.msg if fault.field is None else f"{fault.field}: {fault.msg}"


def checksum(records: Sequence[Record]) -> int:
    """Return the CRC-32 of the records' keys (topic, partition, offset), in row order."""
    topics = {topic: at for at, topic in enumerate(sorted({r.topic for r in records}))}
    places = [(topics[r.topic], r.partition, r.offset) for r in records]
    total = zlib.crc32("\0".join(topics).encode())
    return zlib.crc32(np.array(places, dtype=np.int64).tobytes(), total)
