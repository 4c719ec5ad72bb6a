"""What the API says when it cannot do what was asked: RFC 9457 problems, one shape for all.

Knows codes, statuses and the JSON of a problem. Does not know routes. A client's mistake is
always a 4xx; 5xx is the service's own state (503, with Retry-After) or a bug (500).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

CONTENT_TYPE = b"application/problem+json"
MOST_ERRORS = 100
"""Most entries of `errors` in one reply; the detail says how many there were."""


class _Meaning(NamedTuple):
    status: int
    title: str


CODES: dict[str, _Meaning] = {
    "BAD_JSON": _Meaning(400, "The body is not JSON"),
    "BAD_REQUEST": _Meaning(400, "The request cannot be understood"),
    "UNAUTHORIZED": _Meaning(401, "This needs a token"),
    "NOT_FOUND": _Meaning(404, "There is nothing here"),
    "METHOD_NOT_ALLOWED": _Meaning(405, "Not with this method"),
    "TIMEOUT": _Meaning(408, "The body did not arrive in time"),
    "CONFLICT": _Meaning(409, "The learner will not do this now"),
    "TOO_LARGE": _Meaning(413, "The request is too large"),
    "UNSUPPORTED_MEDIA_TYPE": _Meaning(415, "The body is encoded in a way that is not read"),
    "BAD_EVENT": _Meaning(422, "An event cannot be used"),
    "HEADERS_TOO_LARGE": _Meaning(431, "The head of the request is too large"),
    "INTERNAL": _Meaning(500, "A bug in the service"),
    "NOT_READY": _Meaning(503, "No weights to answer from yet"),
    "OVERLOADED": _Meaning(503, "Too many requests at once"),
    "LEARNER_AWAY": _Meaning(503, "No learner takes the command"),
}


class Refused(Exception):
    """This request gets a problem instead of an answer. Caller: the edge sends it."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[dict[str, object]] = (),
        retry_after_s: int | None = None,
        extra: dict[str, object] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.extra = extra or {}
        self._headers = headers

    @property
    def status(self) -> int:
        return CODES[self.code].status

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", CONTENT_TYPE), *self._headers]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        return headers

    def body(self, request_id: str) -> bytes:
        title = CODES[self.code].title
        problem = {
            "type": f"urn:headwater:problem:{self.code.lower().replace('_', '-')}",
            "title": title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "error": f"{title}: {self.detail}",
            "request_id": request_id,
            "errors": list(self.errors[:MOST_ERRORS]),
        }
        return msgspec.json.encode({**self.extra, **problem})


def bad_events(errors: Sequence[dict[str, object]]) -> Refused:
    """The refusal of a request for what its events hold."""
    shown = f", the first {MOST_ERRORS} of them shown" if len(errors) > MOST_ERRORS else ""
    one = errors[0]
    where = ".".join(map(str, one["loc"])) if isinstance(one["loc"], list) else ""
    where = where or "the body"
    detail = f"{len(errors)} problem{'s' if len(errors) > 1 else ''}{shown}; {where}: {one['msg']}"
    return Refused("BAD_EVENT", detail, errors=errors)
