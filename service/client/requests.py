"""The calls there are: method, path, body, and how the reply is read. Knows no connection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from service.client.errors import ClientError, NotInTime, Problem, Unreachable, problem, shown
from service.client.replies import (
    Health,
    Learner,
    Model,
    ModelReport,
    Predictions,
    Schemas,
    Status,
)

MOST_WAIT_S = 5.0
"""Longest pause before a call is made again, in seconds."""
_FIRST_PAUSE_S = 0.1
_SHORTEST_S = 0.001

Event = Mapping[str, Any]
Wanted = Mapping[str, Mapping[str, int] | Mapping[int, int]]
"""Per topic and partition, the offset that must not be behind `trained_through`."""
Reply = TypeVar("Reply")


class Top(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ask for the best only: the `n` events of the highest prediction, best first."""

    n: int
    target: str | None = None
    """Needed where there are several targets."""
    label: str | None = msgspec.field(default=None, name="class")
    """Of a multiclass target: the class whose probability counts."""


class Call(Generic[Reply]):
    """One request that changes nothing, so that it may be made again."""

    def __init__(self, path: str, reply: type[Reply], body: bytes | None = None) -> None:
        self.method = "GET" if body is None else "POST"
        self.path = path
        self.body = body
        self._decoder = msgspec.json.Decoder(reply)

    def read(self, reply: httpx.Response) -> Reply:
        """Return what was answered; Problem where it was a refusal."""
        if not reply.is_success:
            raise problem(reply)
        try:
            return self._decoder.decode(reply.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = f"{shown(str(reply.request.url))}: no reply of a Headwater API: {error}"
            raise ClientError(detail) from error


class Tries:
    """How often one call is made, and the pause before the next time."""

    def __init__(self, attempts: int, timeout_s: float) -> None:
        self._left = attempts - 1
        self._pause_s = _FIRST_PAUSE_S
        self._deadline_s = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """How long the next try may take, in seconds."""
        return max(_SHORTEST_S, self._deadline_s - time.monotonic())

    def pause_s(self, failed: ClientError) -> float:
        """Return the pause before the next try, in seconds; raises `failed` when there is none.

        Never shorter than what the service asks for: where that is too long to be waited for here,
        the caller is told, and may wait.
        """
        if self._left <= 0 or failed.retry_after_s is None:
            raise failed
        pause_s = max(failed.retry_after_s, self._pause_s)
        if pause_s > min(MOST_WAIT_S, self._deadline_s - time.monotonic()):
            raise failed
        self._left -= 1
        self._pause_s *= 2
        return pause_s


def predict(  # noqa: PLR0913 - each is a choice of the caller
    events: Sequence[Event] | None,
    candidates: Sequence[Event] | None,
    context: Event | None,
    top: Top | int | None,
    *,
    strict: bool,
    brief: bool,
    intervals: float | None = None,
) -> Call[Predictions]:
    """POST /v1/predict."""
    if (events is None) == (candidates is None):
        raise ValueError("give events, or candidates (with a context)")
    if context is not None and candidates is None:
        raise ValueError("context goes with candidates")
    asked: dict[str, Any] = {"events": events} if candidates is None else {"candidates": candidates}
    if context is not None:
        asked["context"] = context
    if top is not None:
        asked["top"] = Top(top) if isinstance(top, int) else top
    queries = [name for name, on in (("strict=true", strict), ("model=brief", brief)) if on]
    if intervals is not None:
        queries.append(f"intervals={float(intervals)!r}")
    path = "/v1/predict" + ("?" + "&".join(queries) if queries else "")
    return Call(path, Predictions, msgspec.json.encode(asked, enc_hook=_plain))


def model(*, digest: bool = False) -> Call[ModelReport]:
    """GET /v1/model."""
    return Call("/v1/model?digest=true" if digest else "/v1/model", ModelReport)


def schema() -> Call[Schemas]:
    """GET /v1/schema."""
    return Call("/v1/schema", Schemas)


def ready() -> Call[_Ready]:
    """GET /readyz."""
    return Call("/readyz", _Ready)


def nothing() -> Call[Predictions]:
    """Predict no events: the cheapest way to be told the version."""
    return predict([], None, None, None, strict=False, brief=False)


class _Ready(msgspec.Struct):
    version: int
    degraded: list[str]


def health(found: _Ready | ClientError) -> Health:
    """Return the health that a reply to `ready`, or its failure, shows."""
    if isinstance(found, _Ready):
        return Health(alive=True, ready=True, version=found.version, degraded=found.degraded)
    return Health(alive=isinstance(found, Problem), ready=False, detail=str(found))


def status(found: ModelReport | Problem) -> Status:
    """Return the status that a reply to `model`, or "not ready", shows; else the problem again."""
    if isinstance(found, ModelReport):
        names = Model.__struct_fields__
        return Status(
            learner=found.learner, model=Model(**{name: getattr(found, name) for name in names})
        )
    if found.learner is None:
        raise found
    return Status(learner=msgspec.convert(found.learner, Learner))


class Awaited:
    """What wait_for_version waits for: a version, offsets that were learned, or both."""

    def __init__(self, version: int | None, trained_through: Wanted | None) -> None:
        if version is None and not trained_through:
            raise ValueError("wait for a version, or for offsets")
        self._version = version
        self._offsets = {
            (topic, str(partition)): offset
            for topic, partitions in (trained_through or {}).items()
            for partition, offset in partitions.items()
        }
        self._seen = "no weights yet"

    def met(self, found: Model | ClientError) -> Model | None:
        """Return the model if it is what is waited for; raises what waiting would not help."""
        if isinstance(found, ClientError):
            if found.retry_after_s is None and not isinstance(found, Unreachable):
                raise found
            self._seen = str(found)
            return None
        self._seen = f"version {found.version}, trained through {found.trained_through}"
        learned = found.trained_through
        there = all(
            learned.get(topic, {}).get(partition, 0) >= offset
            for (topic, partition), offset in self._offsets.items()
        )
        return found if there and found.version >= (self._version or 0) else None

    def missed(self, timeout_s: float) -> NotInTime:
        """Return the error of having waited in vain."""
        parts = [] if self._version is None else [f"version {self._version}"]
        parts += [f"offset {o} of {topic}/{p}" for (topic, p), o in self._offsets.items()]
        return NotInTime(f"not within {timeout_s:g} s: {' and '.join(parts)}; seen: {self._seen}")


def _plain(value: object) -> object:
    """Encode what numpy and pandas hold: numbers and arrays know how to be plain."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"an event holds what JSON can hold, not {type(value).__name__}")
