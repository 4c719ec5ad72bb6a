"""Order records of many partitions by time, within a bounded buffer, and cut them into batches.

Pure: no Kafka, no thread; the time comes in as an argument (seconds of any steady clock).

The order. The next record is taken from the partition whose next record is oldest, ties by
(topic, partition); within a partition always by offset, so a prefix of each partition is taken.
Rows of a cut are then sorted by (timestamp, topic, partition, offset).

Who is waited for. After its last buffered record a lane may still bring an older record than
those of other lanes, so nothing newer than its `limit` is taken, until the lane is
- at the end of its partition, and quiet for `linger_s`, or longer if going by its flow a good many
  records are due (a publisher that writes flat out fills partitions in turns), or
- at the end of its partition while the buffer is full, or
- not at its end, but silent for `stall_s` all the same (its broker is in trouble).
Records that are doubted (`doubt`) hold back what comes after them in the same way.
Quiet is measured to the last moment when nothing was waiting in the client (`drained`), so a slow
caller never mistakes its own slowness for an idle partition. An idle partition holds back nobody.

When a cut goes out: as soon as `batch_rows` records can be taken, else `linger_s` after the
oldest buffered record arrived or the last cut went out, with what can be taken then.

The bound: `buffer_records` in total. When it is reached and everything waits for one lane, lanes
with their share or more are parked (not read until down to half of it), so what is waited for can
always come. At most twice `buffer_records`, and one fetch, are ever held.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from service.stream.broker import Run
from service.stream.lanes import UNKNOWN, Lane
from service.stream.records import TP, Cut, Offsets, Trigger

PATIENCE_S = 0.5
"""Longest that a lane at its end is waited for because of its flow."""

STALL_S = 2.0
"""Longest that a lane is waited for that has, or may have, more."""

PAUSE_S = 0.4
"""A topic that is made anew brings nothing for longer than this in between."""

FUTURE_MS = 3_600_000
"""A timestamp further ahead of the clock than this is no time; arrival counts instead."""


class Cutter:
    """Lanes, and the decision what to take from them next."""

    def __init__(self, *, batch_rows: int, linger_s: float, buffer_records: int) -> None:
        self._batch = min(batch_rows, buffer_records)
        self._linger_s = linger_s
        self._buffer_records = buffer_records
        self._lanes: list[Lane] = []
        self._by_partition: dict[TP, Lane] = {}
        self._total = 0
        self.proof: tuple[int, float] = (0, 0.0)
        """The last look at the topics that was answered, and for how long in all nobody could look:
        that is no time to wait. See `doubt`."""
        self._drained_s = -1e18
        self._last_cut_s = -1e18

    def __len__(self) -> int:
        return self._total

    @property
    def lanes(self) -> list[Lane]:
        """Every lane, by (topic, partition)."""
        return self._lanes

    @property
    def room(self) -> int:
        """How many records may still come in before the buffer is full."""
        return max(0, self._buffer_records - self._total)

    @property
    def share(self) -> int:
        """What each lane may hold when the buffer is full."""
        return max(1, self._buffer_records // max(1, len(self._lanes)))

    def lane(self, partition: TP) -> Lane | None:
        """Return the lane of a partition, None if it is not read."""
        return self._by_partition.get(partition)

    def start(self, partition: TP, offset: int, now_s: float, epoch: int = -1) -> None:
        """Begin a lane. `epoch`: the leader epoch of what comes before `offset`."""
        assert partition not in self._by_partition, f"{partition} is read already"
        self._by_partition[partition] = Lane(partition, offset, now_s, epoch)
        self._lanes = [self._by_partition[known] for known in sorted(self._by_partition)]
        for rank, lane in enumerate(self._lanes):
            lane.rank = rank

    def restart(self, partition: TP, offset: int, now_s: float) -> None:
        """Forget what a lane holds and go on at `offset`."""
        lane = self._by_partition[partition]
        self._total -= len(lane)
        lane.restart(offset, now_s)

    def put(self, run: Run, now_s: float, wall_ms: int) -> int | None:
        """Take in records that arrived. Those a lane has had already are left out.

        Returns the first offset where they came after a pause in which a topic can be made anew:
        the client waits half a second before it reads on after the error that a deleted one gives.
        """
        lane = self._by_partition.get((run.topic, run.partition))
        if lane is None or lane.parked:
            return None  # fetched before it was taken away, and fetched again if it is wanted
        records, times = run.records, np.array(run.times_ms, dtype=np.int64)
        if records[0].offset < lane.next_offset:
            fresh = [i for i, record in enumerate(records) if record.offset >= lane.next_offset]
            records, times = [records[i] for i in fresh], times[fresh]
            if not records:
                return None
        if int(times.max()) > wall_ms + FUTURE_MS:
            times = np.where(times > wall_ms + FUTURE_MS, wall_ms, times)
            lane.corrected = True
        paused = now_s - lane.put_s >= PAUSE_S
        lane.put(records, times, now_s, run.epoch)
        self._total += len(records)
        return records[0].offset if paused else None

    def doubt(self, partition: TP, offset: int, look: int, until_s: float) -> None:
        """Take nothing from this offset on, nor what comes after it in order, before that look at
        the topics was answered, or the time has come (seconds, less what was lost; see `proof`)."""
        self._by_partition[partition].doubts.append((offset, look, until_s))

    def drained(self, now_s: float) -> None:
        """Nothing more was waiting in the client."""
        self._drained_s = now_s

    def returned(self, now_s: float) -> None:
        """Nobody was listening for a while: what was not heard meanwhile means nothing."""
        for lane in self._lanes:
            lane.heard_s = max(lane.heard_s, now_s)

    def cut(self, now_s: float) -> Cut | None:
        """Return the next cut if one is due."""
        due = self._total > 0 and now_s >= self._due_s()
        if not due and self._total < self._batch:
            return None
        counts, merged = self._merge(self._batch, now_s)
        if len(merged) >= self._batch or (len(merged) and not self.room and not self.holding()):
            return self._take(counts, merged, "size", now_s)
        return self._take(counts, merged, "time", now_s) if due and len(merged) else None

    def full_cut(self, now_s: float) -> Cut | None:
        """Return a full batch if nothing that waits in the client could belong before it."""
        if self._total < self._batch or not all(map(self._waits_for, self._lanes)):
            return None
        counts, merged = self._merge(self._batch, now_s)
        return self._take(counts, merged, "size", now_s) if len(merged) >= self._batch else None

    def take_before(self, next_offsets: Offsets) -> Cut:
        """Return what is buffered before these offsets, whatever the merge would say."""
        counts = [
            lane.before(next_offsets[lane.partition]) if lane.partition in next_offsets else 0
            for lane in self._lanes
        ]
        keys = [lane.keys(count) for lane, count in zip(self._lanes, counts, strict=True)]
        merged = np.argsort(np.concatenate(keys), kind="stable") if keys else np.empty(0, np.intp)
        return self._take(counts, merged, "flush", None)

    def due_in_s(self, now_s: float) -> float | None:
        """How long until what can be taken goes out by time; None while nothing is buffered."""
        return self._due_s() - now_s if self._total else None

    def patience_left_s(self, now_s: float) -> float:
        """How long until a lane that is waited for is waited for no more."""
        ends = [
            lane.heard_s + (self._linger_s if lane.at_end else STALL_S) - now_s
            for lane in self._open()
            if not (lane.parked or lane.lost)
        ]
        doubts = any(lane.doubts for lane in self._lanes)
        return max(0.002, min(ends, default=STALL_S if doubts else 0.0))

    def holding(self) -> TP | None:
        """Return the partition that everything waits for, if more of it can come."""
        lane = min(self._open(), key=lambda lane: (lane.limit, lane.rank), default=None)
        if lane is None or lane.at_end or lane.parked or lane.lost:
            return None
        return lane.partition

    def park(self, keep: Collection[TP]) -> list[TP]:
        """Return lanes to stop reading, so that others come through; `keep` are not touched."""
        parked = [
            lane
            for lane in self._lanes
            if not lane.parked and len(lane) >= self.share and lane.partition not in keep
        ]
        for lane in parked:
            lane.parked, lane.at_end = True, False
        return [lane.partition for lane in parked]

    def unpark(self, now_s: float, needed: Collection[TP] = ()) -> Offsets:
        """Return lanes to read again, and where to go on: `needed`, and those with little left."""
        ready = [
            lane
            for lane in self._lanes
            if lane.parked and (len(lane) <= self.share // 2 or lane.partition in needed)
        ]
        for lane in ready:
            lane.parked, lane.heard_s = False, now_s
        return {lane.partition: lane.next_offset for lane in ready}

    def _due_s(self) -> float:
        oldest = min(lane.oldest_s for lane in self._lanes if len(lane))
        return max(oldest, self._last_cut_s) + self._linger_s

    def _open(self) -> list[Lane]:
        """Lanes that are waited for once their buffered records are taken."""
        return [lane for lane in self._lanes if self._waits_for(lane)]

    def _waits_for(self, lane: Lane) -> bool:
        if lane.parked or lane.lost:
            return True
        quiet = self._drained_s - lane.heard_s
        if not lane.at_end:
            return quiet < STALL_S
        if not self.room:
            return False
        if quiet < self._linger_s:
            return True
        enough = self._total * 4 >= self._batch
        return enough and quiet < PATIENCE_S and lane.owed(quiet) >= max(16, self._batch / 32)

    def _merge(self, most: int, now_s: float) -> tuple[list[int], NDArray[np.intp]]:
        """Return how many to take of each lane, and in which order (see `_take`)."""
        ends = [(lane.limit, lane.rank) for lane in self._open()]
        counts = [0] * len(self._lanes)
        if ends and min(ends)[0] == UNKNOWN:
            return counts, np.empty(0, np.intp)
        good: dict[int, int] = {}
        for lane in self._lanes:
            if (
                lane.doubts
                and (n := lane.doubted(self.proof[0], now_s - self.proof[1])) is not None
                and n < len(lane)
            ):
                good[lane.rank] = n
                ends.append((int(lane.keys(n + 1)[n]), lane.rank))
        limit, rank = min(ends, default=(None, 0))
        filled = [lane for lane in self._lanes if len(lane)]
        most_each = max(64, 4 * most // len(filled))
        while True:
            keys = []
            for lane in filled:
                key = lane.keys(most_each)[: good.get(lane.rank)]
                if limit is not None:
                    safe = limit if lane.rank <= rank else limit - 1
                    key = key[: np.searchsorted(key, safe, "right")]
                keys.append(key)
            lengths = np.array([len(key) for key in keys])
            merged = np.argsort(np.concatenate(keys), kind="stable")[:most]
            origin = np.repeat(np.arange(len(filled)), lengths)[merged]
            taken = np.bincount(origin, minlength=len(filled))
            if any(
                n == most_each and len(lane) > most_each
                for n, lane in zip(taken.tolist(), filled, strict=True)
            ):
                most_each *= 4  # the records after these may come before what was taken of others
                continue
            shift = np.cumsum(lengths) - lengths - (np.cumsum(taken) - taken)
            for lane, n in zip(filled, taken.tolist(), strict=True):
                counts[lane.rank] = n
            return counts, merged - shift[origin]

    def _take(
        self, counts: list[int], merged: NDArray[np.intp], trigger: Trigger, now_s: float | None
    ) -> Cut:
        """Remove records. `merged`: their order, as places in the lanes' records one by one."""
        records, next_offsets, epochs = [], {}, {}
        stamps = [np.empty(0, np.int64)]
        for lane, count in zip(self._lanes, counts, strict=True):
            if count:
                corrected = lane.corrected
                taken, times = lane.take(count)
                next_offsets[lane.partition] = taken[-1].offset + 1
                if lane.taken_epoch >= 0:
                    epochs[lane.partition] = lane.taken_epoch
                records += taken
                stamps.append(np.array([r.timestamp_ms for r in taken]) if corrected else times)
        self._total -= len(records)
        if now_s is not None:
            self._last_cut_s = now_s
        rows = np.argsort(np.concatenate(stamps), kind="stable")
        place = np.empty_like(rows)
        place[rows] = np.arange(len(rows))
        return Cut(
            records=list(map(records.__getitem__, rows.tolist())),
            next_offsets=next_offsets,
            trigger=trigger,
            selection=place[merged].tolist(),
            epochs=epochs,
        )
