"""Who may write, and what happened to the machine since the last run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import Locked
from service.weights import boot, durable
from service.weights.journal import Journal
from service.weights.lock import DirectoryLock, Unseen

HOLDER = """
import sys
from pathlib import Path
from service.weights.lock import DirectoryLock
lock = DirectoryLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


def hold_elsewhere(directory: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout
    assert "held\n" == holder.stdout.readline()
    return holder


def test_a_second_process_is_kept_out_and_told_who_is_inside(tmp_path: Path) -> None:
    """
    The directory of a running learner is refused, with the learner's process number.
    """
    with hold_elsewhere(tmp_path) as holder:
        with pytest.raises(Locked, match=f"process {holder.pid} on "):
            DirectoryLock.acquire(tmp_path)
        holder.communicate("\n")


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """
    A kill leaves no stale lock behind.
    """
    with hold_elsewhere(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        with DirectoryLock.acquire(tmp_path) as lock:
            assert str(os.getpid()) in lock.path.read_text()


def test_a_lock_keeps_out_its_own_process_too(tmp_path: Path) -> None:
    """
    Two owners in one process are two owners.
    """
    with DirectoryLock.acquire(tmp_path), pytest.raises(Locked):
        DirectoryLock.acquire(tmp_path)


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    """
    Releasing is enough, and doing it twice is harmless.
    """
    first = DirectoryLock.acquire(tmp_path / "new" / "directory")
    first.release()
    first.release()

    DirectoryLock.acquire(tmp_path / "new" / "directory").release()


def test_a_lock_whose_holder_has_no_name_yet_still_keeps_out(tmp_path: Path) -> None:
    """
    The lock decides, not the text in its file.
    """
    with DirectoryLock.acquire(tmp_path) as lock:
        lock.path.write_text("")

        with pytest.raises(Locked, match="another process"):
            DirectoryLock.acquire(tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_lock_that_cannot_be_seen_now_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """
    A disk that does not answer is no second learner: asked again, it is ours still.
    """

    def away(self: Path, **_: object) -> os.stat_result:
        raise OSError(number, os.strerror(number), str(self))

    with DirectoryLock.acquire(tmp_path) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", away)
            with pytest.raises(Unseen, match=os.strerror(number)):
                lock.check()
        lock.check()


def test_a_journal_is_written_only_while_the_lock_is_ours(tmp_path: Path) -> None:
    """
    A learner stopped within a cut wakes beside a newer one: it appends nothing, seals nothing,
    removes nothing.
    """
    first = DirectoryLock.acquire(tmp_path)
    old = Journal.open(tmp_path / boot.JOURNAL, still_ours=first.check)
    for version in range(3):
        old.append({"version": version, "by": "first"})
    first.path.unlink()
    second = DirectoryLock.acquire(tmp_path)
    with Journal.open(tmp_path / boot.JOURNAL, still_ours=second.check) as new:
        new.append({"version": 3, "by": "second"})
        for act in (
            lambda: old.append({"version": 3, "by": "first"}),
            old.rotate,
            lambda: old.drop_before(3),
        ):
            with pytest.raises(Locked, match="was replaced"):
                act()
        new.append({"version": 4, "by": "second"})
        found = [(one["version"], one["by"]) for one in new.read(0)]

    assert [(0, "first"), (1, "first"), (2, "first"), (3, "second"), (4, "second")] == found
    old.close()
    first.release()
    second.release()


def test_an_entry_is_not_written_while_the_lock_cannot_be_seen(tmp_path: Path) -> None:
    """
    And is written, whole and once, when it can.
    """
    answers = iter([OSError(errno.EIO, "Input/output error"), None])

    def asked() -> None:
        if (error := next(answers)) is not None:
            raise error

    with Journal.open(tmp_path / boot.JOURNAL, still_ours=asked) as journal:
        with pytest.raises(OSError, match="Input/output"):
            journal.append({"version": 0})
        journal.append({"version": 0})

        assert [{"version": 0}] == list(journal.read(0))


def with_entries(directory: Path) -> None:
    with Journal.open(directory / boot.JOURNAL) as journal:
        journal.append({"version": 0, "kind": "genesis"})


def test_a_journal_without_a_record_beside_it_is_not_proven(tmp_path: Path) -> None:
    """
    Step 3 of putting a backup back: without boot.json the start counts as one after a power loss.
    """
    with_entries(tmp_path)
    boot.mark_stopped(tmp_path, 0, "boot-1")
    assert not boot.unclean_power_loss(tmp_path, "boot-1")
    (tmp_path / boot.RECORD).unlink()

    assert boot.unclean_power_loss(tmp_path, "boot-1")


def test_a_journal_whose_oldest_entries_were_dropped_is_not_empty(tmp_path: Path) -> None:
    """
    Its only file may have no entry yet.
    """
    with Journal.open(tmp_path / boot.JOURNAL) as journal:
        journal.append({"version": 0, "kind": "genesis"})
        journal.rotate()
        journal.drop_before(1)

    assert boot.unclean_power_loss(tmp_path, "boot-1")


def test_a_start_that_ended_before_its_first_entry_lost_nothing(tmp_path: Path) -> None:
    """
    The journal's file is there, and no version ever was.
    """
    (tmp_path / boot.JOURNAL).mkdir()
    (tmp_path / boot.JOURNAL / f"{0:020d}.hwj").write_bytes(b"")

    assert not boot.unclean_power_loss(tmp_path, "boot-1")


def test_a_first_run_had_no_power_loss(tmp_path: Path) -> None:
    """
    Nothing was running, so nothing was lost.
    """
    assert not boot.unclean_power_loss(tmp_path, "boot-1")
    assert boot.clean_stop_version(tmp_path) is None


def test_a_crash_on_the_same_boot_is_no_power_loss(tmp_path: Path) -> None:
    """
    What a dead process wrote is still with the kernel.
    """
    boot.mark_running(tmp_path, "boot-1")

    assert not boot.unclean_power_loss(tmp_path, "boot-1")


def test_another_boot_without_a_clean_stop_is_a_power_loss(tmp_path: Path) -> None:
    """
    The machine went down under a running learner.
    """
    boot.mark_running(tmp_path, "boot-1")

    assert boot.unclean_power_loss(tmp_path, "boot-2")
    assert boot.clean_stop_version(tmp_path) is None


def test_another_boot_after_a_clean_stop_is_no_power_loss(tmp_path: Path) -> None:
    """
    A clean stop flushes everything and says up to which version.
    """
    boot.mark_running(tmp_path, "boot-1")
    boot.mark_stopped(tmp_path, 41, "boot-1")

    assert not boot.unclean_power_loss(tmp_path, "boot-2")
    assert 41 == boot.clean_stop_version(tmp_path)


def test_running_again_takes_the_clean_stop_back(tmp_path: Path) -> None:
    """
    A clean stop excuses only the run it ended.
    """
    boot.mark_stopped(tmp_path, 41, "boot-1")
    boot.mark_running(tmp_path, "boot-2")

    assert boot.unclean_power_loss(tmp_path, "boot-3")


@pytest.mark.parametrize("text", ["", "{", '{"schema":"headwater.boot/1"}', "\0" * 80])
def test_an_unreadable_record_counts_as_a_power_loss(tmp_path: Path, text: str) -> None:
    """
    A history that cannot be proven is not assumed.
    """
    (tmp_path / boot.RECORD).write_text(text)

    assert boot.unclean_power_loss(tmp_path, "boot-1")


def test_this_machine_has_one_boot_id() -> None:
    """
    The real boot id is there and does not change while the machine runs.
    """
    assert boot.boot_id()
    assert boot.boot_id() == boot.boot_id()


def test_a_failed_flush_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Replacing a file is all or nothing, and the attempt leaves nothing behind.
    """
    path = tmp_path / "record"
    durable.write_file(path, b"old")

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "flush", broken)
    with pytest.raises(OSError, match="Input/output"):
        durable.write_file(path, b"new")

    assert [path] == list(tmp_path.iterdir())
    assert b"old" == path.read_bytes()


def test_a_journal_that_could_not_be_flushed_is_as_a_power_loss(tmp_path: Path) -> None:
    """
    On the same boot too; until a start has drawn its conclusion from it.
    """
    with_entries(tmp_path)
    boot.mark_running(tmp_path, "one")
    assert not boot.unclean_power_loss(tmp_path, "one")
    boot.mark_unproven(tmp_path)
    assert boot.unclean_power_loss(tmp_path, "one")
    boot.mark_running(tmp_path, "one")
    assert not boot.unclean_power_loss(tmp_path, "one")
