"""Ordering and cutting, without a broker: every interleaving of arrivals keeps the rules."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.stream.broker import Run
from service.stream.cutter import FUTURE_MS, PATIENCE_S, STALL_S, Cutter
from service.stream.records import TP, Cut, Record

WALL_MS = 1_700_000_000_000
LINGER_S = 0.02

Logs = list[list[int]]
"""Timestamps of each partition's records, in order of offsets."""

logs_of_any_order = st.lists(st.lists(st.integers(0, 30), max_size=30), min_size=1, max_size=4)
logs_in_time_order = logs_of_any_order.map(lambda logs: [sorted(log) for log in logs])


def place(partition: int) -> TP:
    return ("t", partition)


def run_of(log: Sequence[int], partition: int, start: int, end: int) -> Run:
    records = [
        Record(*place(partition), offset, log[offset], None, b"") for offset in range(start, end)
    ]
    return Run(*place(partition), records, list(log[start:end]))


def taken(cut: Cut) -> list[tuple[int, int]]:
    """(partition, offset) of a cut's records in the order of the merge."""
    return [(cut.records[i].partition, cut.records[i].offset) for i in cut.selection]


def cutter_of(partitions: int, *, batch_rows: int = 4, buffer_records: int = 1000) -> Cutter:
    cutter = Cutter(batch_rows=batch_rows, linger_s=LINGER_S, buffer_records=buffer_records)
    for partition in range(partitions):
        cutter.start(place(partition), 0, 0.0)
    return cutter


def end(cutter: Cutter, partition: int) -> None:
    lane = cutter.lane(place(partition))
    assert lane is not None
    lane.ended(lane.next_offset, lane.next_offset)


def drain(cutter: Cutter, now_s: float) -> list[Cut]:
    """Everything has arrived and every partition is quiet: take all cuts."""
    for lane in cutter.lanes:
        lane.ended(lane.next_offset, lane.next_offset)
    cuts = []
    while len(cutter):
        now_s += 10.0
        cutter.drained(now_s)
        cut = cutter.cut(now_s)
        assert cut is not None, "records are held for ever"
        cuts.append(cut)
    return cuts


def merged_by_heads(logs: Logs) -> list[tuple[int, int]]:
    """The plain way: always take from the partition whose next record is oldest."""
    heads = [(log[0], partition, 0) for partition, log in enumerate(logs) if log]
    heapq.heapify(heads)
    order = []
    while heads:
        _, partition, offset = heapq.heappop(heads)
        order.append((partition, offset))
        if offset + 1 < len(logs[partition]):
            heapq.heappush(heads, (logs[partition][offset + 1], partition, offset + 1))
    return order


class TestOrder:
    @given(logs_of_any_order, st.integers(1, 40))
    def test_the_oldest_next_record_is_taken_first(self, logs: Logs, batch_rows: int) -> None:
        """
        With everything at hand, the order is that of the plain merge, for any batch size.
        """
        cutter = cutter_of(len(logs), batch_rows=batch_rows)
        for partition, log in enumerate(logs):
            if log:
                cutter.put(run_of(log, partition, 0, len(log)), 0.0, WALL_MS)

        order = [at for cut in drain(cutter, 0.0) for at in taken(cut)]

        assert merged_by_heads(logs) == order

    @given(logs_in_time_order, st.integers(1, 10), st.data())
    def test_any_interleaving_of_arrivals_gives_the_order_of_time(
        self, logs: Logs, batch_rows: int, data: st.DataObject
    ) -> None:
        """
        Whichever partition is heard first, records of all are taken in order of time.
        """
        cutter = cutter_of(len(logs), batch_rows=batch_rows)
        put = [0] * len(logs)
        now, order = 0.0, []
        while any(done < len(log) for done, log in zip(put, logs, strict=True)):
            waiting = [p for p, log in enumerate(logs) if put[p] < len(log)]
            partition = data.draw(st.sampled_from(waiting))
            upto = data.draw(st.integers(put[partition] + 1, len(logs[partition])))
            cutter.put(run_of(logs[partition], partition, put[partition], upto), now, WALL_MS)
            put[partition] = upto
            now += 0.001
            cutter.drained(now)
            while (cut := cutter.cut(now)) is not None:
                order += taken(cut)
        order += [at for cut in drain(cutter, now) for at in taken(cut)]

        everything = [(t, p, o) for p, log in enumerate(logs) for o, t in enumerate(log)]
        assert [(p, o) for _, p, o in sorted(everything)] == order

    @given(logs_of_any_order, st.integers(1, 10), st.data())
    def test_every_record_is_in_one_cut_in_order_of_offsets(
        self, logs: Logs, batch_rows: int, data: st.DataObject
    ) -> None:
        """
        Whatever arrives when, and whoever is waited for: none twice, none never, prefixes only.
        """
        cutter = cutter_of(len(logs), batch_rows=batch_rows)
        put = [0] * len(logs)
        now, cuts = 0.0, []
        for _ in range(data.draw(st.integers(0, 30))):
            partition = data.draw(st.integers(0, len(logs) - 1))
            upto = data.draw(st.integers(put[partition], len(logs[partition])))
            if upto > put[partition]:
                run = run_of(logs[partition], partition, put[partition], upto)
                cutter.put(run, now, WALL_MS)
                put[partition] = upto
            elif data.draw(st.booleans()):
                end(cutter, partition)
            now += data.draw(st.sampled_from([0.0, 0.001, 0.05, 1.0, 5.0]))
            if data.draw(st.booleans()):
                cutter.drained(now)
            if (cut := cutter.cut(now)) is not None:
                cuts.append(cut)
        for partition, log in enumerate(logs):
            if put[partition] < len(log):
                cutter.put(run_of(log, partition, put[partition], len(log)), now, WALL_MS)
        cuts += drain(cutter, now)

        order = [at for cut in cuts for at in taken(cut)]
        for partition, log in enumerate(logs):
            assert list(range(len(log))) == [offset for p, offset in order if p == partition]
        assert all(len(cut.records) <= batch_rows for cut in cuts)

    @given(logs_of_any_order, st.integers(1, 40))
    def test_rows_of_a_cut_are_sorted(self, logs: Logs, batch_rows: int) -> None:
        """
        Rows go by timestamp, topic, partition, offset; the selection is a permutation of them.
        """
        cutter = cutter_of(len(logs), batch_rows=batch_rows)
        for partition, log in enumerate(logs):
            if log:
                cutter.put(run_of(log, partition, 0, len(log)), 0.0, WALL_MS)

        for cut in drain(cutter, 0.0):
            rows = [(r.timestamp_ms, r.topic, r.partition, r.offset) for r in cut.records]
            assert sorted(rows) == rows
            assert list(range(len(rows))) == sorted(cut.selection)
            ends = {tp: max(r.offset for r in cut.records if r.partition == tp[1]) + 1
                    for tp in cut.next_offsets}  # fmt: skip
            assert ends == cut.next_offsets


class TestWaiting:
    def test_a_full_batch_goes_out_at_once(self) -> None:
        """
        As soon as batch_rows records can be taken, they are.
        """
        cutter = cutter_of(1, batch_rows=3)
        cutter.put(run_of([1, 2, 3, 4], 0, 0, 4), 0.0, WALL_MS)

        cut = cutter.cut(0.0)

        assert cut is not None
        assert ("size", 3) == (cut.trigger, len(cut.records))

    def test_a_lonely_record_goes_out_after_the_linger(self) -> None:
        """
        One record waits linger_s for company, not longer.
        """
        cutter = cutter_of(1)
        cutter.put(run_of([1], 0, 0, 1), 0.0, WALL_MS)

        assert None is cutter.cut(0.019)
        cut = cutter.cut(0.020)
        assert cut is not None
        assert ("time", 1) == (cut.trigger, len(cut.records))

    def test_an_idle_partition_holds_back_nobody(self) -> None:
        """
        A partition that ended long ago is not waited for.
        """
        cutter = cutter_of(2)
        end(cutter, 1)
        cutter.put(run_of([5], 0, 0, 1), 10.0, WALL_MS)
        end(cutter, 0)
        cutter.drained(10.0)

        assert None is not cutter.cut(10.02)

    def test_a_partition_never_heard_is_waited_for(self) -> None:
        """
        Before its first record or its end, nothing of others is known to be oldest.
        """
        cutter = cutter_of(2)
        cutter.put(run_of([5], 0, 0, 1), 0.0, WALL_MS)
        cutter.drained(STALL_S - 0.01)

        assert None is cutter.cut(STALL_S - 0.01)

    def test_a_partition_in_trouble_is_given_up_after_a_while(self) -> None:
        """
        Silence for two seconds, with nothing waiting in the client, and the others go on.
        """
        cutter = cutter_of(2)
        cutter.put(run_of([5], 0, 0, 1), 0.0, WALL_MS)
        cutter.drained(STALL_S)

        assert None is not cutter.cut(STALL_S)

    def test_a_partition_just_heard_is_waited_for_a_linger(self) -> None:
        """
        Partition 1 has ended a moment ago; a newer record of partition 0 waits for it.
        """
        cutter = cutter_of(2)
        cutter.put(run_of([9], 0, 0, 1), 0.0, WALL_MS)
        end(cutter, 0)
        cutter.put(run_of([5], 1, 0, 1), 0.0, WALL_MS)
        end(cutter, 1)
        cutter.drained(0.019)
        first = cutter.cut(0.020)
        cutter.drained(0.040)
        second = cutter.cut(0.040)

        assert None is not first
        assert None is not second
        assert ([5], [9]) == (
            [r.timestamp_ms for r in first.records],
            [r.timestamp_ms for r in second.records],
        )

    def test_the_callers_own_slowness_makes_nobody_idle(self) -> None:
        """
        Time that passes while records lie waiting in the client says nothing about a partition.
        """
        cutter = cutter_of(2)
        end(cutter, 0)
        end(cutter, 1)
        cutter.put(run_of([5], 1, 0, 1), 0.0, WALL_MS)
        end(cutter, 1)
        cutter.put(run_of([9], 0, 0, 1), 1.0, WALL_MS)
        cut = cutter.cut(9.0)

        assert cut is not None
        assert [5] == [r.timestamp_ms for r in cut.records]

    def test_a_flat_out_publisher_is_waited_for_longer(self) -> None:
        """
        Partitions are filled in turns by large batches: after one, the next turn is waited for.
        """
        cutter = cutter_of(2, batch_rows=64)
        cutter.put(run_of(range(1, 101, 2), 1, 0, 50), 0.0, WALL_MS)
        end(cutter, 1)
        cutter.put(run_of(range(0, 400, 2), 0, 0, 200), 0.0, WALL_MS)
        end(cutter, 0)
        cutter.drained(0.1)
        first = cutter.cut(0.1)
        held = cutter.cut(0.1)
        cutter.drained(PATIENCE_S)
        second = cutter.cut(PATIENCE_S)

        assert None is not first
        assert list(range(64)) == [r.timestamp_ms for r in first.records]
        assert None is held
        assert None is not second
        assert 64 == len(second.records)

    def test_a_trickle_is_waited_for_a_linger_only(self) -> None:
        """
        Few records are due from a partition that brings few: the others do not wait for them.
        """
        cutter = cutter_of(2, batch_rows=64)
        cutter.put(run_of([1], 1, 0, 1), 0.0, WALL_MS)
        end(cutter, 1)
        cutter.put(run_of(range(2, 402, 2), 0, 0, 200), 0.0, WALL_MS)
        end(cutter, 0)
        cutter.drained(LINGER_S)

        cut = cutter.cut(LINGER_S)

        assert cut is not None
        assert 64 == len(cut.records)

    def test_a_timestamp_from_the_future_is_no_time(self) -> None:
        """
        A producer that counts in microseconds does not send its partition to the end of days.
        """
        cutter = cutter_of(2, batch_rows=2)
        broken, later = WALL_MS * 1000, WALL_MS + 10
        cutter.put(run_of([broken, broken], 0, 0, 2), 0.0, WALL_MS)
        cutter.put(run_of([later, later], 1, 0, 2), 0.0, WALL_MS)

        cut = cutter.cut(0.0)

        assert cut is not None
        assert [0, 0] == [r.partition for r in cut.records]

    def test_a_little_future_is_in_order(self) -> None:
        """
        Clocks differ, and published files run ahead of the clock: an hour is believed.
        """
        cutter = cutter_of(2, batch_rows=2)
        ahead = WALL_MS + FUTURE_MS - 1
        cutter.put(run_of([ahead, ahead], 0, 0, 2), 0.0, WALL_MS)
        cutter.put(run_of([WALL_MS, WALL_MS], 1, 0, 2), 0.0, WALL_MS)

        cut = cutter.cut(0.0)

        assert cut is not None
        assert [1, 1] == [r.partition for r in cut.records]


class TestBound:
    def test_who_has_its_share_is_set_aside(self) -> None:
        """
        When the buffer is full and one partition is missing, those with their share are parked.
        """
        cutter = cutter_of(3, buffer_records=6)
        cutter.put(run_of([1] * 5, 0, 0, 5), 0.0, WALL_MS)
        cutter.put(run_of([1] * 1, 1, 0, 1), 0.0, WALL_MS)

        assert 0 == cutter.room
        assert place(2) == cutter.holding()
        assert [place(0)] == cutter.park([place(2)])

    def test_who_was_set_aside_comes_back_below_half_its_share(self) -> None:
        """
        A parked partition is read again from exactly where it was left.
        """
        cutter = cutter_of(2, batch_rows=4, buffer_records=8)
        cutter.put(run_of([1] * 8, 0, 0, 8), 0.0, WALL_MS)
        cutter.park([place(1)])
        end(cutter, 1)
        cutter.drained(1.0)

        assert {} == cutter.unpark(1.0)
        cutter.cut(1.0)
        cutter.cut(1.1)
        assert {place(0): 8} == cutter.unpark(1.1)

    def test_what_was_set_aside_is_not_taken_in(self) -> None:
        """
        Records fetched before a partition was set aside will be fetched again; not both.
        """
        cutter = cutter_of(2, buffer_records=2)
        cutter.put(run_of([1] * 2, 0, 0, 2), 0.0, WALL_MS)
        cutter.park([place(1)])

        cutter.put(run_of([1] * 4, 0, 2, 4), 0.0, WALL_MS)

        assert 2 == len(cutter)

    @pytest.mark.parametrize("start", [0, 1, 2])
    def test_records_it_had_already_are_left_out(self, start: int) -> None:
        """
        However much a fetch repeats, a record is buffered once.
        """
        cutter = cutter_of(1)
        cutter.put(run_of([1] * 5, 0, 0, 3), 0.0, WALL_MS)

        cutter.put(run_of([1] * 5, 0, start, 5), 0.0, WALL_MS)

        assert 5 == len(cutter)
