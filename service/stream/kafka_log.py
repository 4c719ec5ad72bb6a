"""What librdkafka itself has to say, without its floods. Knows no broker and no records.

An absent broker is told several times a second; each such line is let through once a minute.
Complaints that a setting is for readers only (or producers only) are left out: `kafka.client` is
one list for both.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator

_AGAIN_S = 60.0
_LATELY = 200
_digits = re.compile(r"\d+")


class _Calm(logging.Filter):
    """Lets each line through once a minute, whatever numbers it holds."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = _digits.sub("#", record.getMessage())
        if text.startswith("CONFWARN") and text.endswith(" instance"):
            return False
        now = time.monotonic()
        if now - self._said_s.get(text, float("-inf")) < _AGAIN_S:
            return False
        if len(self._said_s) >= _LATELY:
            self._said_s.clear()
        self._said_s[text] = now
        return True


@contextlib.contextmanager
def unheard(*, unless: bool) -> Iterator[None]:
    """Keep the clients silent: whoever asks is told by errors, and once."""
    log = client_log()
    before = log.level
    log.setLevel(before if unless else logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def client_log() -> logging.Logger:
    """Return the logger to give to every client."""
    log = logging.getLogger("librdkafka")
    if not any(isinstance(known, _Calm) for known in log.filters):
        log.addFilter(_Calm())
    return log
