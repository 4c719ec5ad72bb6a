"""Both kinds of client, for tests that hold for either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service.client import AsyncClient, Client

Make = Callable[..., Any]


class Awaiting:
    """An AsyncClient whose calls are waited for, so that one test serves both clients."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **named)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)
        return lambda *arguments, **named: self._runner.run(call(*arguments, **named))

    def __enter__(self) -> Awaiting:
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._client.__aexit__(*error))
        self._runner.close()


@pytest.fixture(params=[Client, Awaiting], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a client of either kind."""
    found: Make = request.param
    return found
