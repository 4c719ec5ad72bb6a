"""POST /v1/predict: events in, predictions of one version out. A raw ASGI endpoint.

Knows the request and the reply. Does not know models, nor how events are scored.
"""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from service.events.decode import Fault
from service.serve.live_model import LiveModel
from service.serve.queries import flag, misspelt, word
from service.serve.ranking import ranked
from service.serve.replies import JSON
from service.serve.request import Asked, read_request
from service.serve.scoring import (
    LARGE_BYTES,
    LARGE_EVENTS,
    Asking,
    Error,
    Paths,
    Reply,
    Scoring,
)

CONTEXTS = 4
"""Times max_body_bytes that the context of a request may be, once for each candidate."""

_encode = msgspec.json.Encoder().encode


class Predict:
    """The endpoint."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scoring.live.follow()
        query = scope["query_string"]
        brief, strict = _flags(query) if query else (False, False)
        answered = partial(self._answered, brief=brief, strict=strict)
        await self._scoring.answer(scope, receive, send, answered)

    async def _answered(self, body: bytes, *, brief: bool, strict: bool) -> Reply:
        events = body.count(b"{")
        copied = len(body) * events if b'"context"' in body else 0
        large = len(body) > LARGE_BYTES or events > LARGE_EVENTS + 1 or copied > 8 * LARGE_BYTES
        answer = partial(self._answer, body=body, brief=brief, strict=strict)
        return await self._scoring.run(answer, large=large)

    def _answer(self, live: LiveModel, *, body: bytes, brief: bool, strict: bool) -> Reply:
        settings = self._scoring.settings
        asked = read_request(body, settings.max_events, CONTEXTS * settings.max_body_bytes)
        started_s = time.perf_counter()
        asking = Asking(asked.events, partial(_error, asked.name), partial(_errors, asked), strict)
        scores, scorer, served = self._scoring.score(live, asking)
        ranking = b""
        if asked.top is not None:
            best = ranked(asked.top, scorer.schema, scores)
            scores, ranking = scores[best], b',"ranking":%b' % _encode(best.tolist())
        predictions = scorer.predictions(scores)
        self._scoring.took(started_s)
        age_s = served.age_s(time.time_ns())
        model = served.model_json(age_s, live.learner.stale, brief=brief)
        reply = b'{"predictions":%b%b,"model":%b}' % (_encode(predictions), ranking, model)
        return [JSON, *served.headers(age_s)], reply


def _flags(query: bytes) -> tuple[bool, bool]:
    """Read ?model=brief and ?strict=true; names that are like neither are ignored."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    misspelt(given, ("model", "strict"))
    brief = word(given.get("model", []), "model", ("full", "brief")) == "brief"
    return brief, flag(given.get("strict", []), "strict")


def _errors(asked: Asked, faults: list[Fault], paths: Paths) -> list[Error]:
    """Say where each fault lies; one of the context is said once."""
    errors: list[Error] = []
    of_context: set[str] = set()
    for fault in faults:
        given, error = asked.given[fault.index], _error(asked.name, fault, paths)
        if asked.given is not asked.events and fault.field is not None and isinstance(given, dict):
            where = paths.get(fault.field, (fault.field,))
            if where[0] not in given:
                if fault.field in of_context:
                    continue
                of_context.add(fault.field)
                error["loc"] = ["context", *where]
        errors.append(error)
    return errors


def _error(name: str, fault: Fault, paths: Paths) -> Error:
    loc: list[object] = [name, fault.index]
    if fault.field is not None:
        loc += paths.get(fault.field, (fault.field,))
    return {"loc": loc, "code": fault.code, "msg": fault.msg}
