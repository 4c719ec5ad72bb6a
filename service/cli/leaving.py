"""The last step of a process that has closed everything it opened."""

from __future__ import annotations

import logging
import os
import sys


def leave() -> None:
    """End with exit code 0, now.

    Taking down the interpreter with a compiler and torch inside can take seconds in which nothing
    happens any more; a supervisor or an orchestrator waits for each of them.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
