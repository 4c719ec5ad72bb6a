"""/v1/admin: the operator's commands over HTTP, for whoever knows the token. Off without one.

Knows HTTP, the token and the shapes of requests. Does not know what a command means: the learner
does it, reached through its side door by threads beside the event loop, and what it refuses is a
409 in its own words. A command goes on although the client that asked for it goes away.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import LearnerAway
from service.logs import logger
from service.serve import learner_door
from service.serve.body import read_body
from service.serve.problems import Refused

PREFIX = "/v1/admin"
COMMANDS = ("pause", "resume", "freeze", "unfreeze")
MARKS = ("pin", "unpin")
MOST_BODY_BYTES = 16_384
MOST_AT_ONCE = 4
"""Commands under way in one worker; so many more wait."""

_LOG_EVERY_S = 10.0
_log = logger(__name__)
_REFUSALS = {"SNAPSHOT_INVALID": "NOT_FOUND", "BAD_REQUEST": "BAD_REQUEST", "INTERNAL": "INTERNAL"}
"""The learner's codes that mean something else than "not in this state" (CONFLICT)."""

Result = TypeVar("Result")
Endpoint = Callable[[Request], Awaitable[Response]]


class Plain(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a command that needs none. `reason` goes to the audit log."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class Rollback(Plain):
    """The body of a rollback; the same words as on the command line."""

    to: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = msgspec.field(default=-1)
    skip_to: Literal["now", "latest"] | Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None


class Promote(Plain):
    """The body of a promotion: which model answers from now on."""

    name: Annotated[str, msgspec.Meta(max_length=100)] = msgspec.field(default="")


class Admin:
    """The routes under /v1/admin over the learner of one runtime directory."""

    def __init__(self, directory: Path, token: str) -> None:
        self._directory = directory
        self._token = _digest(token)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="admin")
        self._under_way = 0
        self._knocks = 0
        self._log_due_s = float("-inf")

    def table(self) -> list[Route]:
        """Return the routes."""
        return [
            self._route("/status", GET=self.status),
            self._route("/snapshots", GET=self.snapshots, POST=self._command("snapshot")),
            self._route("/rollback", POST=self._command("rollback", Rollback)),
            self._route("/promote", POST=self._command("promote", Promote)),
            *(self._route(f"/{name}", POST=self._command(name)) for name in COMMANDS),
            *(self._route(f"/snapshots/{{id}}/{name}", POST=self._command(name)) for name in MARKS),
        ]

    def close(self) -> None:
        """Take no more commands; those under way are the learner's to finish."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def status(self, _: Request) -> Response:
        return _json(await self._aside(lambda: learner_door.status(self._directory)))

    async def snapshots(self, request: Request) -> Response:
        return await self._tell(request, "snapshots", {})

    def _route(self, path: str, **endpoints: Endpoint) -> Route:
        """Return the route for a path, with what each method does, behind the token."""

        async def guarded(request: Request) -> Response:
            self._check(request)
            method = "GET" if request.method == "HEAD" else request.method
            return await endpoints[method](request)

        return Route(PREFIX + path, guarded, methods=list(endpoints))

    def _check(self, request: Request) -> None:
        """Refuse who does not know the token; how long that takes says nothing about it."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise _unauthorized("send `Authorization: Bearer` and the token", b"Bearer")
        if not hmac.compare_digest(_digest(given.strip()), self._token):
            self._knocked(_address(request))
            raise _unauthorized("this is not the token", b'Bearer error="invalid_token"')

    def _knocked(self, address: str) -> None:
        """Log that somebody tries tokens: at once, then every ten seconds with how often."""
        self._knocks += 1
        now_s = time.monotonic()
        if now_s >= self._log_due_s:
            _log.warning("admin_token_wrong", address=address, times=self._knocks)
            self._knocks, self._log_due_s = 0, now_s + _LOG_EVERY_S

    def _command(self, name: str, shape: type[Plain] = Plain) -> Endpoint:
        async def do(request: Request) -> Response:
            body = await read_body(request.scope, request.receive, MOST_BODY_BYTES, setting=None)
            given = _arguments(body, shape)
            return await self._tell(request, name, given | request.path_params)

        return do

    async def _tell(self, request: Request, command: str, given: dict[str, Any]) -> Response:
        by = f"admin:{_address(request)}"
        try:
            reply = await self._aside(
                lambda: learner_door.tell(self._directory, command, by, **given)
            )
        except learner_door.CommandRefused as refused:
            code = _REFUSALS.get(refused.code, "CONFLICT")
            raise Refused(code, refused.why, extra={"learner_code": refused.code}) from None
        except LearnerAway as away:
            raise Refused("LEARNER_AWAY", str(away), retry_after_s=1) from None
        return _json(reply)

    async def _aside(self, work: Callable[[], Result]) -> Result:
        """Do what waits for the learner in a thread; OVERLOADED when too many wait already."""
        if self._under_way >= 2 * MOST_AT_ONCE:
            raise Refused("OVERLOADED", "too many commands are under way", retry_after_s=1)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _arguments(body: bytes, shape: type[Plain]) -> dict[str, Any]:
    """Read the body of a command; an empty one is {}. What was not given is not passed on."""
    try:
        given = msgspec.json.decode(body.strip() or b"{}", type=shape)
    except msgspec.ValidationError as error:
        raise Refused("BAD_REQUEST", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("BAD_JSON", str(error)) from None
    if isinstance(given, Rollback):
        if given.to < 0:
            raise Refused("BAD_REQUEST", 'name the version to go back to: {"to": VERSION}')
        reason = {} if given.reason is None else {"reason": given.reason}
        return {"to": given.to, "skip_to": given.skip_to, **reason}
    if isinstance(given, Promote) and not given.name:
        raise Refused("BAD_REQUEST", 'name the model that is to answer: {"name": NAME}')
    named: dict[str, Any] = msgspec.to_builtins(given)
    return named


def _unauthorized(detail: str, challenge: bytes) -> Refused:
    return Refused("UNAUTHORIZED", detail, headers=[(b"www-authenticate", challenge)])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _json(value: object) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)
