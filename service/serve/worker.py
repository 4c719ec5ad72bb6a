"""One API process: uvicorn over a listening socket that it inherits.

Knows uvicorn and signals. Does not know who started it. SIGTERM or SIGINT: stop accepting, answer
what was asked, exit 0; a second one does not wait. uvicorn's own signal handling would kill the
process after the shutdown, before its metrics are written, and is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from service.logs import logger
from service.metrics import Metrics
from service.serve.app import create_app
from service.serve.protocol import Protocol
from service.settings import Settings

KEEP_ALIVE_S = 65
DRAIN_S = 10

_log = logger(__name__)


def work(settings: Settings, directory: Path, listening_fd: int, index: int) -> int:
    """Answer requests until told to stop; return the exit code."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # noqa: TID251 - not a setting of ours
        _log.warning(
            "prometheus_multiproc_dir_ignored",
            hint="/metrics covers every process already; unset PROMETHEUS_MULTIPROC_DIR",
        )
    metrics = Metrics(f"api-{index}")
    config = uvicorn.Config(
        create_app(settings, directory, metrics),
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # it warns of every request that is not HTTP
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    listener = socket.socket(fileno=listening_fd)
    _log.info("answering", pid=os.getpid())
    with metrics.kept_in(directory):
        try:
            _Server(config).run(sockets=[listener])
        except SystemExit:
            return 1  # uvicorn's own code for a failed start means "bad settings" to us
    return 0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
