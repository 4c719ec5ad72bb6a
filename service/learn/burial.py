"""Dead letters, acknowledged before their cut is journaled: the cursor never passes one that is not.

While Kafka does not take them, learning waits and says why; the API goes on answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from service.errors import BrokerAway, TopicMissing
from service.learn.learner import DeadEvent
from service.learn.standing import Standing
from service.stream.deadletters import DeadLetters

_log = structlog.get_logger(__name__)
_PATIENCE_S = 30.0
_AGAIN_S = 0.5
Beat = Callable[[str, str], None]
Result = TypeVar("Result")


class Burial:
    """Opens the dead-letter topic when the first letter is due. Owned by the loop's thread."""

    def __init__(
        self, open_letters: Callable[[], DeadLetters], should_stop: Callable[[], bool]
    ) -> None:
        self._open = open_letters
        self._should_stop = should_stop
        self._letters: DeadLetters | None = None

    def bury(self, dead: Sequence[DeadEvent], standing: Standing, beat: Beat) -> None:
        """Return when all are acknowledged. Raises BrokerAway when told to stop before that."""
        letters = self._letters or self._persist(self._open, beat)
        self._letters = letters
        for event in dead:
            letters.add(
                event.record,
                row=event.row,
                reason=event.reason,
                error=event.error,
                version=standing.version,
                lineage=standing.lineage,
            )
        self._persist(lambda: letters.flush(1.0), beat)

    def close(self) -> None:
        """Let go of the broker."""
        if self._letters is not None:
            self._letters.close()

    def _persist(self, do: Callable[[], Result], beat: Beat) -> Result:
        give_up, said = time.monotonic() + _PATIENCE_S, ""
        while True:
            try:
                return do()
            except (BrokerAway, TopicMissing) as error:
                if self._should_stop():
                    raise
                late = time.monotonic() > give_up
                beat("halted" if late else "learning", f"dead letters: {error}")
                if str(error) != said:
                    said = str(error)
                    _log.warning("dead_letters_wait", why=said)
                time.sleep(_AGAIN_S)
