"""What a call may raise, named by what its caller can do.

ClientError
├── Problem        the service said no, and why: `code`, `status`, `errors`
├── Unreachable    no reply: nobody listens, the connection broke, or it took too long
└── NotInTime      what was waited for did not come within the time given
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from service.client.replies import Fault

_LONGEST_TEXT = 300


class ClientError(Exception):
    """The family."""

    retry_after_s: float | None = None
    """How long to wait before the same call may be made again; None: it would not help."""


class Problem(ClientError):
    """The reply was a problem (RFC 9457)."""

    def __init__(self, told: _Told, status: int, retry_after_s: float | None) -> None:
        self.status = status
        self.code = told.code
        """BAD_EVENT, NOT_READY, ...: the table of docs/http.md. UNKNOWN: no problem of ours."""
        self.title = told.title
        self.detail = told.detail
        self.errors = told.errors
        """Every fault of the request, with its place."""
        self.request_id = told.request_id
        self.learner = told.learner
        """With NOT_READY: what the learner does meanwhile."""
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {told.code}: {told.detail or told.title}")


class Unreachable(ClientError):
    """There was no reply. `retry_after_s` is set where the same call may be made again."""


class NotInTime(ClientError):
    """Gave up waiting."""


class _Told(msgspec.Struct):
    code: str = "UNKNOWN"
    title: str = ""
    detail: str = ""
    errors: list[Fault] = []
    request_id: str = ""
    learner: dict[str, Any] | None = None


_problem = msgspec.json.Decoder(_Told)


def problem(reply: httpx.Response) -> Problem:
    """Return the error that a reply which is no 2xx is; a proxy's page counts as one too."""
    told = _Told(title=reply.reason_phrase, detail=reply.text[:_LONGEST_TEXT])
    if "json" in reply.headers.get("content-type", ""):
        try:
            told = _problem.decode(reply.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            told.code = "UNKNOWN"
    wait = reply.headers.get("retry-after", "")
    again = float(wait) if reply.status_code == 503 and wait.isdecimal() else None
    return Problem(told, reply.status_code, again)


_NOT_AGAIN = (
    httpx.ReadTimeout, httpx.WriteTimeout, httpx.UnsupportedProtocol, httpx.DecodingError,
)  # fmt: skip
"""It would end the same way, or may have been done."""


def late(url: str) -> Unreachable:
    """Return what a reply that does not come in time is to the caller."""
    return Unreachable(f"{shown(url)}: no reply in time")


def address(url: str) -> httpx.URL:
    """Return the address of a service; ClientError where the text is none."""
    # with an @ it may hold a password, and where, nobody knows of what is no address
    told = "what was given, with an @ in it," if "@" in url else shown(url)
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        why = "" if "@" in url else f": {error}"
        raise ClientError(
            f"{told} is no address of a service{why}. Write http://host:port"
        ) from None
    usable = found.scheme in {"http", "https"} and found.host and (found.port or 0) < 65_536
    if not usable:
        raise ClientError(f"{told} is no address of a service. Write http://host:port")
    return found


def unreachable(error: httpx.RequestError, url: str) -> Unreachable:
    """Return what a failure to get a reply is to the caller."""
    late = isinstance(error, httpx.TimeoutException)
    said = "no reply in time" if late else str(error) or type(error).__name__
    found = Unreachable(f"{shown(url)}: {said}")
    if not isinstance(error, _NOT_AGAIN):
        found.retry_after_s = 0.0
    return found


def shown(url: str) -> str:
    """Return an address without the name and password that it may hold.

    >>> shown("http://user:secret@localhost:8080/v1/model")
    'http://localhost:8080/v1/model'
    """
    scheme, between, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{between}{place.rpartition('@')[2]}{slash}{path}"
