"""Put bytes on disk so that a power cut cannot undo or tear them.

Knows files and directories; does not know what is in them. A file written here is complete under
its name or not there at all, and both the bytes and the name are flushed before the call returns.
A flush that fails raises: the kernel may have dropped the pages, so asking the same file again
would lie. The caller starts over with a new file.

Journal and snapshots change the disk through the functions of this module and no others, so that a
test can put a disk of its own in their place and see what a power cut leaves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp-"
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


def flush(fd: int) -> None:
    """Everything written to this descriptor is on the medium, or OSError."""
    if sys.platform == "darwin":
        # macOS's fsync stops at the drive's own cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def create(path: Path) -> int:
    """A descriptor of a new, empty file; its name is the caller's to flush."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, FILE_MODE)


def reopen(path: Path) -> int:
    """A descriptor to append to a file that is there."""
    return os.open(path, os.O_WRONLY | os.O_APPEND)


def append(fd: int, content: bytes | memoryview) -> int:
    """Hand bytes to the kernel in one call; how many it took."""
    return os.write(fd, content)


def truncate(fd: int, size: int) -> None:
    """Cut the file off at `size` bytes."""
    os.ftruncate(fd, size)


def size(fd: int) -> int:
    """How long the file is, in bytes."""
    return os.fstat(fd).st_size


def close(fd: int) -> None:
    """Give the descriptor back. Flushes nothing."""
    os.close(fd)


def create_directory(path: Path) -> None:
    """A new, empty directory; its name is the caller's to flush."""
    path.mkdir(mode=DIRECTORY_MODE)


def rename(old: Path, new: Path) -> None:
    """Give a file or directory another name in its directory, in place of what has it."""
    old.replace(new)


def unlink(path: Path) -> None:
    """Remove the file, if it is there."""
    path.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    """Remove the directory and all files in it."""
    for file in path.iterdir():
        unlink(file)
    path.rmdir()


def flush_directory(directory: Path) -> None:
    """The names in this directory are on the medium: a rename is not durable before this."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Create the directory and its missing parents; each new name is flushed.

    Also the name of one that was there: who made it may have died before the flush.
    """
    missing = [p for p in (directory, *directory.parents) if not p.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            create_directory(path)
        flush_directory(path.parent)
    if not missing:
        flush_directory(directory.parent)


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by these bytes, whole or not at all."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        write_new(temporary, content)
        rename(temporary, path)
    except OSError:
        unlink(temporary)
        raise
    flush_directory(path.parent)


def write_new(path: Path, content: bytes, before_flush: Callable[[], None] | None = None) -> None:
    """A new file with these bytes, flushed; its name is the caller's to flush."""
    fd = create(path)
    try:
        append_all(fd, content)
        if before_flush is not None:
            before_flush()
        flush(fd)
    finally:
        close(fd)


def append_all(fd: int, content: bytes | memoryview) -> None:
    """Hand all the bytes to the kernel, in as many calls as it takes."""
    rest = memoryview(content)
    while rest:
        rest = rest[append(fd, rest) :]
