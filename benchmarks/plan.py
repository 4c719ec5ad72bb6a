"""What a benchmark is given: where to measure, how much, and whom to tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster import Cluster, Say


@dataclass(frozen=True)
class Plan:
    """The same for every benchmark of a run. `folder` is empty, and goes away afterwards."""

    cluster: Cluster
    folder: Path
    say: Say
    events: int
    rounds: int
    seconds: float
    kind: str = "linear"
    """Of the model."""
