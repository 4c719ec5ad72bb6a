"""The three kinds of metric, and what one of them is declared as.

Knows counting and labels. Does not know which metrics there are, nor how they are shown. The value
comes first, then its labels by position, in declared order. Every method may be called from any thread.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np

Labels = tuple[str, ...]
Rows = list[tuple[list[str], float | list[float]]]  # a histogram's value: [bucket counts..., sum]


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: what it is called, what it says, which labels tell its series apart.

    `by` says which process counts it. "reader": a fact about the learner that every API process
    reads from the live file; shown once, as process="learner", by the reader that is scraped.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    by: Literal["learner", "api", "both", "reader", "supervisor"] = "learner"


class Counter:
    """A number that only grows."""

    def __init__(self, declared: Declared, lock: threading.Lock) -> None:
        self.declared = declared
        self._lock = lock
        self._values: dict[Labels, float] = {}

    def inc(self, by: float = 1.0, *labels: str) -> None:
        assert len(labels) == len(self.declared.labels), (self.declared.name, labels)
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + by

    def set(self, value: float, *labels: str) -> None:
        """For counts kept elsewhere (in the learner's state), which are absolute."""
        assert len(labels) == len(self.declared.labels), (self.declared.name, labels)
        with self._lock:
            self._values[labels] = value

    def get(self, *labels: str) -> float:
        return self._values.get(labels, 0.0)

    def rows(self) -> Rows:
        with self._lock:
            return [(list(labels), v) for labels, v in self._values.items() if math.isfinite(v)]


class Gauge(Counter):
    """A number that goes both ways; one that is not finite is not known, and not shown."""

    def set_only(self, value: float, *labels: str) -> None:
        """Make this the one series: what the labels said before is not true any more."""
        with self._lock:
            self._values = {labels: value}


class Histogram:
    """Counts of values by size. `observe_many` takes a whole array at once."""

    def __init__(self, declared: Declared, lock: threading.Lock) -> None:
        self.declared = declared
        self._lock = lock
        self._bounds = np.asarray(declared.buckets, dtype=np.float64)
        self._counts: dict[Labels, np.ndarray] = {}
        self._sums: dict[Labels, float] = {}

    def _series(self, labels: Labels) -> np.ndarray:
        counts = self._counts.get(labels)
        if counts is None:
            assert len(labels) == len(self.declared.labels), (self.declared.name, labels)
            counts = self._counts[labels] = np.zeros(len(self._bounds) + 1, dtype=np.int64)
            self._sums[labels] = 0.0
        return counts

    def start(self) -> None:
        """Show the series before the first value: a rate needs a zero to start from."""
        with self._lock:
            self._series(())

    def observe(self, value: float, *labels: str) -> None:
        bucket = 0
        for bound in self.declared.buckets:  # a dozen compares cost less than one numpy call
            if value <= bound:
                break
            bucket += 1
        with self._lock:
            self._series(labels)[bucket] += 1
            self._sums[labels] += value

    def observe_many(self, values: np.ndarray, *labels: str) -> None:
        if len(values) == 0:
            return
        buckets = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(buckets, minlength=len(self._bounds) + 1)
        total = float(np.sum(values))
        with self._lock:
            self._series(labels)[:] += counts
            self._sums[labels] += total

    def rows(self) -> Rows:
        with self._lock:
            return [
                (list(labels), [*map(float, counts), self._sums[labels]])
                for labels, counts in self._counts.items()
            ]
