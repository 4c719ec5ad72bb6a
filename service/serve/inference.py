"""POST /v2/models/{model}/infer: the Open Inference Protocol's way to ask. A raw ASGI endpoint.

Knows the protocol's reply. Does not know how tensors are read or events scored. A reply holds one
output for each target, as JSON or as bytes behind it, whichever the request wants.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from service.events.decode import Fault
from service.events.schema import Schema, Target
from service.serve.live_model import LiveModel
from service.serve.named_model import check_name, check_version, served_now
from service.serve.problems import Refused, bad_events
from service.serve.queries import flag, misspelt
from service.serve.replies import JSON
from service.serve.scoring import (
    LARGE_BYTES,
    LARGE_EVENTS,
    Asking,
    Error,
    Paths,
    Reply,
    Scored,
    Scoring,
)
from service.serve.tensor_fields import Events
from service.serve.tensors import Tensors, Wanted, read_tensors

HEADER = b"inference-header-content-length"
BYTES = (b"content-type", b"application/octet-stream")


class Infer:
    """The endpoint, with and without a version in its path."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        live = self._scoring.live
        live.follow()
        named: dict[str, str] = scope["path_params"]
        check_name(live.scorer().recipe, named["model"])
        version = named.get("version")
        if version is not None:
            check_version(served_now(live), version)
        answered = partial(
            self._answered,
            header=_header(scope),
            version=version,
            strict=_strict(scope["query_string"]),
        )
        await self._scoring.answer(scope, receive, send, answered)

    async def _answered(
        self, body: bytes, *, header: str | None, version: str | None, strict: bool
    ) -> Reply:
        most = self._scoring.settings.max_events

        def answer(live: LiveModel) -> Reply:
            return self._answer(live, read_tensors(body, header, most), version, strict=strict)

        if len(body) > LARGE_BYTES:
            return await self._scoring.run(answer, large=True)
        asked = read_tensors(body, header, most)
        answer_read = partial(self._answer, asked=asked, version=version, strict=strict)
        return await self._scoring.run(answer_read, large=asked.count > LARGE_EVENTS)

    def _answer(
        self, live: LiveModel, asked: Tensors, version: str | None, *, strict: bool
    ) -> Reply:
        started_s = time.perf_counter()
        schema = live.scorer().schema
        outputs = _wanted(asked, schema)
        given = Events(schema, asked.inputs, asked.count, self._scoring.settings.max_events)

        def error(fault: Fault, _: Paths) -> Error:
            return given.error(fault)

        def errors(faults: list[Fault], _: Paths) -> list[Error]:
            return [given.error(fault) for fault in faults]

        scored = self._scoring.score(live, Asking(given.events, error, errors, strict))
        if version is not None:
            check_version(scored.served, version)
        age_s = scored.served.age_s(time.time_ns())
        reply = _reply(asked, outputs, scored, age_s, stale=live.learner.stale)
        self._scoring.took(started_s)
        return reply


def _reply(
    asked: Tensors, outputs: Sequence[Wanted], scored: Scored, age_s: float, *, stale: bool
) -> Reply:
    """Return the JSON, and behind it the bytes of outputs that are wanted so."""
    served = scored.served
    by_name = {target.name: target for target in scored.scorer.schema.targets}
    behind: list[bytes] = []
    shown: list[dict[str, Any]] = []
    for output in outputs:
        one, raw = _output(by_name[output.name], scored.scores, binary=bool(output.binary))
        shown.append(one)
        behind += raw
    reply: dict[str, Any] = {
        "model_name": served.meta["name"],
        "model_version": str(served.version),
        **({} if asked.id is None else {"id": asked.id}),
        "parameters": {
            "step": served.version,
            "staleness_seconds": round(age_s, 6),
            "stale": stale,
            "lineage": served.lineage,
            "events_learned": served.meta["events_learned"],
        },
        "outputs": shown,
    }
    text = msgspec.json.encode(reply)
    headers = served.headers(age_s)
    if not any(output.binary for output in outputs):
        return [JSON, *headers], text
    return [BYTES, (HEADER, b"%d" % len(text)), *headers], b"".join([text, *behind])


def _output(
    target: Target, scores: NDArray[np.float64], *, binary: bool
) -> tuple[dict[str, Any], list[bytes]]:
    """Return an output [N] or [N, classes], and its bytes where it is wanted as such."""
    many = target.kind == "multiclass"
    block = scores[:, target.start : target.start + target.outputs]
    block = block if many else block[:, 0]
    parameters: dict[str, Any] = {"classes": target.classes} if many else {}
    shown: dict[str, Any] = {
        "name": target.name,
        "datatype": "FP64",
        "shape": list(block.shape),
    }
    if not binary:
        data = {"data": block.ravel().tolist()}
        return {**shown, **({"parameters": parameters} if parameters else {}), **data}, []
    raw = np.ascontiguousarray(block, dtype="<f8").tobytes()
    return {**shown, "parameters": {**parameters, "binary_data_size": len(raw)}}, [raw]


def _wanted(asked: Tensors, schema: Schema) -> list[Wanted]:
    """Return the outputs of the reply, each with its form; Refused where there is none such."""
    names = [target.name for target in schema.targets]
    for one in asked.outputs:
        if one.name not in names:
            msg = f"the model has no such output; it has {', '.join(names)}"
            loc = ["outputs", one.name]
            raise bad_events([{"loc": loc, "code": "unknown_field", "msg": msg}])
    if not asked.outputs:
        return [Wanted(name, asked.binary) for name in names]
    return [
        Wanted(one.name, asked.binary if one.binary is None else one.binary)
        for one in asked.outputs
    ]


def _header(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == HEADER]
    if len(given) > 1:
        detail = "Inference-Header-Content-Length is given twice: give it once, or not at all"
        raise Refused("BAD_REQUEST", detail)
    return given[0].decode("latin-1").strip() if given else None


def _strict(query: bytes) -> bool:
    """Read ?strict=true; names that are not like it are ignored."""
    if not query:
        return False
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    misspelt(given, ("strict",))
    return flag(given.get("strict", []), "strict")
