"""Where compiled kernels are kept if the installation cannot be written to: an image's own cache.

numba keeps what it compiled beside the sources, and in a container whose root is read-only it would
neither write there nor read. With these two variables it reads what the image was built with, and
keeps what is new in a folder that can be written to:

NUMBA_CACHE_DIR=/tmp/kernels
NUMBA_CACHE_LOCATOR_CLASSES=service.kernel_cache.ShippedLocator

Imported by numba alone, because the second names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import UserProvidedCacheLocator


class ShippedLocator(UserProvidedCacheLocator):
    """NUMBA_CACHE_DIR, in which links stand for whatever lies beside the sources already.

    A link costs no room, and numba replaces a file when it has more to say: nothing is ever written
    to where a link leads.
    """

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> ShippedLocator | None:
        """Return the locator of one kernel; None where the folder cannot be written to."""
        locator: ShippedLocator | None = super().from_function(py_func, py_file)  # type: ignore[no-untyped-call]
        if locator is not None:
            _link(Path(py_file), Path(locator.get_cache_path()))  # type: ignore[no-untyped-call]
        return locator


@functools.cache
def _link(source: Path, folder: Path) -> None:
    """Link what was compiled of one source file into the folder; what is there stays."""
    for shipped in (source.parent / "__pycache__").glob(f"{source.stem}.*.nb[ic]"):
        with suppress(FileExistsError):
            (folder / shipped.name).symlink_to(shipped)
