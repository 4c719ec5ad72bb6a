"""POST /v1/predict: events in, predictions of one version out. A raw ASGI endpoint.

Knows the request and the reply. Does not know models, nor how events are scored.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from service.events.decode import Fault
from service.events.schema import Schema
from service.serve.live_model import LiveModel
from service.serve.problems import Refused
from service.serve.queries import flag, misspelt, share, word
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


class Queries(NamedTuple):
    """What stood behind the question mark."""

    brief: bool = False
    strict: bool = False
    level: float | None = None
    """Probability of the intervals that are wanted."""


_NONE = Queries()


class Predict:
    """The endpoint."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scoring.live.follow()
        query = scope["query_string"]
        answered = partial(self._answered, queries=_read(query) if query else _NONE)
        await self._scoring.answer(scope, receive, send, answered)

    async def _answered(self, body: bytes, *, queries: Queries) -> Reply:
        events = body.count(b"{")
        copied = len(body) * events if b'"context"' in body else 0
        large = len(body) > LARGE_BYTES or events > LARGE_EVENTS + 1 or copied > 8 * LARGE_BYTES
        answer = partial(self._answer, body=body, queries=queries)
        return await self._scoring.run(answer, large=large)

    def _answer(self, live: LiveModel, *, body: bytes, queries: Queries) -> Reply:
        settings = self._scoring.settings
        asked = read_request(body, settings.max_events, CONTEXTS * settings.max_body_bytes)
        started_s = time.perf_counter()
        if queries.level is not None:
            _refuse_without_numbers(live.scorer().schema, queries.level)
        error, errors = partial(_error, asked.name), partial(_errors, asked)
        asking = Asking(asked.events, error, errors, queries.strict, queries.level)
        scores, scorer, served, halves = self._scoring.score(live, asking)
        ranking = intervals = b""
        if asked.top is not None:
            best = ranked(asked.top, scorer.schema, scores)
            scores, ranking = scores[best], b',"ranking":%b' % _encode(best.tolist())
        predictions = scorer.predictions(scores)
        if queries.level is not None:
            intervals = b',"intervals":%b' % _encode(scorer.intervals(scores, halves))
        self._scoring.took(started_s)
        age_s = served.age_s(time.time_ns())
        model = served.model_json(age_s, live.learner.stale, brief=queries.brief)
        extras = ranking + intervals
        reply = b'{"predictions":%b%b,"model":%b}' % (_encode(predictions), extras, model)
        return [JSON, *served.headers(age_s)], reply


def _read(query: bytes) -> Queries:
    """Read ?model=brief, ?strict=true, ?intervals=0.9; names that are like none are ignored."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    misspelt(given, ("model", "strict", "intervals"))
    brief = word(given.get("model", []), "model", ("full", "brief")) == "brief"
    strict = flag(given.get("strict", []), "strict")
    return Queries(brief, strict, share(given.get("intervals", []), "intervals"))


def _refuse_without_numbers(schema: Schema, level: float) -> None:
    if all(target.kind != "number" for target in schema.targets):
        detail = "intervals are of number targets, and this model has none: leave it out"
        raise Refused("BAD_REQUEST", f"?intervals={level:g}: {detail}")


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
