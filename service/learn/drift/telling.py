"""How people hear of drift: a line in the log for each alarm, and a post to a webhook.

Posting never holds up learning: a thread of its own takes alarms from a queue of 100, tries each once
with a timeout of five seconds, and counts what became of it. What finds the queue full is dropped and
counted. The address may hold a secret, so it is never logged; only its host is.
"""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from service.learn.learner import Step
from service.metrics import Metrics
from service.settings import DriftSettings

_log = structlog.get_logger(__name__)
_WAITING = 100
_TIMEOUT_S = 5.0
_LAST_S = 2.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: a post would become a get, and the body go nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Teller:
    """Says what alarms there were. `tell` never blocks and never raises."""

    def __init__(self, name: str, settings: DriftSettings, metrics: Metrics) -> None:
        self._name = name
        self._logs = "log" in settings.react
        self._url = settings.webhook if "webhook" in settings.react else None
        self._posts = metrics.counter("headwater_drift_webhook_posts_total")
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def tell(self, step: Step, lineage: str) -> None:
        """Say what a cut's alarms were, once it is journaled."""
        version, answers = step.version, step.answers
        for alarm in step.alarms:
            said = {
                "by": alarm.by,
                "field" if alarm.on_inputs else "target": alarm.of,
                "figure": round(alarm.figure, 4),
                "times": alarm.times,
                "version": version,
            }
            if self._logs:
                _log.warning("drift", **said)
            if self._url is not None:
                self._enqueue(said | {"lineage": lineage, "answers": answers})
        for answer in answers:
            _log.warning("drift_answered", answer=answer, version=version)

    def close(self) -> None:
        """Let the thread end; what waits is tried for two more seconds."""
        if self._thread is None:
            return
        ends = time.monotonic() + _LAST_S
        try:
            self._queue.put(None, timeout=_LAST_S)
        except queue.Full:
            return  # it is a daemon; each of those that wait was logged
        self._thread.join(max(ends - time.monotonic(), 0.0))

    def _enqueue(self, said: dict[str, Any]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._post_all, name="drift", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(
                msgspec.json.encode({"schema": "headwater.drift/1", "name": self._name} | said)
            )
        except queue.Full:
            self._posts.inc(1.0, "dropped")
            _log.warning("drift_not_posted", why="too many wait to be posted", **said)

    def _post_all(self) -> None:
        opener = urllib.request.build_opener(_NoRedirect)
        while (body := self._queue.get()) is not None:
            why = self._post(opener, body)
            self._posts.inc(1.0, "failure" if why else "success")
            if why:
                host = urlsplit(self._url or "").hostname
                _log.warning("drift_not_posted", host=host, why=why)

    def _post(self, opener: urllib.request.OpenerDirector, body: bytes) -> str | None:
        """Post once; return why it failed, in words that hold no address."""
        assert self._url is not None
        headers = {"Content-Type": "application/json", "User-Agent": "headwater"}
        try:
            request = urllib.request.Request(self._url, body, headers, method="POST")
            with opener.open(request, timeout=_TIMEOUT_S):  # http and https only: settings
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}"
        except urllib.error.URLError as error:
            return type(error.reason).__name__
        except (OSError, ValueError, http.client.HTTPException) as error:
            return type(error).__name__
