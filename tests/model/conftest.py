"""What tests of models share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _small_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crosses of fields have few rows, so that plain torch can follow."""
    monkeypatch.setattr("service.events.schema.CROSS_BUCKETS", 64)
