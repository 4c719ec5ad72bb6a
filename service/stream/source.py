"""Where cuts come from: reads partitions, orders their records, says when records are gone.

One thread uses it; the clock is injected. Nothing is learned, decoded or stored here. `cursors`
are the offsets after the records handed out in cuts: always offset + 1 of a record, never a
client's position. What is fetched ahead stays in the buffer, so a replay (`read_range`) goes over
into live reading without reading anything twice. Records that come after a pause wait for a look
at their topic that began after they came (see watch.PROOF_S).

A loss is handed out again at every call until `skip_to` decides about it. It is told when nothing
readable is buffered before it, so `wanted` is the cursor.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from service.errors import BrokerAway
from service.stream.broker import Broker, EndOfPartition, OutOfRange, Run, Trouble
from service.stream.cutter import Cutter
from service.stream.lanes import Lane, epochs_of
from service.stream.news import News
from service.stream.records import TP, Cut, DataLoss, Epochs, Offsets, PartitionAdded, named
from service.stream.silence import Silence
from service.stream.troubles import Troubles
from service.stream.watch import PROOF_S, Watch

__all__ = ["Cut", "DataLoss", "PartitionAdded", "Source"]

_CHUNK, _AWAY_S = 4096, 0.1


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Source:
    """The records of some topics, as cuts in order of time."""

    def __init__(  # noqa: PLR0913 - one keyword for each setting, and the two clocks
        self,
        broker: Broker,
        topics: Sequence[str],
        cursors: Offsets,
        *,
        batch_rows: int,
        linger_s: float,
        buffer_records: int,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = _wall_ms,
        discovery_s: float = 10.0,
        topic_ids: Mapping[str, str | None] | None = None,
        epochs: Epochs | None = None,
        silent_s: float = 30.0,
    ) -> None:
        self.cursors: Offsets = dict(cursors)
        self.records_fetched = 0
        self.parked = 0
        """How often partitions were set aside because they had more than their share."""
        self._broker = broker
        self._clock, self._wall_ms = clock, wall_ms
        self._batch_rows = batch_rows
        self._cutter = Cutter(
            batch_rows=batch_rows, linger_s=linger_s, buffer_records=buffer_records
        )
        self._watch = Watch(broker, topics, topic_ids or {}, discovery_s)
        self._troubles = Troubles()
        self._news = News(broker, self._watch, self._cutter, self._troubles)
        self._silence, self._commits_failed = Silence(silent_s), 0
        self._left_s = self._listened_s = clock()
        reading = {tp: offset for tp, offset in cursors.items() if tp[0] in set(topics)}
        for tp, offset in reading.items():
            self._cutter.start(tp, offset, self._left_s, (epochs or {}).get(tp, -1))
        self._reader = broker.reader(reading, epochs_of(self._cutter.lanes))

    @property
    def topic_ids(self) -> dict[str, str | None]:
        """Identity of each topic as first seen (None: not seen, or the broker knows none)."""
        return self._watch.topic_ids

    @property
    def troubles(self) -> Counter[str]:
        """What the client met and got over, by its code."""
        return self._troubles.counts

    @property
    def silences(self) -> Counter[TP]:
        """How often the reader was opened anew because a partition was silent."""
        return self._silence.counts

    @property
    def commit_failures(self) -> int:
        """Commits that Kafka refused or never answered."""
        return self._commits_failed + self._reader.commit_failures

    @property
    def survey_failures(self) -> int:
        """How often Kafka did not say which partitions there are."""
        return self._watch.failures

    @property
    def answers(self) -> bool:
        """Whether Kafka answered when it was last asked about the topics."""
        return self._watch.answers

    @property
    def buffered(self) -> int:
        """Records fetched and not yet handed out."""
        return len(self._cutter)

    def next_cut(self, timeout_s: float) -> Cut | DataLoss | PartitionAdded | None:
        """Return the next cut, or what came instead; None when nothing was due in time."""
        deadline = (now := self._clock()) + timeout_s
        if now - self._left_s > _AWAY_S:
            self._cutter.returned(now)
        self._listened_s += now - self._left_s
        try:
            while True:
                now = self._clock()
                if (signal := self._signal(now)) is not None:
                    return signal
                self._listen(now)
                cut = self._cutter.full_cut(now)
                room = self._cutter.room
                more = cut is None and room > 0 and self._fetch(min(_CHUNK, room), 0.0)
                cut = cut or self._cutter.cut(now)
                if cut is not None:
                    self.cursors.update(cut.next_offsets)
                    self._unpark(now)
                    return cut
                if not room:
                    holding = self._cutter.holding()
                    more = self._make_way([holding] if holding else [], 0.0)
                if more:
                    continue
                if now >= deadline:
                    return None
                self._wait(now, deadline)
        finally:
            self._left_s = self._clock()

    def read_range(self, next_offsets: Offsets, timeout_s: float) -> Cut | DataLoss:
        """Return exactly the records from the cursors up to `next_offsets`, in row order.

        A later record or the end of the partition proves that a range is complete, so gaps of
        compacted topics and transaction markers do no harm. Raises BrokerAway after `timeout_s`;
        what was fetched is kept, so the same call may be repeated.
        """
        deadline = self._clock() + timeout_s
        while True:
            now = self._clock()
            waiting = [tp for tp, end in next_offsets.items() if not self._has_all(tp, end)]
            for tp in waiting:
                if self._lane(tp).lost:
                    return self._news.loss_of(self._lane(tp))
            if not waiting:
                taken = self._cutter.take_before(next_offsets)
                self.cursors.update(next_offsets)
                self._unpark(now)
                taken.next_offsets.update(next_offsets)
                return taken
            if now >= deadline:
                return self._overdue(waiting, next_offsets)
            self._unpark(now, waiting)
            if self._cutter.room:
                self._fetch(min(_CHUNK, self._cutter.room), deadline - now)
            else:
                self._make_way(waiting, deadline - now)

    def check(self) -> list[DataLoss]:
        """Compare the cursors with what Kafka has, before the first record is learned."""
        return self._watch.check(self.cursors)

    def add_partition(self, topic: str, partition: int, start: int) -> None:
        """Read a partition from now on (a replay knows of it from the journal)."""
        self.cursors[topic, partition] = start
        self._cutter.start((topic, partition), start, self._clock())
        self._reader.add({(topic, partition): start})

    def skip_to(self, partition: TP, offset: int) -> None:
        """Go on at `offset`; what was lost before it stays lost, what is buffered is forgotten."""
        lane = self._lane(partition)
        if not lane.parked:
            self._reader.remove([partition])
        self._news.decided(partition)
        self._cutter.restart(partition, offset, self._clock())
        self._reader.add({partition: offset})
        self.cursors[partition] = offset

    def lag(self) -> dict[TP, int]:
        """Records that are not in a cut yet; markers, gaps and open transactions included."""
        return {lane.partition: self._lag(lane) for lane in self._cutter.lanes}

    def headroom(self) -> dict[TP, int]:
        """How far each cursor is from the first record that retention has left."""
        lows = self._watch.lows
        return {tp: cursor - lows[tp] for tp, cursor in self.cursors.items() if tp in lows}

    def commit(self, offsets: Offsets) -> None:
        """Tell lag tools how far we are; failures are only counted."""
        self._reader.commit(offsets)

    def close(self) -> None:
        """Let go of the reader; the broker belongs to whoever made it."""
        self._reader.close()

    def _lane(self, partition: TP) -> Lane:
        lane = self._cutter.lane(partition)
        assert lane is not None, f"{partition} is not read"
        return lane

    def _lag(self, lane: Lane) -> int:
        if lane.at_end and not len(lane):
            return 0
        high = self._reader.high(lane.partition)
        known = self._watch.highs.get(lane.partition, 0) if high is None else high
        ended = -1 if len(lane) else lane.end_offset
        return max(0, known - max(ended, self.cursors[lane.partition]))

    def _signal(self, now_s: float) -> DataLoss | PartitionAdded | None:
        """Return what must be told before any cut."""
        told, self._cutter.proof = self._news.next(now_s, self.cursors), self._watch.proof
        if isinstance(told, PartitionAdded):
            self.add_partition(told.topic, told.partition, told.start)
        return told

    def _listen(self, now_s: float) -> None:
        """Open the reader anew where a partition is silent although there is more."""
        listened_s, self._listened_s = now_s - self._listened_s, now_s
        highs = self._watch.highs if self._watch.answers else {}
        if self._silence.over(self._cutter.lanes, highs, listened_s):
            self._commits_failed += self._reader.commit_failures
            self._reader.close()
            read = [lane for lane in self._cutter.lanes if not lane.parked]
            for lane in read:
                lane.more(now_s)
            places = {lane.partition: lane.next_offset for lane in read}
            self._reader = self._broker.reader(places, epochs_of(read))

    def _fetch(self, most: int, timeout_s: float, *, fill: bool = False) -> bool:
        """Take in what is there; true when more may be waiting."""
        items = self._reader.fetch(most, timeout_s, fill=fill)
        now, wall_ms, count = self._clock(), self._wall_ms(), 0
        for item in items:
            count += len(item.records) if isinstance(item, Run) else 1
            if isinstance(item, Run):
                self.records_fetched += len(item.records)
                if (first := self._cutter.put(item, now, wall_ms)) is not None:
                    place, look = (item.topic, item.partition), self._watch.prove(now)
                    self._cutter.doubt(place, first, look, now - self._watch.lost_s + PROOF_S)
            else:
                self._note(item)
        for lane in self._cutter.lanes:
            self._refresh(lane, now)
        if count < most:
            self._cutter.drained(now)
        return count >= most

    def _note(self, item: EndOfPartition | OutOfRange | Trouble) -> None:
        if isinstance(item, Trouble):
            self._troubles.note(item, self._clock())
            if item.topic is not None:
                self._watch.hurry()  # it may be gone
            return
        lane = self._cutter.lane((item.topic, item.partition))
        if lane is None or lane.parked:
            return
        if item.offset is not None and item.offset < lane.next_offset:
            return
        if isinstance(item, OutOfRange):
            lane.lost, lane.cut_off_at = True, item.cut_off_at
        elif not lane.at_end or item.offset > lane.end_offset:
            lane.ended(item.offset, max(item.offset, self._reader.high(lane.partition) or 0))

    def _refresh(self, lane: Lane, now_s: float) -> None:
        """Ends of partitions are heard of with every answer of the broker, before EOF comes."""
        high = self._reader.high(lane.partition)
        if high is None or lane.parked or lane.lost:
            return
        if lane.at_end and high > lane.end_high:
            lane.more(now_s)
        elif not lane.at_end and 0 <= high <= lane.next_offset:
            lane.ended(high, high)

    def _make_way(self, keep: Sequence[TP], timeout_s: float) -> bool:
        """The buffer is full and `keep` are waited for: set aside whoever has most."""
        parked = self._cutter.park(keep)
        if parked:
            self.parked += len(parked)
            self._reader.remove(parked)
        return self._fetch(min(_CHUNK, self._cutter.share), timeout_s)

    def _unpark(self, now_s: float, needed: Sequence[TP] = ()) -> None:
        if ready := self._cutter.unpark(now_s, needed):
            lanes = [lane for tp in ready if (lane := self._cutter.lane(tp)) is not None]
            self._reader.add(ready, epochs_of(lanes))

    def _wait(self, now_s: float, deadline_s: float) -> None:
        left = min(deadline_s - now_s, max(0.001, self._watch.wait_s(now_s)))
        due = self._cutter.due_in_s(now_s)
        wanted = min(_CHUNK, self._batch_rows - len(self._cutter))
        if due is not None and due > 0 and wanted > 0:
            self._fetch(wanted, min(left, due), fill=True)
            return
        if due is not None:
            left = min(left, self._cutter.patience_left_s(now_s))
        self._fetch(min(_CHUNK, self._cutter.room or self._cutter.share), left)

    def _has_all(self, partition: TP, end: int) -> bool:
        lane = self._lane(partition)
        return lane.next_offset >= end or (lane.at_end and lane.end_offset >= end)

    def _overdue(self, waiting: Sequence[TP], next_offsets: Offsets) -> DataLoss:
        for tp in waiting:
            found = self._news.loss_of(self._lane(tp))
            if found.reason == "topic_missing" or found.available_high < next_offsets[tp]:
                return found
        late = named(f"{tp[0]}, partition {tp[1]}, offset {next_offsets[tp]}" for tp in waiting)
        raise BrokerAway(f"Kafka did not give in time the records before {late}")
