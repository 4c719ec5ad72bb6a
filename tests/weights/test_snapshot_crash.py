"""Power cuts and failing disks in the middle of writing snapshots."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.weights import durable
from service.weights.snapshots import Keep, Snapshots
from tests.weights.states import meta, parts, same

KEEP = Keep(last=2, hourly=0, daily=0)


class PowerCut(BaseException):
    """The machine goes down here. No `except` of the service may catch it."""


class Disk:
    """A disk that loses power before its `cut`-th change and forgets what was not flushed.

    It watches flushes and renames. `lose` then applies what the kernel had not written: files that
    were not flushed become empty, and names that were not flushed vanish.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path, cut: int) -> None:
        self.root = root
        self.changes = 0
        self.down = False
        self._cut = cut
        self._flushed = {_inode(path) for path in root.rglob("*")}
        self._named = {_name(path) for path in root.rglob("*")}
        flush, flush_directory = durable.flush, durable.flush_directory
        rename, replace = Path.rename, Path.replace
        unlink, rmdir = Path.unlink, Path.rmdir

        def flush_and_note(fd: int) -> None:
            self._change()
            flush(fd)
            self._flushed.add(os.fstat(fd).st_ino)

        def flush_directory_and_note(directory: Path) -> None:
            self._change()
            flush_directory(directory)
            self._named |= {_name(path) for path in directory.iterdir()}

        def counted(change: Any) -> Any:
            def changed(path: Path, *rest: Any, **named: Any) -> Any:
                self._change()
                return change(path, *rest, **named)

            return changed

        patch.setattr(durable, "flush", flush_and_note)
        patch.setattr(durable, "flush_directory", flush_directory_and_note)
        patch.setattr(Path, "rename", counted(rename))
        patch.setattr(Path, "replace", counted(replace))
        patch.setattr(Path, "unlink", counted(unlink))
        patch.setattr(Path, "rmdir", counted(rmdir))

    def _change(self) -> None:
        if self.changes == self._cut:
            self.down = True
        if self.down:
            raise PowerCut
        self.changes += 1

    def lose(self, *, names: bool) -> None:
        """What the disk holds when the machine comes up again."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            if names and _name(path) not in self._named:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_file() and _inode(path) not in self._flushed:
                os.truncate(path, 0)


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _name(path: Path) -> tuple[int, str]:
    return _inode(path.parent), path.name  # a directory that is renamed keeps its entries


def attempt(root: Path, cut: int, version: int, *, names: bool) -> tuple[bool, bool]:
    """Write a version after 1, 2 and 3 and collect, with power cut before the `cut`-th change.

    Returns whether that was cut short, and whether `write` had returned by then.
    """
    snapshots = Snapshots(root, KEEP)
    for earlier in (1, 2, 3):
        snapshots.write(parts(earlier), meta(earlier))
    returned = False
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, root, cut)
        try:
            snapshots.write(parts(version), meta(version))
            returned = True
            snapshots.collect()
        except PowerCut:
            assert disk.down
    if disk.down:
        disk.lose(names=names)
    return disk.down, returned


def comes_up_well(root: Path, possible: set[int]) -> bool:
    """Whether a whole snapshot is found, the new one if it was promised, and writing goes on."""
    snapshots = Snapshots(root, KEEP)
    found = snapshots.newest_valid()
    if found is None or found.failures or snapshots.verify():
        return False
    version = found.manifest.version
    whole = same(parts(version), found.parts) and version in possible
    snapshots.write(parts(5), meta(5))
    snapshots.collect()
    return whole and snapshots.verify() == []


@pytest.mark.parametrize("version", [4, 3, 2])
@pytest.mark.parametrize("names", [True, False])
def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_state(
    tmp_path: Path, names: bool, version: int
) -> None:
    """
    Never a mix, never nothing; and the new one for sure once `write` has returned. The new one may
    have the name of one that is there, after a restart from an older one.
    """
    bad = []
    cut, was_cut = 0, True
    while was_cut:
        root = tmp_path / str(cut)
        was_cut, returned = attempt(root, cut, version, names=names)
        if not comes_up_well(root, {version} if returned else {3, version}):
            bad.append(cut)
        cut += 1

    assert [] == bad
    assert cut > 8


FLUSHES = ("flush", "flush_directory")


@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.parametrize("which", range(5))
def test_a_failed_flush_ends_the_attempt_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: str, which: int
) -> None:
    """
    The snapshot before stays, nothing half is left, no file is flushed twice.
    """
    snapshots = Snapshots(tmp_path, KEEP)
    snapshots.write(parts(1), meta(1))
    real, calls = getattr(durable, flush), [0]

    def failing(what: Any) -> None:
        calls[0] += 1
        if calls[0] - 1 == which:
            raise OSError(errno.EIO, "Input/output error")
        real(what)

    with monkeypatch.context() as broken:
        broken.setattr(durable, flush, failing)
        try:
            snapshots.write(parts(2), meta(2))
            failed = False
        except OSError:
            failed = True
    visible = [entry.manifest.version for entry in snapshots.list() if entry.manifest]
    assert [] == snapshots.verify()
    assert [] == list(tmp_path.rglob(".tmp*"))
    assert failed == (which < calls[0])
    assert 1 in visible
    assert failed or 2 in visible

    snapshots.write(parts(2), meta(2))
    assert same(parts(2), snapshots.load("v000000000002-0a1b2c3d")[0])


def test_a_full_disk_keeps_the_old_snapshot_and_gives_its_space_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Parts already written by the failed attempt go, or each attempt would fill the disk more.
    """
    snapshots = Snapshots(tmp_path, KEEP)
    snapshots.write(parts(1), meta(1))
    before = sorted(tmp_path.rglob("*"))
    create, calls = durable.create, [0]

    def full(path: Path) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(path)

    monkeypatch.setattr(durable, "create", full)
    with pytest.raises(OSError, match="No space left"):
        snapshots.write(parts(2), meta(2))

    assert before == sorted(tmp_path.rglob("*"))
    snapshots.write(parts(2), meta(2))
    assert [] == snapshots.verify()


def test_what_a_failed_attempt_wrote_is_not_trusted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After a flush failed, every changed part is written again from memory.
    """
    snapshots = Snapshots(tmp_path, KEEP)
    with monkeypatch.context() as broken:

        def failing(directory: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

        broken.setattr(durable, "flush_directory", failing)
        with pytest.raises(OSError, match="Input/output"):
            snapshots.write(parts(1), meta(1))
    saved: list[Path] = []
    create = durable.create

    def noted(path: Path) -> int:
        if path.parent.name == "objects":
            saved.append(path)
        return create(path)

    monkeypatch.setattr(durable, "create", noted)
    snapshots.write(parts(1), meta(1))

    assert 3 == len(saved)
