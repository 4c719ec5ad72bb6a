"""The folder of a demo: made, locked, removed; and those removed that killed demos have left.

A demo and its service hold a shared lock on the folder itself, so whoever gets it alone knows that
nobody uses the folder any more, whatever ended them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "headwater-demo-"
_UNLOCKED = ".headwater-new-"
_OURS = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")
"""As `mkdtemp` names folders."""
_HELD = frozenset({"demo.yaml", "run.log", "runtime", "state"})
"""All that a demo keeps there: what holds anything else is no demo's, whatever its name."""


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Have a folder inside the block, this user's alone; first clear those of demos that died."""
    root = Path(tempfile.gettempdir()).absolute()
    for old in root.glob(f"{PREFIX}*"):
        _clear(old)
    made = Path(tempfile.mkdtemp(prefix=_UNLOCKED, dir=root))
    lock = hold(made)
    try:
        made = made.rename(root / made.name.replace(_UNLOCKED, PREFIX))  # locked: now to be seen
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def hold(folder: Path) -> int:
    """Share the lock of a folder: it is in use until the file descriptor that this returns, and
    those that processes inherit, are closed."""
    found = os.open(folder, os.O_RDONLY)
    fcntl.flock(found, fcntl.LOCK_SH)
    return found


def _clear(folder: Path) -> None:
    """Remove a folder of a demo that nobody holds; leave any other."""
    if not _OURS.fullmatch(folder.name):
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or just removed
        return
    try:
        seen = os.fstat(opened)
        private = seen.st_uid == os.getuid() and not seen.st_mode & 0o077
        if private and _HELD.issuperset(one.name for one in folder.iterdir()):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # in use, or on a file server that knows no locks
    finally:
        os.close(opened)
