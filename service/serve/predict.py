"""POST /v1/predict: events in, predictions of one version out. A raw ASGI endpoint.

Knows the request, the reply and their counts. Does not know models. Small requests are answered
on the event loop (tens of microseconds of kernel); a large one goes aside, so that health and
small requests are not kept waiting.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from service import crash
from service.events.decode import Decoder, Fault
from service.logs import logger
from service.metrics import Metrics
from service.model.scorer import Attached
from service.serve.aside import Aside
from service.serve.body import Room, read_body
from service.serve.live_model import LiveModel
from service.serve.problems import Refused, bad_events
from service.serve.queries import flag
from service.serve.ranking import ranked
from service.serve.replies import JSON, send_reply
from service.serve.request import Asked, read_request
from service.settings import ApiSettings

LARGE_BYTES = 32_768
LARGE_EVENTS = 256
BODIES_BYTES = 16_777_216
"""Bytes of bodies that a worker holds at once; one more is OVERLOADED."""
CONTEXTS = 4
"""Times max_body_bytes that the context of a request may be, once for each candidate."""
MOST_UNKNOWN_NAMES = 50
_LONGEST_NAME = 64

_log = logger(__name__)
_encode = msgspec.json.Encoder().encode
Paths = Mapping[str, tuple[str, ...]]
"""Where each field lies in an event, by its name."""
Reply = tuple[list[tuple[bytes, bytes]], bytes]


class FieldCounts:
    """Counts of fields that events had too many or too few; the names cannot grow without end."""

    def __init__(self, metrics: Metrics) -> None:
        self._unknown = metrics.counter("headwater_field_unknown_total")
        self._missing = metrics.counter("headwater_field_missing_total")
        self._names: set[str] = set()

    def add(self, unknown: Tally[str], missing: Tally[str]) -> None:
        for name, count in unknown.items():
            self._unknown.inc(count, self._shown(name))
        for name, count in missing.items():
            self._missing.inc(count, name)

    def _shown(self, name: str) -> str:
        if name in self._names:
            return name
        plain = len(name) <= _LONGEST_NAME and name.isprintable()
        if not plain or len(self._names) >= MOST_UNKNOWN_NAMES:
            return "<other>"
        self._names.add(name)
        return name


class Predict:
    """The endpoint; a small request is answered from `live`, a large one `aside`."""

    def __init__(
        self, settings: ApiSettings, live: LiveModel, aside: Aside, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._live = live
        self._aside = aside
        self._room = Room(max(BODIES_BYTES, settings.max_body_bytes))
        self._fields = FieldCounts(metrics)
        self._forward = metrics.histogram("headwater_forward_seconds")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._live.follow()
        self._live.scorer()  # refuses before the body is read when there is nothing to answer from
        query = scope["query_string"]
        brief, strict = _flags(query) if query else (False, False)
        with self._room.share() as share:
            body = await read_body(scope, receive, self._settings.max_body_bytes, share)
            crash.point("api_request_read")
            headers, reply = await self._answered(body, brief, strict)
        crash.point("api_before_reply")
        await send_reply(send, 200, headers, reply)

    async def _answered(self, body: bytes, brief: bool, strict: bool) -> Reply:
        """Answer here what is small, and aside what is large."""
        events = body.count(b"{")
        copied = len(body) * events if b'"context"' in body else 0
        large = len(body) > LARGE_BYTES or events > LARGE_EVENTS + 1
        if large or copied > 8 * LARGE_BYTES:
            answer = partial(self._answer, body=body, brief=brief, strict=strict)
            return await self._aside.run(answer)
        return self._answer(self._live, body=body, brief=brief, strict=strict)

    def _answer(self, live: LiveModel, *, body: bytes, brief: bool, strict: bool) -> Reply:
        most_bytes = CONTEXTS * self._settings.max_body_bytes
        asked = read_request(body, self._settings.max_events, most_bytes)
        started_s = time.perf_counter()
        scorer = live.scorer()
        columns, faults = scorer.decoder.features(asked.events)
        if faults:
            raise bad_events(_errors(asked, faults, scorer.schema.paths))
        self._count_fields(scorer.decoder, asked, strict)

        def score(attached: Attached) -> NDArray[np.float64]:
            return attached.score(columns)

        scores, served = live.read(score)
        if not np.isfinite(scores).all():
            raise _not_finite(live, scores, asked)
        ranking = b""
        if asked.top is not None:
            best = ranked(asked.top, scorer.schema, scores)
            scores, ranking = scores[best], b',"ranking":%b' % _encode(best.tolist())
        predictions = scorer.predictions(scores)
        self._forward.observe(time.perf_counter() - started_s)
        age_s = served.age_s(time.time_ns())
        model = served.model_json(age_s, live.learner.stale, brief=brief)
        reply = b'{"predictions":%b%b,"model":%b}' % (_encode(predictions), ranking, model)
        return [JSON, *served.headers(age_s)], reply

    def _count_fields(self, decoder: Decoder, asked: Asked, strict: bool) -> None:
        unknown: Tally[str] = Tally()
        missing: Tally[str] = Tally()
        errors: list[dict[str, object]] = []
        for at, event in enumerate(asked.events):
            assert isinstance(event, dict), "the decoder lets only objects through"
            more, less = decoder.presence(event)
            if more:
                unknown.update(more)
            if less:
                missing.update(less)
            if strict:
                errors += _strict_errors(asked.name, at, more, less, decoder.schema.paths)
        self._fields.add(unknown, missing)
        if errors:
            raise bad_events(errors)


def _not_finite(live: LiveModel, scores: NDArray[np.float64], asked: Asked) -> Refused:
    """Tell an event that is too much for sound weights from weights that are not sound."""
    blank, _ = live.scorer().decoder.features([{}])
    plain, served = live.read(lambda attached: attached.score(blank))
    if not np.isfinite(plain).all():
        _log.error("weights_not_finite", version=served.version, lineage=served.lineage)
        detail = f"version {served.version} gives scores that are not finite"
        return Refused("NOT_READY", detail, retry_after_s=1)
    msg = "the values are too large: their score is not finite"
    rows = np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist()
    faults = [Fault(row, None, "score_not_finite", msg) for row in rows]
    return bad_events([_error(asked.name, fault, {}) for fault in faults])


def _flags(query: bytes) -> tuple[bool, bool]:
    """Read ?model=brief and ?strict=true; names that are not known are ignored."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    return given.get("model", [""])[-1] == "brief", flag(given.get("strict", []), "strict")


def _errors(asked: Asked, faults: list[Fault], paths: Paths) -> list[dict[str, object]]:
    """Say where each fault lies; one of the context is said once."""
    errors: list[dict[str, object]] = []
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


def _error(name: str, fault: Fault, paths: Paths) -> dict[str, object]:
    loc: list[object] = [name, fault.index]
    if fault.field is not None:
        loc += paths.get(fault.field, (fault.field,))
    return {"loc": loc, "code": fault.code, "msg": fault.msg}


def _strict_errors(
    name: str, at: int, unknown: list[str], missing: list[str], paths: Paths
) -> list[dict[str, object]]:
    extra = "the model knows no such field"
    lacks = "the field is missing"
    return [
        *(_error(name, Fault(at, _cut(one), "unknown_field", extra), {}) for one in unknown),
        *(_error(name, Fault(at, one, "missing_field", lacks), paths) for one in missing),
    ]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."
