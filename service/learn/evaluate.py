"""Backtest: learn files one pass, each event scored before it is learned. Leaves nothing behind.

The same learner, decoder and passes as in the service, without Kafka, journal or snapshots:
rows in file order, `batch_rows` of them in a cut.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.events.schema import Target
from service.learn import exact, pretrained, turns, warm
from service.learn.ailing import warn_of
from service.learn.crew import working
from service.learn.drift.report import report as report_of_drift
from service.learn.leaderboard import leaderboard
from service.learn.learner import Learner, Step
from service.learn.standing import RULE, Standing
from service.learn.track import Track
from service.learn.twin.paired import MODELS, Paired
from service.model.kinds import recipe_of
from service.model.prequential import FADE, OUTCOMES, PREDICTORS
from service.settings import Settings
from service.stream.records import Record
from service.weights.digest import digest

_POINTS = 50
_RECENT = 30_000  # 0.999 ** 30,000 is 1e-13


def evaluate(
    settings: Settings,
    rows: Iterable[bytes],
    expected: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
    watch: Callable[[int, dict[str, Any]], None] = lambda _rows, _reports: None,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the result in the shape of headwater.evaluate/1, and counts of what was not learned
    by its reason. rows: events as JSON bytes. watch is told the rows and the report of each target
    at some 50 places and at the end."""
    with working(settings.learning.threads):
        return _evaluate(settings, rows, expected, progress, watch)


def _evaluate(
    settings: Settings,
    rows: Iterable[bytes],
    expected: int | None,
    progress: Callable[[int], None],
    watch: Callable[[int, dict[str, Any]], None],
) -> tuple[dict[str, Any], dict[str, int]]:
    recipe = recipe_of(settings).begun(from_file=settings.model.pretrained is not None)
    warm.compile_passes(recipe)
    lineage = hashlib.sha256(recipe.to_json()).hexdigest()[:16]
    learner = Learner.fresh(recipe, Standing(version=0, lineage=lineage, cursors={}))
    if settings.model.pretrained is not None:
        matched = pretrained.match(learner.layout, settings.model.pretrained)
        pretrained.tell(matched)
        pretrained.start_from(learner.state, matched.entry())
    kept: dict[str, list[NDArray[np.float64]]] = {t.name: [] for t in _binary(learner)}
    places = _Places(learner, max(1, (expected or 50_000) // _POINTS), watch)
    began, done = time.monotonic(), 0
    twin = None
    for records in _cuts(rows, settings.learning.batch_rows):
        twin = twin or _frozen(learner, settings.learning.frozen_after)
        decoded = learner.decode(records)
        step = learner.take(records, decoded, {("file", 0): done + len(records)})
        places.decide(done + len(records))
        if twin is not None:
            twin.compare(step, decoded.columns)
        for t in _binary(learner):
            kept[t.name].append(_scored(step, t, learner))
        done += len(records)
        progress(done)
        places.reach(done, len(records))
    seconds = time.monotonic() - began
    warn_of(learner)
    targets = learner.report()
    for t in _binary(learner):
        scored = np.concatenate(kept[t.name] or [np.empty((0, 3))])
        _make_exact(targets[t.name], scored)
        if held_out := targets[t.name]["held_out"]:
            _make_exact(held_out, scored[scored[:, 2] > 0])
    watch(done, copy.deepcopy(targets))
    for name, report in targets.items():
        del report["fading_baselines"]
        report["frozen_twin"] = None if twin is None else _beside(twin, name)
    places.end(done, targets)
    result = {
        "schema": "headwater.evaluate/1",
        "rows": done,
        "outcomes": _outcomes(learner),
        "seconds": round(seconds, 4),
        "events_per_second": round(done / seconds) if seconds else 0,
        "version": learner.standing.version,
        "lineage": lineage,
        "digest": digest(learner.state.parts()),
        "learning_rate": learner.rate,
        "targets": targets,
        "curve": places.curve,
        "drift": report_of_drift(learner.watch, learner.state),
        "experts": [
            {**one, "curve": places.track.curve(one["target"], one["expert"])}
            for one in leaderboard(learner)
        ],
        "challengers": places.challengers(),
        "promoted": places.promoted,
    }
    return result, _reasons(learner)


class _Places:
    """Some 50 places of a stream, at each of which it is noted how all have done so far."""

    def __init__(
        self, learner: Learner, every: int, watch: Callable[[int, dict[str, Any]], None]
    ) -> None:
        self._learner, self._every, self._watch = learner, every, watch
        self.curve: list[dict[str, Any]] = []
        self.track = Track()
        self.promoted: list[dict[str, Any]] = []

    def decide(self, done: int) -> None:
        """Have another model answer where the rule says so; note who, after how many rows, and why."""
        due, entries = self._learner.due(), list[dict[str, Any]]()
        if due is not None:
            turns.promote(self._learner, due[0], RULE, due[1], entries.append)
        for entry in entries:
            self.promoted.append(
                {"rows": done} | {key: entry[key] for key in ("name", "from", "reason")}
            )

    def challengers(self) -> dict[str, Any]:
        """Return how the challengers did, with what they did on the way."""
        found = self._learner.challengers()
        for name, one in found.items():
            for target, report in one["targets"].items():
                report["curve"] = self.track.curve_of_model(target, name)
        return found

    def reach(self, done: int, rows: int) -> None:
        """Take note if there is a place among the last `rows`."""
        if done // self._every > (done - rows) // self._every:
            reports = self._learner.report()
            self._watch(done, reports)
            self._note(done, reports)

    def end(self, done: int, reports: dict[str, dict[str, Any]]) -> None:
        """The end is a place too."""
        if self.curve and self.curve[-1]["rows"] == done:
            self.curve.pop()
        self._note(done, reports)

    def _note(self, done: int, reports: dict[str, dict[str, Any]]) -> None:
        self.curve.append({"rows": done, **{name: r["metrics"] for name, r in reports.items()}})
        self.track.note(self._learner, done)
        self.track.note_models(self._learner.challengers(), done)


def _frozen(learner: Learner, after: int | None) -> Paired | None:
    """Return a copy that stops learning here, if it is time for it."""
    return Paired.of(learner) if after is not None and learner.events_learned >= after else None


def _beside(twin: Paired, target: str) -> dict[str, Any]:
    """Return the figures of the frozen copy, and those of the live model on the same events."""
    figures = {
        model: {key: report[key] for key in ("metrics", "fading")}
        for model, report in twin.report()[target].items()
    }
    scored = twin.report()[target][MODELS[0]]["scored"]
    return {"version": twin.version, "events": twin.events, "scored": scored, **figures}


def _cuts(rows: Iterable[bytes], size: int) -> Iterator[list[Record]]:
    numbered = enumerate(rows)
    while taken := list(islice(numbered, size)):
        yield [Record("file", 0, at, at, None, value, None) for at, value in taken]


def _binary(learner: Learner) -> list[Target]:
    return [t for t in learner.recipe.schema.targets if t.kind == "binary"]


def _scored(step: Step, target: Target, learner: Learner) -> NDArray[np.float64]:
    at = learner.recipe.schema.targets.index(target)
    found = (step.scores[:, target.start], step.labels[:, at], step.held.astype(np.float64))
    pairs: NDArray[np.float64] = np.column_stack(found)
    return pairs[~np.isnan(pairs).any(axis=1)]


def _make_exact(report: dict[str, Any], pairs: NDArray[np.float64]) -> None:
    """Put exact figures in the place of binned ones, for the model and for both baselines. pairs
    [N, 3]: score, label, whether it was held out."""
    y = pairs[:, 1]
    before = np.arange(len(y))
    prior = (np.cumsum(y) - y + 1.0) / (before + 2.0)
    last = np.concatenate((prior[:1], y[:-1]))
    predicted = {"model": pairs[:, 0], "no_change": last, "prior": prior}
    for name in PREDICTORS:
        where = report["metrics"] if name == "model" else report["baselines"][name]
        where["auc"] = exact.auc(predicted[name], y)
        where["average_precision"] = exact.average_precision(predicted[name], y)
    recent, labels = pairs[-_RECENT:, 0], y[-_RECENT:]
    weight = np.power(FADE, np.arange(len(labels) - 1, -1, -1, dtype=np.float64))
    report["fading"]["auc"] = exact.auc(recent, labels, weight)
    report["fading"]["average_precision"] = exact.average_precision(recent, labels, weight)


def _reasons(learner: Learner) -> dict[str, int]:
    counts = zip(OUTCOMES, learner.state.outcomes.tolist(), strict=True)
    bad = {"filtered", "dead_lettered", "quarantined"}
    return {f"{outcome} ({reason})": n for (outcome, reason), n in counts if n and outcome in bad}


def _outcomes(learner: Learner) -> dict[str, int]:
    """Return counts by outcome, whatever the reason."""
    result: dict[str, int] = {"learned": 0}
    for (outcome, _), n in zip(OUTCOMES, learner.state.outcomes.tolist(), strict=True):
        if n:
            result[outcome] = result.get(outcome, 0) + n
    return result
