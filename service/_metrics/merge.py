"""Samples of a process as a file, and the files of all processes as one exposition.

Knows the JSON shape of the files and Prometheus' text format 0.0.4 (through prometheus_client).
Does not know which metrics there are. A file that cannot be read, or a family that another
version of the service declared otherwise, is left out and logged: one bad neighbour never costs
the scrape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service._metrics.series import Declared, Rows

_log = structlog.get_logger(__name__)


class Platform(msgspec.Struct, frozen=True):
    """A metric of the operating system about one process (memory, CPU, file descriptors)."""

    name: str
    kind: str
    help: str
    sample: str
    value: float


class Samples(msgspec.Struct, frozen=True):
    """What one process has counted."""

    process: str
    written_at_ns: int
    families: dict[str, Rows]
    platform: list[Platform]


def platform_samples(collector: ProcessCollector) -> list[Platform]:
    """Memory, CPU and open files of this process; nothing where the system does not tell."""
    return [
        Platform(family.name, family.type, family.documentation, sample.name, sample.value)
        for family in collector.collect()
        for sample in family.samples
    ]


def write_samples(samples: Samples, path: Path) -> None:
    fresh = path.with_suffix(".json.new")
    fresh.write_bytes(msgspec.json.encode(samples))
    fresh.replace(path)


def read_samples(directory: Path) -> list[Samples]:
    """Every process's file in `directory`, by name."""
    read = []
    for path in sorted(directory.glob("metrics-*.json")):
        try:
            read.append(msgspec.json.decode(path.read_bytes(), type=Samples))
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("metrics_file_unreadable", file=path.name, error=str(error))
    return read


def exposition(declared: Iterable[Declared], own: Samples, others: Sequence[Samples]) -> bytes:
    """All samples as text, each family once, each sample with the label `process`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(list(declared), own, others))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, declared: list[Declared], own: Samples, others: Sequence[Samples]) -> None:
        self._declared = declared
        self._own = own
        self._others = others

    def collect(self) -> Iterable[Metric]:
        for metric in self._declared:
            family = Metric(metric.name.removesuffix("_total"), metric.help, metric.kind)
            for process, rows in self._rows(metric):
                _add(family, metric, process, rows)
            yield family
        yield from self._platform()

    def _rows(self, metric: Declared) -> Iterable[tuple[str, Rows]]:
        if metric.by == "reader":
            known = {s.process: s.families.get(metric.name, []) for s in self._others}
            yield "learner", self._own.families.get(metric.name) or known.get("learner", [])
            return
        for samples in (self._own, *self._others):
            yield samples.process, samples.families.get(metric.name, [])

    def _platform(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for samples in (self._own, *self._others):
            for one in samples.platform:
                family = families.setdefault(one.name, Metric(one.name, one.help, one.kind))
                family.add_sample(one.sample, {"process": samples.process}, one.value)
        yield from families.values()


def _add(family: Metric, metric: Declared, process: str, rows: Rows) -> None:
    for values, value in rows:
        counted = len(value) if isinstance(value, list) else 0
        expected = len(metric.buckets) + 2 if metric.kind == "histogram" else 0
        if len(values) != len(metric.labels) or counted != expected:
            _log.warning("metrics_of_another_version", metric=metric.name, process=process)
            continue
        labels = {**dict(zip(metric.labels, values, strict=True)), "process": process}
        if isinstance(value, list):
            _add_histogram(family, metric, labels, value)
        else:
            family.add_sample(metric.name, labels, value)


def _add_histogram(
    family: Metric, metric: Declared, labels: dict[str, str], value: list[float]
) -> None:
    *counts, total = value
    below = 0.0
    for bound, count in zip((*metric.buckets, math.inf), counts, strict=True):
        below += count
        bucket = {**labels, "le": "+Inf" if bound == math.inf else repr(bound)}
        family.add_sample(f"{metric.name}_bucket", bucket, below)
    family.add_sample(f"{metric.name}_count", labels, below)
    family.add_sample(f"{metric.name}_sum", labels, total)
