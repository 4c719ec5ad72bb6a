"""Keep a second writer out of a directory.

One flock on one file, held for the life of the process that writes there. The kernel lets go of it
when the process dies, however it dies, so there is no stale lock to clean up. The file says who
holds it; that text is for people, the lock itself decides. The file is never removed: removing it
would let two processes lock two files of the same name.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from service.errors import Locked
from service.weights import durable


class Unseen(OSError):
    """Whose the directory is cannot be seen now. Caller: write nothing, ask again."""


class DirectoryLock:
    """The right to write in a directory. Opened by `acquire`, closed by `release` or `with`."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self.path = path

    @classmethod
    def acquire(cls, directory: Path, name: str = "LOCK") -> Self:
        """Take the lock or raise Locked at once; never waits."""
        durable.make_directory(directory)
        path = directory / name
        fd = os.open(path, os.O_RDWR | os.O_CREAT, durable.FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 4096, 0)
            os.close(fd)
            raise Locked(
                f"{directory} is in use by {_describe(holder)}. One learner at a time: stop that "
                "one, or give this one another `name` or state.directory"
            ) from error
        except OSError:
            os.close(fd)
            raise
        with suppress(OSError):  # a full disk: the lock holds without a name in it
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(_Holder(os.getpid(), socket.gethostname())), 0)
        return cls(fd, path)

    def check(self) -> None:
        """Raise Locked when the directory is not this process's any more.

        The lock itself cannot be lost, but its file can be removed, or the directory replaced by
        another, under a process that was stopped; then a second one may be at work there.
        Unseen where the disk does not answer.
        """
        assert self._fd is not None, "check after release"
        mine = os.fstat(self._fd)
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Locked(f"{self.path} cannot be seen any more: {error.strerror}") from error
        except OSError as error:
            why = f"the lock cannot be looked at: {error.strerror}"
            raise Unseen(error.errno, why, str(self.path)) from error
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            raise Locked(
                f"{self.path} was replaced while this process held it: another learner may be at "
                "work there, so this one ends; never remove the file"
            )

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def holder(directory: Path, name: str = "LOCK") -> str | None:
    """Return who writes in a directory, for people; None where nobody does. Takes no lock, so a
    learner that starts at the same moment is not in its way: the kernel's list of locks is read.
    OSError where there is no such list (macOS)."""
    path = directory / name
    try:
        at = path.stat()
    except FileNotFoundError:
        return None
    place = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
    with Path("/proc/locks").open(encoding="ascii") as listed:
        if any(place in line.split() for line in listed if " FLOCK " in line):
            return _describe(path.read_bytes()[:4096])
    return None


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    host: str


def _describe(text: bytes) -> str:
    try:
        holder = msgspec.json.decode(text, type=_Holder)
    except msgspec.DecodeError:
        return "another process"  # it has the lock and has not written its name yet
    return f"process {holder.pid} on {holder.host}"
