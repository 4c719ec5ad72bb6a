"""One lane: what is buffered of one partition, and what is known about what comes after it.

Pure: knows no Kafka and reads no clock. Records go in and out in the order of their offsets.
`times` are what the merge orders by; a lane's `limit` is the time that its next, still unknown
record will probably not be before.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from service.stream.records import TP, Epochs, Record

UNKNOWN = -(2**63)
"""The limit of a lane that was never heard."""

FLOW_S = 0.1
"""How long a lane's flow is remembered."""

_COMPACT_AT = 64
_offset = attrgetter("offset")


class Lane:
    """The buffered records of one partition."""

    def __init__(self, partition: TP, offset: int, now_s: float, epoch: int = -1) -> None:
        self.partition = partition
        self.rank = 0
        """Place among all lanes by (topic, partition); decides between equal times."""
        self.next_offset = offset
        """What is fetched next."""
        self.heard_s = now_s
        """When a record was last heard of, or reading began."""
        self.put_s = now_s
        """When records last came."""
        self.at_end = False
        """Nothing readable is behind `next_offset`, as far as heard."""
        self.end_offset = -1
        """Where the end was heard to be: everything readable before it has been put."""
        self.end_high = -1
        """The high watermark when the end was heard: a higher one means that more is coming."""
        self._flow = 0.0
        self._flow_s = now_s
        self.parked = False
        """Not read at the moment, because it has more than its share."""
        self.lost = False
        """The broker refused `next_offset`; nothing more comes until somebody decides."""
        self.cut_off_at: int | None = None
        """Where the log was cut off, if that is why it is lost."""
        self.epoch = epoch
        """Leader epoch of the newest record that was put; -1 where the broker tells none."""
        self.taken_epoch = epoch
        """Leader epoch of the last record that was taken."""
        self._epochs: deque[tuple[int, int]] = deque()
        """Where the epoch changes among the buffered records: first offset, epoch."""
        self.doubts: deque[tuple[int, int, float]] = deque()
        """Buffered records that may be of another topic of that name: first offset, the look at
        the topic that proves them, and until when (seconds) that is waited for."""
        self.limit = UNKNOWN
        self.corrected = False
        """Some buffered record is ordered by another time than its timestamp."""
        self._records: list[Record] = []
        self._times: NDArray[np.int64] = np.empty(256, dtype=np.int64)
        self._head = 0
        self._arrivals: deque[tuple[int, float]] = deque()
        self._taken = 0

    def __len__(self) -> int:
        return len(self._records) - self._head

    @property
    def oldest_s(self) -> float:
        """When the first buffered record arrived. Only for a lane that holds records."""
        return self._arrivals[0][1]

    def put(
        self, records: list[Record], times: NDArray[np.int64], now_s: float, epoch: int = -1
    ) -> None:
        """Append records that follow the ones before."""
        self._make_room(len(records))
        tail = len(self._records)
        self._times[tail : tail + len(records)] = times
        self._records += records
        newest = int(times.max())
        self.limit = max(self.limit, newest) if self._head < tail else newest
        self._arrivals.append((self._taken + len(self), now_s))
        self.next_offset = records[-1].offset + 1
        if epoch != self.epoch:
            self._epochs.append((records[0].offset, epoch))
            self.epoch = epoch
        self.heard_s = self.put_s = now_s
        self._flow = self._flow * math.exp((self._flow_s - now_s) / FLOW_S) + len(records)
        self._flow_s = now_s
        self.at_end = False

    def ended(self, offset: int, high: int) -> None:
        """Everything readable before `offset` has been put, and nothing readable is behind it.

        high: the high watermark at that time; above `offset` where a transaction is open.
        """
        self.at_end = True
        self.end_offset, self.end_high = offset, high

    def more(self, now_s: float) -> None:
        """There is more to come than was thought."""
        self.at_end = False
        self.heard_s = now_s

    def owed(self, quiet_s: float) -> float:
        """Return how many records would have come in so much quiet, had it gone on as before."""
        return self._flow * (quiet_s / FLOW_S) * math.exp(-quiet_s / FLOW_S)

    def keys(self, most: int) -> NDArray[np.int64]:
        """Return the merge keys of the first records: running maxima of their times."""
        times = self._times[self._head : min(self._head + most, len(self._records))]
        return np.maximum.accumulate(times)

    def before(self, offset: int) -> int:
        """Return how many buffered records come before `offset`."""
        return bisect_left(self._records, offset, lo=self._head, key=_offset) - self._head

    def doubted(self, proven: int, now_s: float) -> int | None:
        """Return how many buffered records come before those that no look has proven yet, None
        where there are none of these. `proven`: the last look that was answered."""
        while self.doubts and (self.doubts[0][1] <= proven or self.doubts[0][2] < now_s):
            self.doubts.popleft()
        return self.before(self.doubts[0][0]) if self.doubts else None

    def take(self, count: int) -> tuple[list[Record], NDArray[np.int64]]:
        """Remove and return the first records, and the times they were ordered by."""
        end = self._head + count
        records, times = self._records[self._head : end], self._times[self._head : end].copy()
        self._head = end
        self._taken += count
        while self._arrivals and self._arrivals[0][0] <= self._taken:
            self._arrivals.popleft()
        while self._epochs and self._epochs[0][0] <= records[-1].offset:
            self.taken_epoch = self._epochs.popleft()[1]
        if not len(self):
            self.limit = int(times[-1])
            self.corrected = False
        elif int(times.max()) >= self.limit:
            self.limit = int(self._times[end : len(self._records)].max())
        self._let_go()
        return records, times

    def restart(self, offset: int, now_s: float) -> None:
        """Forget what is buffered; go on at `offset`."""
        self._taken += len(self)
        self._records.clear()
        self._arrivals.clear()
        self._head = 0
        self.next_offset, self.heard_s = offset, now_s
        self.at_end = self.lost = self.parked = False
        self.end_offset = self.end_high = -1
        self.cut_off_at, self.epoch, self.taken_epoch = None, -1, -1
        self._epochs.clear()
        self.doubts.clear()

    def _let_go(self) -> None:
        """Drop what was taken once it is half of what is held."""
        held = len(self)
        if self._head >= max(_COMPACT_AT, held):
            self._times[:held] = self._times[self._head : len(self._records)]
            del self._records[: self._head]
            self._head = 0

    def _make_room(self, count: int) -> None:
        need = len(self._records) + count
        if need > len(self._times):
            grown = np.empty(max(need, 2 * len(self._times)), dtype=np.int64)
            grown[: len(self._records)] = self._times[: len(self._records)]
            self._times = grown


def epochs_of(lanes: Iterable[Lane]) -> Epochs:
    """Return what leader epochs the lanes were read under, where they are known."""
    return {lane.partition: lane.epoch for lane in lanes if lane.epoch >= 0}
