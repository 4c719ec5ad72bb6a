"""The outermost layer of the API: every request passes here once, in and out.

Knows request ids, the limit of requests at once, problems and HTTP metrics. Does not know what a
route does. Guarantees: every reply carries X-Request-ID; whatever is raised becomes a problem (a
bug: 500, logged); every request is counted once, under its route's template and never under a
path that a client made up.
"""

from __future__ import annotations

import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import logger
from service.metrics import Metrics
from service.serve.body import Disconnected
from service.serve.problems import Refused
from service.serve.replies import send_reply

UNMATCHED = "<unmatched>"
GONE = 499
"""Status under which a request is counted whose client left before the reply."""

_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LONGEST_ID = 128

_log = logger(__name__)


class Edge:
    """ASGI middleware. `routes` are the templates that exist."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, routes: frozenset[str], most_at_once: int
    ) -> None:
        self._app = app
        self._routes = routes
        self._templates = [route for route in routes if "{" in route]
        self._most_at_once = most_at_once
        self._under_way = 0
        self._requests = metrics.counter("headwater_http_requests_total")
        self._durations = metrics.histogram("headwater_http_request_duration_seconds")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        request_id = _request_id(scope)
        id_header = (b"x-request-id", request_id.encode("ascii"))
        status = GONE

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        self._under_way += 1
        try:
            self._refuse_when_full(scope["path"])
            await self._app(scope, receive, send_on)
        except Refused as refused:
            await _send_problem(send_on, refused, request_id)
        except Disconnected:
            _log.debug("client_gone", request_id=request_id)
        except Exception:
            _log.exception("request_failed", request_id=request_id, path=scope["path"])
            if status != GONE:
                raise  # half a reply went out: the server closes the connection
            bug = Refused("INTERNAL", "the request failed; the log has the reason under its id")
            await _send_problem(send_on, bug, request_id)
        finally:
            self._under_way -= 1
            self._count(scope, status, time.perf_counter() - started_s)

    def _refuse_when_full(self, path: str) -> None:
        if self._under_way > self._most_at_once and path not in _ALWAYS:
            raise Refused("OVERLOADED", "try again in a moment", retry_after_s=1)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._template(scope)
        method = scope["method"] if scope["method"] in _METHODS else "<other>"
        self._requests.inc(1, method, route, str(status))
        self._durations.observe(seconds, route)

    def _template(self, scope: Scope) -> str:
        """Return the template of the route that was taken: no part of it is the client's."""
        path: str = scope["path"]
        given = scope.get("path_params")
        if not given:
            return path if path in self._routes else UNMATCHED
        for template in self._templates:
            try:
                if template.format_map(given) == path:
                    return template
            except KeyError:  # another route's parameter
                continue
        return UNMATCHED


async def _send_problem(send: Send, refused: Refused, request_id: str) -> None:
    await send_reply(send, refused.status, refused.headers(), refused.body(request_id))


def _request_id(scope: Scope) -> str:
    """Return the client's id where it is sane (1-128 printable ASCII characters), else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1").strip()
            if 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
                return str(given)
    return uuid.uuid4().hex
