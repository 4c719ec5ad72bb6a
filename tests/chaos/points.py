"""Every crash point: the service dies there at the 1st, 2nd and 5th hit, and loses nothing.

A point is armed through a file that a process reads when it starts and takes away when it dies. The
next point is armed before the successor starts, so one death leads to the next. Where a process
comes by only once, n hits are n deaths in a row.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import Producer

from tests.chaos import rounds
from tests.chaos.house import Stuck, alive, until
from tests.chaos.rounds import Assault, Plan, Round

_HIT_S = 600.0
_AGAIN_S = 20.0  # and twice as long each time: a slow machine takes longer to come there
_PER_ROUND = 8

NATURAL = (
    "after_poll", "after_decode", "mid_forward", "after_step_before_cursor", "after_cursor",
    "dlq_produced_before_cursor", "journaled_before_publish", "journal_before_append",
    "journal_half_written", "journal_after_append", "journal_before_sync", "journal_after_sync",
    "journal_mid_rotate", "journal_segment_begun", "live_sequence_odd", "live_half_written",
    "live_copied_before_count", "live_published", "snap_captured", "snap_weights_written",
    "snap_before_manifest", "snap_manifest_before_fsync", "snap_before_rename",
    "snap_after_rename", "snap_after_dirsync_before_commit", "after_commit", "mid_gc",
    "restore_after_weights_before_optim", "restore_mid_replay", "restore_before_assign",
)  # fmt: skip
"""Hit by a service that learns and saves, or starts again."""

COMMANDS = ("command_taken", "command_done_before_reply")
WORKERS = ("api_request_read", "api_before_reply")
GENESIS = ("genesis_before_journal", "genesis_before_snapshot")
LAYOUT = (
    "layout_journaled", "layout_old_live_closed", "live_file_half_made",
    "live_file_before_pointer", "live_pointer_before_unlink",
)  # fmt: skip
PARTITIONS = ("partition_added_before_journal", "partition_added_journaled")
SKIPS = ("skip_before_journal", "skip_journaled")
DROPS = ("journal_mid_drop",)
TURNS = ("freeze_before_shadow", "rollback_before_skip", "rollback_before_pointer_flip")

_IN_A_ROW = {
    "restore_after_weights_before_optim", "restore_before_assign",
    *GENESIS, *LAYOUT, *PARTITIONS, *SKIPS,
}  # fmt: skip
"""A process comes by at most once."""
_EACH_ANEW = {
    "layout_journaled", "live_pointer_before_unlink", "partition_added_journaled", "skip_journaled"
}  # fmt: skip
"""What leads there is over when the process dies, and must be brought about again."""
_ONCE_EVER = {"genesis_before_snapshot"}

Act = Callable[[], object]


def _nothing() -> None:
    """Nothing has to be done."""


class Sweep:
    """Has one round's service die at points."""

    def __init__(self, under: Round, hits: Sequence[int]) -> None:
        self._under = under
        self._house = under.house
        self._hits = hits
        self._file = under.house.crash_file
        self._hit = self._file.with_name(self._file.name + ".hit")
        self.done: list[dict[str, Any]] = []

    def each(
        self, names: Sequence[str], before: Act = _nothing, when_armed: Act = _nothing,
        all_the_time: Act = _nothing,
    ) -> None:  # fmt: skip
        """Die at each of these points.

        before: brings about what leads there, before the point is armed. when_armed: the same,
        when the process is there that is to die. all_the_time: again and again until it is dead.
        """
        for name in names:
            for n in (1,) if name in _ONCE_EVER else self._hits:
                began, row = time.monotonic(), name in _IN_A_ROW
                for turn in range(n if row else 1):
                    anew = turn == 0 or name in _EACH_ANEW
                    acts = (before, when_armed) if anew else (_nothing, _nothing)
                    self._die(name, 1 if row else n, *acts, all_the_time)
                self.done.append(
                    {"point": name, "n": n, "seconds": round(time.monotonic() - began, 1)}
                )

    def _die(self, name: str, n: int, before: Act, when_armed: Act, all_the_time: Act) -> None:
        before()
        self._arm(f"{name}:{n}")
        if self._house.process is None:
            self._house.start()
        child = "api-0" if name in WORKERS else "learner"
        armed_s = began_s = time.monotonic()
        again_s = _AGAIN_S
        waits, pid = True, 0
        while not self._hit.exists():
            now = time.monotonic()
            if now - began_s > _HIT_S:
                raise Stuck(f"nothing died at {name}:{n}; {self._house.last_words()}")
            if now - armed_s > again_s:
                armed_s, again_s = now, 2 * again_s  # it passed by; once more, from its start
            pid = self._house.pid(child) or pid
            if pid and alive(pid):
                if self._house.started_s[child] < armed_s:
                    self._kill(child, pid)
                elif waits:
                    when_armed()
                    waits = False
            all_the_time()
            time.sleep(0.01)
        self._hit.unlink()
        self._under.nemesis.note("worker" if name in WORKERS else "learner", name)
        until(lambda: not alive(pid), f"the end of {child}")

    def _arm(self, text: str) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._file)

    def _kill(self, child: str, pid: int) -> None:
        victim = "worker" if child.startswith("api") else "learner"
        self._under.nemesis.note(victim, "to be armed", lambda: os.kill(pid, signal.SIGKILL))
        until(lambda: self._house.pid(child) != pid, f"the end of {child}")


def natural(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """Points that a service comes by on its own."""

    def assault(under: Round) -> dict[str, Any]:
        under.house.change(snapshots={"every_seconds": 0.5})
        under.begin()
        sweep = Sweep(under, hits)
        sweep.each(names)
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


def commands_and_workers(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """Pause and resume, again and again; requests, each on a connection of its own."""

    def assault(under: Round) -> dict[str, Any]:
        under.begin()
        house, sweep = under.house, Sweep(under, hits)

        def ask() -> None:
            house.ask("pause")
            house.ask("resume")

        sweep.each([name for name in names if name in COMMANDS], all_the_time=ask)
        until(lambda: house.ask("resume"), "a resume")
        sweep.each([name for name in names if name in WORKERS], all_the_time=house.answers)
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


def births_and_layouts(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """The first start of all; then a field more, again and again."""

    def assault(under: Round) -> dict[str, Any]:
        house, sweep = under.house, Sweep(under, hits)
        under.produce()
        sweep.each([name for name in names if name in GENESIS])
        if house.process is None:
            house.start()
        until(lambda: under.monitor.version > 0, f"a first version; {house.last_words()}")
        under.watch()

        def one_more_field() -> None:
            features = house.sections["event"]["features"]
            more = {f"extra{len(features)}": {"type": "number"}}
            house.change(event={"features": {**features, **more}})

        sweep.each([name for name in names if name in LAYOUT], before=one_more_field)
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


def partitions_and_skips(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """More partitions; then records that are gone before they were read, from the last of them."""

    def assault(under: Round) -> dict[str, Any]:
        under.house.change(kafka={"on_data_loss": "skip"})
        under.begin()
        house, topic, sweep = under.house, under.topic, Sweep(under, hits)

        def grow() -> None:
            topic.grow(topic.partitions + 1)

        sweep.each([name for name in names if name in PARTITIONS], when_armed=grow)
        if topic.partitions == 4:
            grow()
        last = topic.partitions - 1
        gone = _doomed(under, last)

        def known() -> bool:
            return str(last) in house.model().get("trained_through", {}).get(topic.name, {})

        until(known, f"partition {last}")  # one that is found later begins after what is gone

        def lose() -> None:
            until(lambda: house.ask("pause"), "a pause")
            next(gone)

        sweep.each(
            [name for name in names if name in SKIPS], before=lose,
            all_the_time=lambda: house.ask("resume"),
        )  # fmt: skip
        until(lambda: house.ask("resume"), "a resume")
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


def _doomed(under: Round, partition: int) -> Iterator[None]:
    """Publish ten records that are deleted before anyone reads them, at each turn."""
    producer, end = Producer({"bootstrap.servers": under.plan.bootstrap}), 0
    while True:
        for n in range(10):
            value = json.dumps({"id": f"doomed{end + n}", "y": 1})
            producer.produce(under.topic.name, value, partition=partition)
        assert producer.flush(60.0) == 0
        under.skipped += [(partition, end + n) for n in range(10)]
        end += 10
        under.topic.delete_before(partition, end)
        yield


def old_segments_go(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """Two snapshots are kept and no hour's first, so that the journal before them goes."""

    def assault(under: Round) -> dict[str, Any]:
        keep = {"last": 2, "hourly": 0, "daily": 0}
        under.house.change(snapshots={"every_seconds": 0.5, "keep": keep})
        under.begin()
        sweep = Sweep(under, hits)
        sweep.each(names)
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


def turns_of_history(names: Sequence[str], hits: Sequence[int]) -> Assault:
    """Freeze and unfreeze; back by some versions, with and without learning them again."""

    def assault(under: Round) -> dict[str, Any]:
        under.turns = True
        under.begin()
        house, sweep = under.house, Sweep(under, hits)

        def freeze() -> None:
            house.ask("freeze")
            house.ask("unfreeze")

        def back(**more: str) -> None:
            under.nemesis.learning_goes_on()
            house.ask("rollback", to=under.monitor.version - 1, **more)

        acts: dict[str, Act] = {
            "freeze_before_shadow": freeze,
            "rollback_before_skip": lambda: back(skip_to="now"),
            "rollback_before_pointer_flip": back,
        }
        for name in names:
            sweep.each([name], all_the_time=acts[name])
        house.ask("unfreeze")
        under.nemesis.learning_goes_on()
        return {"points": sweep.done}

    return assault


_SPECIAL = (
    (births_and_layouts, (*GENESIS, *LAYOUT)),
    (commands_and_workers, (*COMMANDS, *WORKERS)),
    (partitions_and_skips, (*PARTITIONS, *SKIPS)),
    (old_segments_go, DROPS),
    (turns_of_history, TURNS),
)


def plans(only: Sequence[str] | None, hits: Sequence[int]) -> Iterator[tuple[list[str], Assault]]:
    """Every round of a sweep: the points in it, and how they come about."""
    chunks = [NATURAL[at : at + _PER_ROUND] for at in range(0, len(NATURAL), _PER_ROUND)]
    for make, names in (*((natural, chunk) for chunk in chunks), *_SPECIAL):
        chosen = [name for name in names if only is None or name in only]
        if chosen:
            yield chosen, make(chosen, hits)


def sweep(plan: Plan, only: Sequence[str] | None, hits: Sequence[int]) -> int:
    """Play every round that is not in the results yet; 1 when one did not hold."""
    lines = [one for one in rounds.done_so_far(plan) if one["kind"] == "points"]
    held = {(p["point"], p["n"]) for one in lines if one["verdict"]["ok"] for p in one["points"]}
    number = len(lines)
    for names, assault in plans(only, hits):
        wanted = {(name, n) for name in names for n in ((1,) if name in _ONCE_EVER else hits)}
        if wanted <= held:
            continue
        number += 1
        line = rounds.play(plan, "points", number, assault)
        print(json.dumps({k: v for k, v in line.items() if k != "strokes"}), flush=True)
        if not line["verdict"]["ok"]:
            return 1
    return 0
