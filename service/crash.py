"""Crash points: named places in the code where a test has the process killed, as by kill -9.

Knows the names, counts hits, and ends the process; reads no environment (settings do) and imports
nothing of the service. Nothing is armed in ordinary use, and a point then costs one comparison.

HEADWATER_CRASHPOINT=name[:n]       die at the n-th hit (n counts over the whole process)
HEADWATER_CRASHPOINT_FILE=path      the same, read from a file where there is one. The process that
                                    dies first renames it to path.hit: so it dies once, the process
                                    that is started in its place goes on, and whoever watches knows
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

POINTS: dict[str, str] = {
    "after_poll": "a cut was taken from Kafka and is not decoded",
    "after_decode": "a cut is decoded and not yet handed to the loop",
    "mid_forward": "the compiled pass is through; metrics and counts are not (also in a replay)",
    "after_step_before_cursor": "weights and counts are new, the cursors old (also in a replay)",
    "after_cursor": "a cut is learned in memory, and nowhere else",
    "dlq_produced_before_cursor": "dead letters are acknowledged, their cut is not journaled",
    "journaled_before_publish": "a cut is journaled and its version not published",
    "journal_before_append": "an entry is about to be written",
    "journal_half_written": "half of an entry's bytes are in the journal",
    "journal_after_append": "an entry is written whole and not flushed",
    "journal_before_sync": "entries are about to be flushed to the medium",
    "journal_after_sync": "entries are on the medium, and nobody was told",
    "journal_mid_rotate": "the segment is sealed and the next one not begun",
    "journal_segment_begun": "the next segment exists, empty, its name not flushed",
    "journal_mid_drop": "one old segment is removed, others are not",
    "live_sequence_odd": "a slot's sequence is odd and nothing of it written",
    "live_half_written": "a slot holds the new meta data and half of the new weights",
    "live_copied_before_count": "a slot is whole, the count still names the other one",
    "live_published": "a version is published, and the learner has not noted it",
    "live_file_half_made": "a new live file has its space and layout, and no identity",
    "live_file_before_pointer": "a new live file is complete and nothing points to it",
    "live_pointer_before_unlink": "the pointer names the new live file, and nothing is published to it",
    "layout_old_live_closed": "a new layout: the old live file is let go, the new one not made",
    "layout_journaled": "changed settings are journaled and not flushed",
    "command_taken": "a command has left the queue and nothing is done",
    "command_done_before_reply": "a command is done and journaled, and not answered",
    "genesis_before_journal": "a new model: nothing is written yet",
    "genesis_before_snapshot": "a new model: version 0 is journaled and has no snapshot",
    "partition_added_before_journal": "a new partition is known in memory only",
    "partition_added_journaled": "a new partition is journaled and nothing of it read",
    "skip_before_journal": "cursors have passed what is gone, in memory only",
    "skip_journaled": "cursors have passed what is gone, journaled",
    "snap_captured": "a snapshot's state is copied and nothing written",
    "snap_weights_written": "a snapshot's parts are written, its manifest is not begun",
    "snap_before_manifest": "a snapshot's hidden directory is made, and empty",
    "snap_manifest_before_fsync": "a snapshot's manifest is written and not flushed",
    "snap_before_rename": "a snapshot is whole and flushed under its hidden name",
    "snap_after_rename": "a snapshot has its name, which is not flushed",
    "snap_after_dirsync_before_commit": "a snapshot is durable, and Kafka was not told its offsets",
    "after_commit": "Kafka was told the offsets of a snapshot",
    "mid_gc": "an old snapshot is out of sight and not removed",
    "restore_after_weights_before_optim": "a snapshot is read whole and nothing replayed",
    "restore_mid_replay": "one more entry is replayed",
    "restore_before_assign": "the state is restored, the partitions are not assigned",
    "freeze_before_shadow": "what is to be served is journaled, where learning goes on is not",
    "rollback_before_skip": "a rollback is journaled, the skip that belongs to it is not",
    "rollback_before_pointer_flip": "a rollback is journaled, the old version still served",
    "api_request_read": "an API worker has read a request and not computed",
    "api_before_reply": "an API worker has computed and not replied",
}
"""Every point, and what the world holds when the process dies there."""


@dataclass(frozen=True, slots=True)
class Armed:
    """Which point kills, at which hit, and the file that is renamed first."""

    name: str
    nth: int
    once: Path | None = None


_armed: Armed | None = None
_hits = 0
_counting = threading.Lock()


def read(text: str) -> Armed:
    """Return what `name[:n]` means. Raises ValueError with a sentence that lists the names."""
    name, colon, count = text.strip().partition(":")
    if name not in POINTS:
        raise ValueError(f"there is no crash point {name!r}; there are {', '.join(sorted(POINTS))}")
    if colon and not (count.isascii() and count.isdigit() and int(count) > 0):
        raise ValueError(f"{count!r} is not how often it is hit before it kills: 1, 2, ...")
    return Armed(name, int(count or 1))


def arm(armed: Armed | None) -> None:
    """Have this process die at a point; None: at none. Hits are counted from here on."""
    global _armed, _hits
    _armed, _hits = armed, 0


def point(name: str, last_act: Callable[[], object] | None = None) -> None:
    """Die here if this is the point and the hit. `last_act` is done just before: half a write."""
    if _armed is None:
        return
    _hit(_armed, name, last_act)


def _hit(armed: Armed, name: str, last_act: Callable[[], object] | None) -> None:
    global _hits
    if armed.name != name:
        return
    with _counting:
        _hits += 1
        if _hits != armed.nth or not _first_to_die(armed):
            return
    if last_act is not None:
        last_act()
    _die()


def _first_to_die(armed: Armed) -> bool:
    """Take the file away; False if another process did, or put something else there."""
    if armed.once is None:
        return True
    with contextlib.suppress(OSError, ValueError):
        there = read(armed.once.read_text(encoding="utf-8"))
        if (there.name, there.nth) == (armed.name, armed.nth):
            armed.once.replace(armed.once.with_name(armed.once.name + ".hit"))
            return True
    return False


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL came back")
