"""What a state directory holds, at a glance: from the manifests alone, without reading a tensor.

For the first lines of a start. Nothing is proven by it: the learner checks what it uses.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from service.weights import manifest
from service.weights.boot import JOURNAL
from service.weights.journal_reader import segments
from service.weights.manifest import Manifest


class Glance(msgspec.Struct, frozen=True):
    """The newest snapshot. Without one: version and the rest are None, and the journal leads from
    its beginning."""

    version: int | None = None
    lineage: str | None = None
    events_learned: int | None = None
    saved_at: datetime | None = None

    def age_s(self, now: datetime | None = None) -> float | None:
        """How long ago it was saved; not below 0, whatever the clock did."""
        if self.saved_at is None:
            return None
        return max(0.0, ((now or datetime.now(UTC)) - self.saved_at).total_seconds())


def glance(state: Path) -> Glance | None:
    """Return what is there; None where nothing is. Raises OSError where that cannot be seen."""
    found: list[Manifest] = []
    if state.is_dir() and (snapshots := state / "snapshots").is_dir():
        for path in snapshots.glob(f"v*-*/{manifest.NAME}"):
            try:
                found.append(manifest.decode(path.read_bytes()))
            except (FileNotFoundError, ValueError, msgspec.MsgspecError):
                continue  # collected meanwhile, or damaged: the learner says so
    newest = max(found, key=lambda one: one.serial, default=None)
    if newest is not None:
        return Glance(
            newest.version,
            newest.lineage,
            newest.meta.get("events_learned"),
            datetime.fromisoformat(newest.created_at),
        )
    return Glance() if segments(state / JOURNAL) else None
