"""Troubles of the client that it gets over by itself: counted, and logged once a minute each."""

from __future__ import annotations

from collections import Counter

from service.logs import logger
from service.stream.broker import Trouble

_AGAIN_S = 60.0
_log = logger(__name__)


class Troubles:
    """How often each kind of trouble was met."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By the client's code."""
        self._said_s: dict[str, float] = {}

    def note(self, trouble: Trouble, now_s: float) -> None:
        """Count it; log it unless its kind was logged lately."""
        self.counts[trouble.code] += 1
        if now_s - self._said_s.get(trouble.code, float("-inf")) >= _AGAIN_S:
            self._said_s[trouble.code] = now_s
            _log.warning(
                "kafka trouble",
                code=trouble.code,
                error=trouble.message,
                topic=trouble.topic,
                times=self.counts[trouble.code],
            )
