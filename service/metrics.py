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

from service._metrics.declared import METRICS, STATES
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
