"""A live file with one writer and one reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.weights.live import LiveReader, LiveWriter
from tests.weights.live_images import Clock, opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Iterator[LiveWriter]:
    with opened(tmp_path, clock=clock) as one:
        yield one


@pytest.fixture
def reader(tmp_path: Path, writer: LiveWriter) -> Iterator[LiveReader]:
    one = LiveReader(tmp_path)
    yield one
    one.close()
