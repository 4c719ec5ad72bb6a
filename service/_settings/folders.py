"""Where processes share what need not outlive them: a tmpfs where there is one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from service.errors import BadSettings, Problem


def runtime_root() -> Path:
    """Return a folder of this user's on a tmpfs; else one for temporary files."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and os.access(session, os.W_OK | os.X_OK):
        return Path(session) / "headwater"
    for root in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if os.access(root, os.W_OK | os.X_OK):
            return root / f"headwater-{os.getuid()}"
    raise BadSettings(
        [
            Problem(
                "runtime.directory",
                None,
                "no folder for live weights was found that can be written to",
                "Name one in runtime.directory.",
            )
        ]
    )
