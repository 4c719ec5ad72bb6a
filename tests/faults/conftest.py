"""Services, clusters and mock clusters for the faults."""

from __future__ import annotations

from tests.e2e.conftest import make_service

__all__ = ["make_service"]
