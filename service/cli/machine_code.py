"""Where compiled kernels are kept, if neither beside the package nor in the user's home.

numba keeps them beside the package, else in the user's cache; where it may write to neither (another
user's installation, a read-only image, no home) it refuses to work. Whoever can write there can run
code as this user, so the folder is this user's alone. Asked before numba is imported.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, MutableMapping
from pathlib import Path

import service

NAMED = "NUMBA_CACHE_DIR"


def _writable(folder: Path) -> bool:
    """Whether something can be made in it, or in the first of its parents that is there."""
    try:
        there = next((p for p in (folder, *folder.parents) if p.exists()), folder)
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        return False


def place(
    environment: MutableMapping[str, str],
    temporary: Callable[[], str] = tempfile.gettempdir,
    writable: Callable[[Path], bool] = _writable,
) -> None:
    """Name a folder in the environment, for this process and those it starts, if numba needs one.

    Where not even a temporary one can be made, nothing is named: numba says what is wrong.
    """
    beside = Path(service.__file__).parent
    if environment.get(NAMED) or writable(beside) or writable(_users(environment)):
        return
    try:
        own = Path(temporary()) / f"headwater-compiled-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            own.mkdir(mode=0o700)
        found = own.lstat()
        alone = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not (alone and found.st_uid == os.getuid()):
            own = Path(tempfile.mkdtemp(prefix="headwater-compiled-", dir=own.parent))
    except OSError:
        return
    environment[NAMED] = str(own)


def _users(environment: MutableMapping[str, str]) -> Path:
    """The user's cache, as numba finds it."""
    return Path(environment.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
