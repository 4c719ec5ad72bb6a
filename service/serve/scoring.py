"""From the events of a request to their scores: what every way to ask for predictions shares.

Knows the limits of requests at once, the decoder, and the counts of fields. Does not know what a
request or a reply looks like. Small requests are answered on the event loop (tens of microseconds
of kernel); a large one goes aside, so that health and small requests are not kept waiting.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from service import crash
from service.events.decode import Columns, Decoder, Fault
from service.logs import logger
from service.metrics import Metrics
from service.model.scorer import Attached, HalfWidths, Scorer
from service.serve.aside import Aside
from service.serve.body import Room, read_body
from service.serve.live_model import LiveModel
from service.serve.problems import Refused, bad_events
from service.serve.replies import send_reply
from service.serve.served import Served
from service.settings import ApiSettings

LARGE_BYTES = 32_768
LARGE_EVENTS = 256
BODIES_BYTES = 16_777_216
"""Bytes of bodies that a worker holds at once; one more is OVERLOADED."""
MOST_UNKNOWN_NAMES = 50
LONGEST_NAME = 64

_log = logger(__name__)
Paths = Mapping[str, tuple[str, ...]]
"""Where each field lies in an event, by its name."""
Reply = tuple[list[tuple[bytes, bytes]], bytes]
Error = dict[str, Any]
"""An entry of `errors` in a problem: loc, code, msg."""


class Scored(NamedTuple):
    """Scores [N, outputs] of the events of a request, and the version that gave them."""

    scores: NDArray[np.float64]
    scorer: Scorer
    served: Served
    halves: HalfWidths
    """Of the level that was asked for; empty where none was."""


class Asking(NamedTuple):
    """The events of a request, and how a fault in them is told to whoever sent it."""

    events: Sequence[object]
    error: Callable[[Fault, Paths], Error]
    errors: Callable[[list[Fault], Paths], list[Error]]
    """As `error`, of all that cannot be decoded: what several events share may be said once."""
    strict: bool
    level: float | None = None
    """Probability of the intervals that are wanted."""


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
        plain = len(name) <= LONGEST_NAME and name.isprintable()
        if not plain or len(self._names) >= MOST_UNKNOWN_NAMES:
            return "<other>"
        self._names.add(name)
        return name


class Scoring:
    """A small request is answered from `live`, a large one `aside`."""

    def __init__(
        self, settings: ApiSettings, live: LiveModel, aside: Aside, metrics: Metrics
    ) -> None:
        self.settings = settings
        self.live = live
        self._aside = aside
        self._room = Room(max(BODIES_BYTES, settings.max_body_bytes))
        self._fields = FieldCounts(metrics)
        self._forward = metrics.histogram("headwater_forward_seconds")

    async def answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        reply_to: Callable[[bytes], Awaitable[Reply]],
    ) -> None:
        """Read the body, let `reply_to` make the reply to it, and send that."""
        self.live.scorer()  # refuses before the body is read when there is nothing to answer from
        with self._room.share() as share:
            body = await read_body(scope, receive, self.settings.max_body_bytes, share)
            crash.point("api_request_read")
            headers, reply = await reply_to(body)
        crash.point("api_before_reply")
        await send_reply(send, 200, headers, reply)

    async def run(self, work: Callable[[LiveModel], Reply], *, large: bool) -> Reply:
        """Do here what is small, and aside what is large."""
        return await self._aside.run(work) if large else work(self.live)

    def score(self, live: LiveModel, asking: Asking) -> Scored:
        """Return the scores of events, all of one version; Refused for what they hold."""
        scorer = live.scorer()
        columns, faults = scorer.decoder.features(asking.events)
        if faults:
            raise bad_events(asking.errors(faults, scorer.schema.paths))
        self._count_fields(scorer.decoder, asking)

        def score(attached: Attached) -> tuple[NDArray[np.float64], HalfWidths]:
            halves = {} if asking.level is None else attached.half_widths(asking.level)
            return _scores(attached, columns), halves

        (scores, halves), served = live.read(score)
        if not np.isfinite(scores).all():
            raise _not_finite(live, scores, asking)
        return Scored(scores, scorer, served, halves)

    def took(self, started_s: float) -> None:
        """Note how long a reply took since `started_s` of time.perf_counter."""
        self._forward.observe(time.perf_counter() - started_s)

    def _count_fields(self, decoder: Decoder, asking: Asking) -> None:
        unknown: Tally[str] = Tally()
        missing: Tally[str] = Tally()
        errors: list[Error] = []
        for at, event in enumerate(asking.events):
            assert isinstance(event, dict), "the decoder lets only objects through"
            more, less = decoder.presence(event)
            if more:
                unknown.update(more)
            if less:
                missing.update(less)
            if asking.strict:
                errors += _strict_errors(asking, at, more, less, decoder.schema.paths)
        self._fields.add(unknown, missing)
        if errors:
            raise bad_events(errors)


def _scores(attached: Attached, columns: Columns) -> NDArray[np.float64]:
    """Return the scores [N, O]; NaN where the model is code of the user's own, and raises."""
    try:
        return attached.score(columns)
    except Exception as error:
        if not attached.runs_code:
            raise
        _log.error("module_raised", error=repr(error))
        return np.full((len(columns), attached.outputs), np.nan)


def _not_finite(live: LiveModel, scores: NDArray[np.float64], asking: Asking) -> Refused:
    """Tell an event that is too much for sound weights from weights that are not sound."""
    blank, _ = live.scorer().decoder.features([{}])

    def look(attached: Attached) -> tuple[NDArray[np.float64], bool]:
        return _scores(attached, blank), attached.runs_code

    (plain, is_code), served = live.read(look)
    if not np.isfinite(plain).all():
        _log.error("weights_not_finite", version=served.version, lineage=served.lineage)
        detail = f"version {served.version} gives scores that are not finite"
        return Refused("NOT_READY", detail, retry_after_s=1)
    msg = "the values are too large: their score is not finite"
    if is_code:
        msg = (
            "the model's code raises at it, or at another event of the request, or gives no number"
        )
    rows = np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist()
    return bad_events([asking.error(Fault(row, None, "score_not_finite", msg), {}) for row in rows])


def _strict_errors(
    asking: Asking, at: int, unknown: list[str], missing: list[str], paths: Paths
) -> list[Error]:
    extra = "the model knows no such field"
    lacks = "the field is missing"
    return [
        *(asking.error(Fault(at, _cut(one), "unknown_field", extra), {}) for one in unknown),
        *(asking.error(Fault(at, one, "missing_field", lacks), paths) for one in missing),
    ]


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."
