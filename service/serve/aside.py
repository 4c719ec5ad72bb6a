"""One thread beside the event loop, for what would keep other requests waiting.

Knows its own LiveModel (pins and scratch memory are one thread's) and how many may wait for it.
Does not know what is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.serve.live_model import LiveModel
from service.serve.problems import Refused

MOST_WAITING = 16

Result = TypeVar("Result")


class Aside:
    """Runs work with a LiveModel that `open_live` makes when it is first needed."""

    def __init__(self, open_live: Callable[[], LiveModel]) -> None:
        self._open_live = open_live
        self._live: LiveModel | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")
        self._waiting = 0

    async def run(self, work: Callable[[LiveModel], Result]) -> Result:
        """Return what `work` returns; Refused (OVERLOADED) when too many wait already."""
        if self._waiting >= MOST_WAITING:
            raise Refused("OVERLOADED", "too many large requests are waiting", retry_after_s=1)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._do, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish the work at hand and let the thread end."""
        self._thread.shutdown()
        if self._live is not None:
            self._live.close()

    def _do(self, work: Callable[[LiveModel], Result]) -> Result:
        if self._live is None:
            self._live = self._open_live()
        self._live.follow()
        return work(self._live)
