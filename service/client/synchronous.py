"""The client whose calls wait for their reply. Any number of threads may share one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import httpx

from service.client import requests
from service.client.errors import ClientError, Problem, address, unreachable
from service.client.replies import Health, Model, ModelReport, Predictions, Schemas, Status
from service.client.requests import Awaited, Call, Event, Top, Tries, Wanted

Reply = TypeVar("Reply")


class _Until(httpx.SyncByteStream):
    """A body that has to be there in time, all of it: httpx bounds the wait for some bytes of it."""

    def __init__(self, body: httpx.SyncByteStream | httpx.AsyncByteStream, deadline_s: float):
        assert isinstance(body, httpx.SyncByteStream), "a client that waits reads what waits"
        self._body = body
        self._deadline_s = deadline_s

    def __iter__(self) -> Iterator[bytes]:
        for some in self._body:
            if time.monotonic() > self._deadline_s:
                raise httpx.ReadTimeout("the body did not end in time")
            yield some

    def close(self) -> None:
        self._body.close()


class Client:
    """The API at `url`; close it, or use it in a `with`.

    timeout_s: how long a call may take in all, in seconds, with its tries and the pauses between
    them. attempts: how often it is made at most; made again is only what broke off before its
    reply, or was told by a 503 when to come again, where that is within a few seconds and the time
    that is left. No call changes anything, so none is ever done twice. Raises ClientError where
    `url` is no address. A server that sends the headers of a reply byte by byte can make a call last
    longer: ask such a one by AsyncClient.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        attempts: int = 3,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=address(url), timeout=timeout_s, headers=headers)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(  # noqa: PLR0913 - each is a choice of the caller
        self,
        events: Sequence[Event] | None = None,
        *,
        candidates: Sequence[Event] | None = None,
        context: Event | None = None,
        top: Top | int | None = None,
        strict: bool = False,
        brief: bool = False,
        intervals: float | None = None,
    ) -> Predictions:
        """Return one prediction for each of `events`, or of `candidates` in one `context`.

        top: only the best so many of them. strict: refuse unknown and missing fields. brief:
        leave out `model.trained_through`. intervals: a probability; say between which values each
        number lies with it.
        """
        call = requests.predict(
            events, candidates, context, top, strict=strict, brief=brief, intervals=intervals
        )
        return self._ask(call)

    def model(self, *, digest: bool = False) -> ModelReport:
        """Return the version that answers, its scores, the learner behind it."""
        return self._ask(requests.model(digest=digest))

    def schema(self) -> Schemas:
        """Return JSON Schemas of an event and of a prediction."""
        return self._ask(requests.schema())

    def status(self) -> Status:
        """Return what the learner does, also before there are weights."""
        try:
            report = self._once(requests.model())
        except Problem as problem:
            return requests.status(problem)
        return requests.status(report)

    def health(self) -> Health:
        """Return whether predictions can be had. Raises nothing: that nobody answers is a reply."""
        try:
            ready = self._once(requests.ready())
        except ClientError as error:
            return requests.health(error)
        return requests.health(ready)

    def wait_for_version(
        self,
        version: int | None = None,
        *,
        trained_through: Wanted | None = None,
        timeout_s: float = 30.0,
        poll_s: float = 0.05,
    ) -> Model:
        """Wait until this version, or a later one, answers; return the one that does.

        trained_through: {topic: {partition: offset}} that it must have learned up to; for a
        record at offset 41 that is 42. Raises NotInTime after `timeout_s`.
        """
        awaited = Awaited(version, trained_through)
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(poll_s, deadline_s - time.monotonic())
            try:
                empty = self._once(requests.nothing(), min(left_s, self._timeout_s))
                found = awaited.met(empty.model)
            except ClientError as error:
                found = awaited.met(error)
            if found is not None:
                return found
            if time.monotonic() + poll_s > deadline_s:
                raise awaited.missed(timeout_s)
            time.sleep(poll_s)

    def _ask(self, call: Call[Reply]) -> Reply:
        tries = Tries(self._attempts, self._timeout_s)
        while True:
            try:
                return self._once(call, tries.left_s)
            except ClientError as error:
                time.sleep(tries.pause_s(error))

    def _once(self, call: Call[Reply], most_s: float | None = None) -> Reply:
        patience_s = self._timeout_s if most_s is None else most_s
        deadline_s = time.monotonic() + patience_s
        request = self._http.build_request(
            call.method, call.path, content=call.body, timeout=patience_s
        )
        try:
            reply = self._http.send(request, stream=True)
            with contextlib.closing(reply):
                reply.stream = _Until(reply.stream, deadline_s)
                reply.read()
        except httpx.RequestError as error:
            raise unreachable(error, str(self._http.base_url)) from error
        return call.read(reply)
