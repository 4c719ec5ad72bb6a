"""Tell a power loss from a crash, and both from a clean stop.

A process that dies leaves its writes with the kernel: everything in the journal is still there.
A machine that loses power may lose what was not flushed yet, so versions that were served can be
gone and the history after a restart cannot be proven. The two look alike in the state directory
but for the boot id, which is recorded there while a learner runs.

A journal without a record beside it is not proven either: an operator took the record away from
a copy that was put back, or a failed flush did.

`unclean_power_loss` answers from the record of the run before, so ask it before `mark_running`
overwrites that record, and call `mark_running` only when the new lineage is on disk: a crash in
between must find the question still answered with yes. For a state that begins, before its first
entry: a crash right after that entry loses nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from service.weights import durable
from service.weights.journal_reader import segment_path, segments

JOURNAL = "journal"
"""Where in the state directory the journal is."""
RECORD = "boot.json"
SCHEMA = "headwater.boot/1"


class _Record(msgspec.Struct, frozen=True):
    schema: str
    boot_id: str
    stopped_at_version: int | None


def boot_id() -> str:
    """A text that is the same until this machine starts anew."""
    if sys.platform == "linux":
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # kern.boottime moves when the clock is set; the session id does not, but old systems lack it
    return _sysctl("kern.bootsessionuuid") or _sysctl("kern.boottime")


def _sysctl(name: str) -> str:
    asked = subprocess.run(
        ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def mark_running(directory: Path, current_boot: str | None = None) -> None:
    """From here on, a changed boot id means that power was lost under a running learner."""
    _write(directory, _Record(SCHEMA, current_boot or boot_id(), None))


def mark_stopped(directory: Path, version: int, current_boot: str | None = None) -> None:
    """A clean stop: everything up to `version` has been flushed."""
    _write(directory, _Record(SCHEMA, current_boot or boot_id(), version))


def mark_unproven(directory: Path) -> None:
    """A flush of the journal failed: what the kernel still shows may never reach the medium.

    The next start treats it as a power loss: it trusts nothing that was not flushed. Takes the
    record away and flushes nothing: the disk that failed may not take another write. Raises
    OSError where not even that can be done.
    """
    durable.unlink(directory / RECORD)


def clean_stop_version(directory: Path) -> int | None:
    """The final version of the run before, if it stopped cleanly."""
    record = _read(directory)
    return record.stopped_at_version if record else None


def unclean_power_loss(directory: Path, current_boot: str | None = None) -> bool:
    """Whether the machine went down under the run before, or nothing says that it did not."""
    record = _read(directory)
    if record is None:
        return (directory / RECORD).exists() or _has_entries(directory / JOURNAL)
    if record.stopped_at_version is not None:
        return False
    return record.boot_id != (current_boot or boot_id())


def _has_entries(journal: Path) -> bool:
    return any(
        first > 0 or segment_path(journal, first).stat().st_size for first in segments(journal)
    )


def _write(directory: Path, record: _Record) -> None:
    durable.make_directory(directory)
    durable.write_file(directory / RECORD, msgspec.json.encode(record))


def _read(directory: Path) -> _Record | None:
    try:
        return msgspec.json.decode((directory / RECORD).read_bytes(), type=_Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
