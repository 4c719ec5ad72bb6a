"""What the bits of a weight depend on beside recipe and cuts. Knows no learner.

Equal fingerprints mean that a replay is expected to give the same bits. When they differ, the
history before cannot be proven here, and a new lineage begins.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import secrets
from pathlib import Path

import llvmlite.binding

import service

_LIBRARIES = ("numpy", "numba", "llvmlite", "torch", "msgspec")
_CODE = (
    "model/*.py", "model/kinds/*.py", "model/experts/*.py", "model/strategies/*.py", "events/*.py",
    "learn/learner.py",
    "learn/quarantine.py", "learn/history.py", "learn/pretrained.py", "learn/drift/*.py",
    "learn/rivals.py", "learn/duel.py", "learn/marks.py", "learn/holdout.py",
    "stream/cutter.py", "stream/lanes.py",
)  # fmt: skip
"""Our own code that decides bits: what a row is, how it is learned, in which order."""


def fingerprint() -> dict[str, str]:
    """Return what computes here: processor, interpreter, libraries, our own arithmetic."""
    features = llvmlite.binding.get_host_cpu_features().flatten()
    result = {
        "machine": platform.machine(),
        "cpu": llvmlite.binding.get_host_cpu_name(),
        "cpu_features": hashlib.sha256(features.encode()).hexdigest()[:16],
        "python": platform.python_version(),
        "code": _code(),
    }
    for name in _LIBRARIES:
        result[name] = importlib.metadata.version(name)
    return result


def differences(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return a line for each entry that is not the same."""
    return [
        f"{name}: {old.get(name)} -> {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def mint_lineage() -> str:
    """Return the name of a new history: 16 random hexadecimal digits."""
    return secrets.token_hex(8)


def sources() -> list[Path]:
    """Return the files of our own that decide bits."""
    root = Path(service.__file__).parent
    return [source for pattern in _CODE for source in sorted(root.glob(pattern))]


def _code() -> str:
    total = hashlib.sha256()
    for source in sources():
        total.update(source.name.encode())
        total.update(source.read_bytes())
    return total.hexdigest()[:16]
