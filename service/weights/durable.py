"""Put bytes on disk so that a power cut cannot undo or tear them.

Knows files and directories; does not know what is in them. A file written here is complete under
its name or not there at all, and both the bytes and the name are flushed before the call returns.
A flush that fails raises: the kernel may have dropped the pages, so asking the same file again
would lie. The caller starts over with a new file.
"""

from __future__ import annotations

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


def flush_path(path: Path) -> None:
    """The same for a file that somebody else wrote and closed."""
    fd = os.open(path, os.O_RDONLY)
    try:
        flush(fd)
    finally:
        os.close(fd)


def flush_directory(directory: Path) -> None:
    """The names in this directory are on the medium: a rename is not durable before this."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Create the directory and its missing parents; each new name is flushed."""
    missing = [p for p in (directory, *directory.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        flush_directory(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by these bytes, whole or not at all."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        write_new(temporary, content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


def write_new(path: Path, content: bytes, before_flush: Callable[[], None] | None = None) -> None:
    """A new file with these bytes, flushed; its name is the caller's to flush."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if before_flush is not None:
            before_flush()
        flush(fd)
    finally:
        os.close(fd)
