"""Versions going live, and signs of life: the writing side of the live file, on its schedule."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.learn.herald import Herald
from service.learn.learner import Learner
from service.learn.meanwhile import Meanwhile
from service.learn.standing import nested
from service.learn.telemetry import Telemetry
from service.weights.live_writer import LiveWriter

_BEAT_S = 0.25


class Publisher:
    """Publishes the newest version at most every `publish_s`; called by the loop's thread."""

    def __init__(
        self,
        live: LiveWriter,
        telemetry: Telemetry,
        publish_s: float,
        herald: Herald | None = None,
    ) -> None:
        self.version: int | None = None
        """The version that answers; None before this process published one."""
        self._live = live
        self._telemetry = telemetry
        self._publish_s = publish_s
        self._herald = herald or Herald()
        self._due = self._beat_due = 0.0
        self._fresh: list[NDArray[np.int64]] = []
        self._said: dict[str, Any] | None = None
        self._beating = threading.Lock()
        self.said_s = time.monotonic()
        """When the last sign of life was given, repetitions not counted."""
        self.meanwhile = Meanwhile(self._repeat, lambda: self.said_s)
        """Gives signs of life while the loop's thread waits for Kafka or a disk."""

    def learned(self, timestamps_ms: NDArray[np.int64]) -> None:
        """Remember the times of records that the next version to go live has learned."""
        self._fresh.append(timestamps_ms)

    def wait_s(self, learner: Learner, longest_s: float) -> float:
        """Return how long the loop may wait for a cut before something must be published."""
        if self.version == learner.standing.version:
            return longest_s
        return min(longest_s, max(self._due - time.monotonic(), 0.001))

    def is_due(self, learner: Learner) -> bool:
        """Its version does not answer yet, and the last one did not go live just now."""
        return self.version != learner.standing.version and time.monotonic() >= self._due

    def publish(self, learner: Learner) -> None:
        """Let its version answer."""
        began, standing = time.monotonic(), learner.standing
        meta = {
            "name": learner.recipe.name,
            "version": standing.version,
            "lineage": standing.lineage,
            "events_learned": learner.events_learned,
            "trained_through": nested(standing.cursors),
            "published_at_ns": time.time_ns(),
            "event_time_ms": standing.event_time_ms,
        }
        if learner.state.rivals:
            meta["answered_by"] = learner.state.serves
        if not self._live.publish(learner.state.image, learner.state.take_touched(), meta):
            return  # a reader still computes on that slot; soon again
        ended = time.monotonic()
        self.version = standing.version
        self._herald.published(learner)
        self._due = began + self._publish_s
        self._telemetry.published(standing.version, ended - began, self._fresh)
        self._telemetry.spent("publish", ended - began)
        self._fresh = []

    def beat(
        self,
        version: int,
        state: str,
        reason: str | None,
        lag: int | None,
        progress: float | None = None,
    ) -> None:
        """Give a sign of life now. version: the newest that is journaled."""
        self.said_s = time.monotonic()
        self._beat_due = self.said_s + _BEAT_S
        self._herald.beat(state, lag)
        with self._beating:
            self._said = {
                "state": state,
                "reason": reason,
                "lag_records": lag,
                "progress": progress,
                "pid": os.getpid(),
                "version": version,
            }
            self._live.beat(self._said)

    def close(self) -> None:
        """Repeat nothing any more; before the live file is let go."""
        self.meanwhile.close()

    def _repeat(self) -> None:
        with self._beating:
            if self._said is not None:
                self._live.beat(self._said)

    @property
    def beat_is_due(self) -> bool:
        """A quarter of a second since the last sign of life."""
        return time.monotonic() >= self._beat_due
