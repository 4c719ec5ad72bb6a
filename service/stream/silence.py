"""Finds partitions that have more, and bring nothing: a client that went deaf without a word.

Pure. What there is comes from a survey, which asks the cluster on a way of its own; what came,
from the lanes. Only time in which somebody listened counts, and in which the broker answers, so
neither a slow caller nor a broker that is away makes a partition deaf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from service.logs import logger
from service.stream.lanes import Lane
from service.stream.records import TP, Offsets

_log = logger(__name__)


class Silence:
    """How long each partition has been silent although it has more."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self.counts: Counter[TP] = Counter()
        self._heard: dict[TP, tuple[int, float]] = {}

    def over(self, lanes: Iterable[Lane], highs: Offsets, listened_s: float) -> list[Lane]:
        """Return lanes that were silent for too long; they are given as much time again.

        highs: ends as surveyed, read_committed. listened_s: since the last call.
        """
        silent = []
        for lane in lanes:
            reached = max(lane.next_offset, lane.end_offset)
            waits = highs.get(lane.partition, 0) > reached
            if not waits or lane.parked or lane.lost:
                self._heard.pop(lane.partition, None)
                continue
            known, quiet_s = self._heard.get(lane.partition, (reached, 0.0))
            quiet_s = quiet_s + listened_s if known == reached else 0.0
            if quiet_s >= self._after_s:
                silent.append(lane)
                self._tell(lane, highs[lane.partition])
                quiet_s = 0.0
            self._heard[lane.partition] = reached, quiet_s
        return silent

    def _tell(self, lane: Lane, end: int) -> None:
        topic, partition = lane.partition
        self.counts[lane.partition] += 1
        _log.error(
            "partition silent although it has more",
            topic=topic,
            partition=partition,
            offset=lane.next_offset,
            end=end,
            after_s=self._after_s,
        )
