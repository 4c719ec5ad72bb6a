"""Every metric of the service, declared once; and what one process has counted of them.

Knows names, kinds, labels and buckets. Does not know who counts what, nor HTTP. A process owns
one `Metrics`, and writes its samples as JSON into the runtime directory; whoever answers a scrape
merges all files with its own fresh samples, adding the label `process`.
Prometheus' multiprocess mode is not used. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import ProcessCollector

from service._metrics.merge import (
    Samples,
    exposition,
    platform_samples,
    read_samples,
    write_samples,
)
from service._metrics.series import Counter, Declared, Gauge, Histogram
from service._metrics.writer import Writer

__all__ = [
    "CONTENT_TYPE",
    "METRICS",
    "STATES",
    "Counter",
    "Gauge",
    "Histogram",
    "Metrics",
    "file_of",
    "merge",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("restoring", "replaying", "learning", "idle", "paused", "frozen", "halted", "down")

_SHORT = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5)
_HTTP = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5)
_STEP = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0)
_FRESH = (
    *(1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2, 7.5e-2),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
_DISK = (1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

_TP = ("topic", "partition")

METRICS: tuple[Declared, ...] = (
    Declared("headwater_records_total", "counter", "Kafka records taken into a cut.", ("topic",)),
    Declared(
        "headwater_events_total",
        "counter",
        "Events by the one outcome each ended in, and why.",
        ("outcome", "reason"),
    ),
    Declared("headwater_cuts_total", "counter", "Cuts by what closed them.", ("trigger",)),
    Declared(
        "headwater_dead_letters_total",
        "counter",
        "Events for the dead-letter topic, there or not.",
        ("reason",),
    ),
    Declared(
        "headwater_data_loss_total",
        "counter",
        "Losses of records that had not been learned, by cause.",
        ("reason",),
    ),
    Declared(
        "headwater_skipped_offsets_total",
        "counter",
        "Offsets passed over without learning their records.",
        ("reason",),
    ),
    Declared("headwater_partition_silent_total", "counter", "Times a reader went deaf.", _TP),
    Declared("headwater_commit_failures_total", "counter", "Commits that Kafka refused."),
    Declared(
        "headwater_crash_suspect_deaths",
        "gauge",
        "Deaths in a row with the same records in hand; 0 when they got through.",
    ),
    Declared(
        "headwater_snapshots_total",
        "counter",
        "Snapshots written (success, failure), and damaged ones found at the start (refused).",
        ("result",),
    ),
    Declared(
        "headwater_http_requests_total",
        "counter",
        "HTTP requests by route template and status.",
        ("method", "route", "code"),
        by="api",
    ),
    Declared("headwater_replay_divergence_total", "counter", "Replays that gave other bits."),
    Declared(
        "headwater_read_retries_total",
        "counter",
        "Predictions computed again because their slot was overwritten meanwhile.",
        by="api",
    ),
    Declared(
        "headwater_field_unknown_total",
        "counter",
        "Events asked about with a field the model does not know.",
        ("field",),
        by="api",
    ),
    Declared(
        "headwater_field_missing_total",
        "counter",
        "Events asked about without a field the model knows.",
        ("field",),
        by="api",
    ),
    Declared(
        "headwater_learner_time_seconds_total",
        "counter",
        "Where the learner's time goes.",
        ("phase",),
    ),
    Declared("headwater_guard_alarms_total", "counter", "Alarms of the guard.", ("by",)),
    Declared("headwater_rollbacks_total", "counter", "Rollbacks, by who ordered them.", ("by",)),
    Declared("headwater_capped_updates_total", "counter", "Events whose update hit the cap."),
    Declared("headwater_guard_usual_loss", "gauge", "Mean loss of a block that is not special."),
    Declared("headwater_guard_suspicion", "gauge", "Height of the watch's sum; 12 is an alarm."),
    Declared("headwater_frozen_version", "gauge", "Version that is served while frozen."),
    Declared("headwater_audit_failures_total", "counter", "Lines lost to the audit log."),
    Declared(
        "headwater_restarts_total",
        "counter",
        "Processes started again, by why: ended, or hung (no sign of life).",
        ("child", "reason"),
        by="supervisor",
    ),
    Declared("headwater_version", "gauge", "Last version the learner journaled."),
    Declared("headwater_published_version", "gauge", "Last version written to the live file."),
    Declared("headwater_served_version", "gauge", "Version this process answers from.", by="api"),
    Declared(
        "headwater_served_age_seconds", "gauge", "Age of the version answered from.", by="api"
    ),
    Declared("headwater_events_learned", "gauge", "Events in the weights of the last version."),
    Declared("headwater_lag_records", "gauge", "Records on the topic not yet learned.", _TP),
    Declared("headwater_lag_seconds", "gauge", "Age of the last learned record; 0 at the end."),
    Declared("headwater_cursor_offset", "gauge", "Next offset to learn.", _TP),
    Declared("headwater_snapshot_offset", "gauge", "Next offset in the last snapshot.", _TP),
    Declared(
        "headwater_retention_headroom_records",
        "gauge",
        "Records between the topic's low end and the last snapshot; below 0: lost.",
        _TP,
    ),
    Declared(
        "headwater_learner_up",
        "gauge",
        "1 while the learner's heartbeat is fresh.",
        by="reader",
    ),
    Declared(
        "headwater_learner_state",
        "gauge",
        "1 for the state the learner is in, 0 for the others.",
        ("state",),
        by="reader",
    ),
    Declared(
        "headwater_learner_heartbeat_timestamp_seconds",
        "gauge",
        "When the learner last gave a sign of life, seconds since the epoch.",
        by="reader",
    ),
    Declared(
        "headwater_score",
        "gauge",
        "Prequential metrics: every event scored before it is learned.",
        ("target", "metric", "window", "model"),
    ),
    Declared(
        "headwater_baseline_score",
        "gauge",
        "The same metrics for baselines that learn nothing from features.",
        ("target", "metric", "baseline"),
    ),
    Declared(
        "headwater_build_info",
        "gauge",
        "Always 1; the labels say what runs.",
        ("version", "python", "torch"),
        by="both",
    ),
    Declared(
        "headwater_model_info",
        "gauge",
        "Always 1; the labels say which model is served.",
        ("model", "lineage", "layout"),
        by="api",
    ),
    Declared(
        "headwater_freshness_seconds",
        "histogram",
        "From the record's timestamp to the published version that has learned it.",
        buckets=_FRESH,
    ),
    Declared("headwater_step_duration_seconds", "histogram", "Learning one cut.", buckets=_STEP),
    Declared(
        "headwater_cut_duration_seconds",
        "histogram",
        "One cut from taken to journaled and applied.",
        buckets=_STEP,
    ),
    Declared("headwater_publish_seconds", "histogram", "Writing one version live.", buckets=_SHORT),
    Declared(
        "headwater_snapshot_pause_seconds",
        "histogram",
        "Learning held up to copy a piece of a snapshot; many pieces to one.",
        buckets=_STEP,
    ),
    Declared(
        "headwater_snapshot_duration_seconds",
        "histogram",
        "A snapshot from start to durable.",
        buckets=_DISK,
    ),
    Declared(
        "headwater_http_request_duration_seconds",
        "histogram",
        "From a request's headers to the last byte of its reply.",
        ("route",),
        buckets=_HTTP,
        by="api",
    ),
    Declared(
        "headwater_forward_seconds",
        "histogram",
        "Events to scores for one request, without HTTP.",
        buckets=_SHORT,
        by="api",
    ),
)


class Metrics:
    """The samples of this process, by declared name.

    `process` is "learner" or "api-<n>". What is known only when asked for (the age of the served
    version) is set by the functions given to `before_reading`.
    """

    def __init__(self, process: str) -> None:
        self.process = process
        lock = threading.Lock()
        self._counters = {m.name: Counter(m, lock) for m in METRICS if m.kind == "counter"}
        self._gauges = {m.name: Gauge(m, lock) for m in METRICS if m.kind == "gauge"}
        self._histograms = {m.name: Histogram(m, lock) for m in METRICS if m.kind == "histogram"}
        self._asked: list[Callable[[], None]] = []
        self._platform = ProcessCollector(registry=None)
        role = process.partition("-")[0]
        for metric in METRICS:
            if not metric.labels and metric.by in (role, "both"):
                self._start(metric)

    def _start(self, metric: Declared) -> None:
        if metric.kind == "counter":
            self._counters[metric.name].set(0.0)
        if metric.kind == "histogram":
            self._histograms[metric.name].start()

    def counter(self, name: str) -> Counter:
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def set_counter(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Set a count that is kept elsewhere (in the learner's state) and survives restarts."""
        counter = self._counters[name]
        counter.set(value, *(labels[label] for label in counter.declared.labels))

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` each time the samples are about to be written or shown."""
        self._asked.append(refresh)

    def samples(self) -> Samples:
        for refresh in self._asked:
            refresh()
        kept: list[Counter | Histogram] = [*self._counters.values(), *self._gauges.values()]
        kept.extend(self._histograms.values())
        return Samples(
            process=self.process,
            written_at_ns=time.time_ns(),
            families={one.declared.name: rows for one in kept if (rows := one.rows())},
            platform=platform_samples(self._platform),
        )

    def write(self, path: Path) -> None:
        """Replace the file at `path` by this process's samples, at once or not at all."""
        write_samples(self.samples(), path)

    def kept_in(self, directory: Path, every_s: float = 1.0) -> Writer:
        """Return a context in which a thread keeps this process's file in `directory` fresh."""
        path = file_of(self.process, directory)
        return Writer(lambda: self.write(path), str(path), every_s)


def file_of(process: str, directory: Path) -> Path:
    """Where a process keeps its samples for the others."""
    return directory / f"metrics-{process}.json"


def merge(own: Metrics, directory: Path) -> bytes:
    """The text exposition of every process: `own` fresh, the others from their files."""
    fresh = own.samples()
    others = [s for s in read_samples(directory) if s.process != own.process]
    return exposition(METRICS, fresh, others)
