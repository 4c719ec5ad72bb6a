"""Services for end-to-end tests; each test has its own folder, topic, port and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service, Topic


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Return what makes a service for a topic; whatever it started is killed at the end."""
    made: list[Service] = []

    def make(topic: Topic, **sections: Any) -> Service:
        folder = tmp_path / f"service-{len(made)}"
        folder.mkdir()
        made.append(Service(folder, topic, **sections))
        return made[-1]

    yield make
    for service in made:
        service.close()
