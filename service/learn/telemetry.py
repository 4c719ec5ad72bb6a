"""What the learner says about itself: its metrics, its status, its heartbeat.

Counts of events and records come from the learner's state, so they survive crashes and add up;
times and histograms are this process's own.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import service
from service.learn.ailing import Ward, ailing, told
from service.learn.drift.report import report as report_of_drift
from service.learn.drift.report import show as show_drift
from service.learn.inbox import Inbox
from service.learn.leaderboard import leaderboard
from service.learn.learner import Learner, Step
from service.learn.standing import nested
from service.metrics import Metrics
from service.model.kinds.rls import RESTARTS
from service.model.prequential import OUTCOMES
from service.settings import MAIN
from service.stream.records import TP, Offsets
from service.stream.source import Source


class Seen(NamedTuple):
    """A journaled version, as far as people are told of it; nothing later reaches it."""

    name: str
    version: int
    lineage: str
    cursors: Offsets
    records: dict[str, int]
    outcomes: list[int]
    failing: dict[str, str]
    """Experts that fail, and how."""


def seen(learner: Learner) -> Seen:
    """Return what there is to tell of a learner whose version is journaled."""
    s = learner.standing
    counts = learner.state.outcomes.tolist()
    failing = {one.member: told(one) for one in ailing(learner)}
    return Seen(
        learner.recipe.name, s.version, s.lineage, dict(s.cursors), dict(s.records), counts, failing
    )  # fmt: skip


class Telemetry:
    """Fills the learner's metrics. All calls come from the loop's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.snapshot_offsets: Offsets = {}
        self.snapshot_version: int | None = None
        self.newest_ms = -1
        """Timestamp of the newest record of the last cut."""
        self._challengers: dict[str, Any] = {}
        self._counted: tuple[Source | None, Counter[TP], int] = (None, Counter(), 0)
        self._ward = Ward(metrics)
        self._started = time.monotonic()
        self._saved_at: float | None = None
        metrics.gauge("headwater_build_info").set(
            1.0, service.__version__, platform.python_version(), str(torch.__version__)
        )

    def spent(self, phase: str, seconds: float) -> None:
        """Add to the time of one phase."""
        self.metrics.counter("headwater_learner_time_seconds_total").inc(seconds, phase)

    def learned(self, step: Step, seconds: float) -> None:
        """A cut is in the weights, after so many seconds."""
        self.metrics.histogram("headwater_step_duration_seconds").observe(seconds)
        self.spent("learn", seconds)
        self.newest_ms = step.newest_ms
        if step.capped:
            self.metrics.counter("headwater_capped_updates_total").inc(float(step.capped))

    def published(
        self, version: int, seconds: float, timestamps_ms: list[NDArray[np.int64]]
    ) -> None:
        """A version went live that has learned records of these times."""
        self.metrics.gauge("headwater_published_version").set(float(version))
        self.metrics.histogram("headwater_publish_seconds").observe(seconds)
        if timestamps_ms:
            ages = time.time_ns() / 1e9 - np.concatenate(timestamps_ms) / 1e3
            # a clock that was set back, or a producer's that is ahead, makes no time negative
            self.metrics.histogram("headwater_freshness_seconds").observe_many(ages.clip(min=0.0))

    def saved(self, version: int, offsets: Offsets) -> None:
        """A snapshot became durable."""
        self.snapshot_version = version
        self.snapshot_offsets = offsets
        self._saved_at = time.monotonic()

    def fill(self, learner: Learner, inbox: Inbox | None) -> None:
        """Set every gauge and count that follows from the learner's state."""
        m, standing = self.metrics, learner.standing
        for (outcome, reason), n in zip(OUTCOMES, learner.state.outcomes.tolist(), strict=True):
            if n or outcome == "learned":
                labels = {"outcome": outcome, "reason": reason}
                m.set_counter("headwater_events_total", labels, float(n))
            if n and outcome in {"dead_lettered", "quarantined"}:
                m.set_counter("headwater_dead_letters_total", {"reason": reason}, float(n))
        for topic, n in standing.records.items():
            m.set_counter("headwater_records_total", {"topic": topic}, float(n))
        if inbox is not None and inbox.source is not None:
            self._count(inbox.source)
        lag = sum(inbox.lag.values()) if inbox is not None else 0
        age = max(0.0, time.time_ns() / 1e9 - self.newest_ms / 1e3) if lag else 0.0
        known = inbox is not None and inbox.away is None
        age = age if self.newest_ms >= 0 else 0.0
        m.gauge("headwater_lag_seconds").set(age if known else math.nan)
        m.gauge("headwater_version").set(float(standing.version))
        m.gauge("headwater_events_learned").set(float(learner.events_learned))
        self._offsets("headwater_cursor_offset", standing.cursors)
        self._offsets("headwater_snapshot_offset", self.snapshot_offsets)
        if (
            inbox is None
        ):  # not reading: nobody can tell, and an old figure would say that all is well
            unknown = dict.fromkeys(standing.cursors, math.nan)
            self._offsets("headwater_lag_records", unknown)
            self._offsets("headwater_retention_headroom_records", unknown)
        else:
            self._offsets("headwater_lag_records", inbox.lag)
            self._offsets("headwater_retention_headroom_records", self._headroom(inbox))
            for phase, seconds in inbox.seconds.items():
                labels = {"phase": phase}
                m.set_counter("headwater_learner_time_seconds_total", labels, seconds)
        remembered, computed = learner.decoder.codes
        for result, n in (("remembered", remembered), ("computed", computed)):
            m.set_counter("headwater_category_codes_total", {"result": result}, float(n))
        m.set_counter("headwater_texts_cut_short_total", {}, float(learner.decoder.cut_short))
        m.gauge("headwater_learning_rate").set(math.nan if learner.rate is None else learner.rate)
        for target, report in learner.report().items():
            self._scores(target, report)
        self._experts(learner)
        self.see_challengers(learner)
        show_drift(self.metrics, report_of_drift(learner.watch, learner.state))
        self._strategies(learner)

    def _strategies(self, learner: Learner) -> None:
        """Say which strategies are in force, and what their memories did."""
        plan, state, m = learner.layout.plan, learner.state, self.metrics
        for name in plan.names:
            m.gauge("headwater_strategy").set(1.0, name)
        for memory in filter(None, (plan.memory, plan.judges)):
            m.gauge("headwater_memory_events").set(float(memory.held(state)), memory.name)
        if plan.memory is not None:
            replayed = float(plan.memory.drawn(state))
            m.set_counter("headwater_replayed_events_total", {}, replayed)
        if plan.judges is not None:
            blocks, conflicts = state.extras["agem/figures"].tolist()
            m.set_counter("headwater_agem_blocks_total", {}, float(blocks))
            m.set_counter("headwater_agem_conflicts_total", {}, float(conflicts))
            share = conflicts / blocks if blocks else 0.0
            m.gauge("headwater_gradient_conflict_ratio").set(share)

        restarts = sum(
            float(vector.sum())
            for name, vector in state.extras.items()
            if name.startswith(RESTARTS)
        )
        m.set_counter("headwater_covariance_restarts_total", {}, restarts)

    def status(self, seen: Seen, inbox: Inbox | None, said: dict[str, Any]) -> dict[str, Any]:
        """Return what `headwater status` shows; `said` is what the loop says of itself."""
        lag = inbox.lag if inbox is not None else {}
        outcomes = {
            "/".join(filter(None, key)): n
            for key, n in zip(OUTCOMES, seen.outcomes, strict=True)
            if n
        }
        age = None if self._saved_at is None else round(time.monotonic() - self._saved_at, 3)
        return {
            "name": seen.name,
            **said,
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "lineage": seen.lineage,
            "events_learned": outcomes.get("learned", 0),
            "records": dict(seen.records),
            "outcomes": outcomes,
            **({"failing_experts": seen.failing} if seen.failing else {}),
            "partitions": [
                {
                    "topic": topic,
                    "partition": partition,
                    "cursor": cursor,
                    "snapshot_offset": self.snapshot_offsets.get((topic, partition)),
                    "lag_records": lag.get((topic, partition)),
                }
                for (topic, partition), cursor in sorted(seen.cursors.items())
            ],
            "snapshot": {"version": self.snapshot_version, "age_seconds": age},
            "trained_through": nested(seen.cursors),
            "challengers": self._challengers,
        }

    def _count(self, source: Source) -> None:
        """Add what this source has met since the last time; the next source begins at nothing."""
        before, silences, failures = self._counted
        if before is not source:
            silences, failures = Counter(), 0
        self._counted = source, source.silences.copy(), source.commit_failures
        silent = self.metrics.counter("headwater_partition_silent_total")
        for (topic, partition), n in (self._counted[1] - silences).items():
            silent.inc(float(n), topic, str(partition))
        refused = self.metrics.counter("headwater_commit_failures_total")
        refused.inc(float(self._counted[2] - failures))

    def _headroom(self, inbox: Inbox) -> Offsets:
        if inbox.source is None:
            return {}
        cursors = inbox.source.cursors
        return {
            place: headroom - cursors[place] + self.snapshot_offsets[place]
            for place, headroom in inbox.source.headroom().items()
            if place in self.snapshot_offsets
        }

    def _experts(self, learner: Learner) -> None:
        self._ward.look(learner)
        effort = learner.layout.kind.effort(learner.state.extras)
        self.metrics.gauge("headwater_shed_level").set(float(effort.level))
        for work, n in zip(learner.sheds, effort.rows, strict=False):
            self.metrics.set_counter("headwater_shed_rows_total", {"work": work}, float(n))
        for one in leaderboard(learner):
            target, expert = one["target"], one["expert"]
            self.metrics.gauge("headwater_expert_weight").set(one["weight"], target, expert)
            by = {"target": target, "expert": expert}
            self.metrics.set_counter("headwater_expert_restarts_total", by, float(one["restarts"]))
            self.metrics.gauge("headwater_expert_awake").set(float(one["awake"]), target, expert)
            for metric, value in one["fading"].items():
                if value is not None:
                    self.metrics.gauge("headwater_expert_score").set(value, target, expert, metric)

    def see_challengers(self, learner: Learner) -> None:
        """Say of each model beside the main one how it does; nothing where there is none."""
        m, self._challengers = self.metrics, learner.challengers()
        for name, one in self._challengers.items():
            m.gauge("headwater_answering").set(float(one["serves"]), name)
            for target, report in one["targets"].items():
                self._figures(target, report, name)
            if name == MAIN:
                continue
            m.gauge("headwater_challenger_events_learned").set(float(one["events_learned"]), name)
            m.gauge("headwater_challenger_rest_events").set(float(one["rests"]), name)
            for reason, times in one["failures"].items():
                labels = {"challenger": name, "reason": reason}
                m.set_counter("headwater_challenger_failures_total", labels, float(times))

    def _figures(self, target: str, report: dict[str, Any], model: str) -> None:
        score = self.metrics.gauge("headwater_score")
        for window, key in (("cumulative", "metrics"), ("fading", "fading")):
            for metric, value in report[key].items():
                if value is not None:
                    score.set(value, target, metric, window, model)

    def _offsets(self, name: str, offsets: Mapping[TP, float]) -> None:
        gauge = self.metrics.gauge(name)
        for (topic, partition), value in offsets.items():
            gauge.set(float(value), topic, str(partition))

    def _scores(self, target: str, report: dict[str, Any]) -> None:
        self._figures(target, report, "live")
        if report["held_out"]:
            self._figures(target, report["held_out"], "held_out")
        baseline = self.metrics.gauge("headwater_baseline_score")
        for name, figures in report["baselines"].items():
            for metric, value in figures.items():
                if value is not None:
                    baseline.set(value, target, metric, name)
        for level, value in report.get("intervals", {}).items():
            if value is not None:
                self.metrics.gauge("headwater_interval_coverage").set(value, target, level)
