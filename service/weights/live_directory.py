"""Which live file a runtime directory has, and how a new one comes to be there.

`live.json` names it. A file is complete before the pointer names it and keeps its size for ever;
its space is really there, because writing through a mapping to space that is not there kills the
process. The file before it is kept until the new one is published to: a reader that starts in
between has nothing else to serve. Other live files are unlinked; who has them mapped keeps them.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

import msgspec
import numpy as np
import structlog

from service import crash
from service.errors import HeadwaterError
from service.weights import durable, live_format
from service.weights.live_file import LiveFile
from service.weights.live_format import Identity, Number, Words

_log = structlog.get_logger(__name__)

POINTER = "live.json"
SCHEMA = "headwater.live/1"
_FILE = re.compile(r"live-[0-9a-f]{12}-([0-9]+)\.bin")
_FILE_MODE = 0o600
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _Pointer(msgspec.Struct, frozen=True):
    schema: str
    file: str


def pointed_to(directory: Path) -> Path:
    """The file that the pointer names; OSError or ValueError if there is no good pointer."""
    content = (directory / POINTER).read_bytes()
    pointer = msgspec.json.decode(content, type=_Pointer)
    if pointer.schema != SCHEMA or not _FILE.fullmatch(pointer.file):
        raise ValueError(f"{directory / POINTER} does not name a live file")
    return directory / pointer.file


def present(directory: Path, identity: Identity) -> LiveFile | None:
    """The file that is there, attached, if it is one like this."""
    try:
        file = LiveFile.attach(pointed_to(directory))
    except (OSError, ValueError):
        return None  # there is none, or none that can be continued: a new one is always possible
    try:
        fits = Identity.unpack(file.start(), file.nbytes) == identity
    except ValueError:
        fits = False
    if not fits:
        file.detach()
        return None
    return file


def begin(directory: Path, identity: Identity, layout: bytes) -> LiveFile:
    """A new file like this, attached and pointed to; HeadwaterError if there is no room for it."""
    path = directory / f"live-{identity.layout_sha256.hex()[:12]}-{_next_number(directory)}.bin"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        _allocate(fd, identity.geometry.file_bytes)
        os.pwrite(fd, layout, live_format.LAYOUT_OFFSET)
        crash.point("live_file_half_made")
        os.pwrite(fd, identity.pack(), 0)
    except OSError as error:
        path.unlink()
        if error.errno not in _NO_ROOM:
            raise
        raise HeadwaterError(
            f"the live weights need {identity.geometry.file_bytes} bytes in {directory}, and there"
            f" is no room for them ({error.strerror}). Give that file system more space, or set"
            " runtime.directory to another one"
        ) from error
    finally:
        os.close(fd)
    pointer = msgspec.json.encode(_Pointer(SCHEMA, path.name))
    crash.point("live_file_before_pointer")
    supersede(directory)
    durable.write_file(directory / POINTER, pointer)
    crash.point("live_pointer_before_unlink")
    _forget(directory, {path, last_published(directory, path)})
    return LiveFile.attach(path)


def last_published(directory: Path, but: Path) -> Path | None:
    """The newest file that was ever published to, apart from this one."""
    others = [path for path in _files(directory) if path != but]
    return next(filter(_was_published, sorted(others, key=_number, reverse=True)), None)


def forget_others(directory: Path) -> None:
    """Remove every file but the one that is pointed to: it is served now."""
    _forget(directory, {pointed_to(directory)})


def _forget(directory: Path, stay: set[Path | None]) -> None:
    for path in _files(directory):
        if path not in stay:
            path.unlink()


def _was_published(path: Path) -> bool:
    file = LiveFile.attach(path)
    try:
        Identity.unpack(file.start(), file.nbytes)
        words: Words = np.frombuffer(file.readable(), dtype=np.uint64)
        return int(words[live_format.PUBLICATIONS]) > 0
    except ValueError:
        return False  # it was never finished
    finally:
        file.detach()


def supersede(directory: Path) -> None:
    """Have readers of the present file look at the pointer before each read from now on: before
    anything newer than what they serve is published elsewhere."""
    try:
        file = LiveFile.attach(pointed_to(directory))
    except (OSError, ValueError):
        return  # there is none, or none that anybody can serve
    try:
        Identity.unpack(file.start(), file.nbytes)
        words: Words = np.frombuffer(file.writable(), dtype=np.uint64)
        Number(words, live_format.SUPERSEDED, live_format.fence_here()).store(1)
    except ValueError as error:
        _log.debug("live_file_not_marked", why=str(error))
    finally:
        file.detach()


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if _FILE.fullmatch(path.name)]


def _number(path: Path) -> int:
    name = _FILE.fullmatch(path.name)
    assert name is not None, path
    return int(name[1])


def _next_number(directory: Path) -> int:
    return 1 + max(map(_number, _files(directory)), default=0)


def _allocate(fd: int, nbytes: int) -> None:
    if sys.platform == "linux":
        try:
            os.posix_fallocate(fd, 0, nbytes)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
        else:
            return
    _write_zeros(fd, nbytes)


def _write_zeros(fd: int, nbytes: int) -> None:
    zeros = memoryview(bytes(1 << 20))
    at = 0
    while at < nbytes:
        at += os.pwrite(fd, zeros[: nbytes - at], at)
