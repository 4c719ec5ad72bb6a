"""What contract checks share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _small_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crosses of fields have few rows, so that states are small."""
    monkeypatch.setattr("service.events.schema.CROSS_BUCKETS", 64)
