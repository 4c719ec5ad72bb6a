"""What the bits of a weight depend on is part of the fingerprint."""

from __future__ import annotations

from pathlib import Path

import service
from service.learn import environment

ROOT = Path(service.__file__).parent
_COPIES = {"weights/live_copy.py"}
"""Compiled, and no part of any weight."""


def test_all_compiled_arithmetic_is_in_the_fingerprint():
    """Or a replay by other code would not begin a new lineage."""
    compiled = {str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py") if "njit" in p.read_text()}
    covered = {str(p.relative_to(ROOT)) for p in environment.sources()}

    assert "model/strategies/pulls.py" in compiled
    assert compiled - covered <= _COPIES


def test_all_that_a_replay_runs_is_in_the_fingerprint():
    """Memories, drift, what an entry of the journal does, and where pretrained weights go."""
    covered = {str(p.relative_to(ROOT)) for p in environment.sources()}

    assert covered >= {
        "learn/history.py", "learn/drift/watch.py", "learn/drift/reset.py", "learn/pretrained.py",
        "model/strategies/memory.py", "model/strategies/lesson.py", "model/kinds/module_build.py",
    }  # fmt: skip
