"""A client that calls an ASGI application directly, in an event loop of its own.

Unlike HTTP clients it can send what no well-behaved client would, and shows what was raised.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from starlette.types import ASGIApp, Message

Result = TypeVar("Result")
Headers = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body, parse_constant=_refuse)


def _refuse(literal: str) -> None:
    raise ValueError(f"{literal} is not JSON")


class Client:
    """`with Client(app) as client: client.get("/healthz")`; the lifespan runs meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def __enter__(self) -> Client:
        self._runner.run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._finish())
        self._runner.close()

    def get(self, path: str, headers: Headers = ()) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: bytes | object, headers: Headers = ()) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, [raw], headers)

    def request(
        self, method: str, path: str, chunks: Sequence[bytes] = (b"",), headers: Headers = ()
    ) -> Answer:
        return self._runner.run(self.call(method, path, chunks, headers))

    def together(self, *calls: tuple[str, str, bytes]) -> list[Answer]:
        """Answer several requests at once."""

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*(self.call(m, p, [b]) for m, p, b in calls))

        return self._runner.run(all_of_them())

    def run(self, calls: Coroutine[Any, Any, Result]) -> Result:
        """Run calls that the test has put together itself, in the loop of this client."""
        return self._runner.run(calls)

    async def call(
        self, method: str, path: str, chunks: Sequence[bytes] = (b"",), headers: Headers = ()
    ) -> Answer:
        bare, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": bare,
            "raw_path": bare.encode("utf-8", "surrogatepass"),
            "query_string": query.encode("utf-8", "surrogatepass"),
            "root_path": "",
            "headers": [(b"host", b"test"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        waiting = list(chunks)
        sent: list[Message] = []

        async def receive() -> Message:
            if not waiting:
                return {"type": "http.disconnect"}
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(m.get("body", b"") for m in sent[1:]))

    async def _start(self) -> None:
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.ensure_future(self._app(scope, self._asked.get, self._told.put))
        await self._asked.put({"type": "lifespan.startup"})
        assert (await self._told.get())["type"] == "lifespan.startup.complete"

    async def _finish(self) -> None:
        await self._asked.put({"type": "lifespan.shutdown"})
        assert (await self._told.get())["type"] == "lifespan.shutdown.complete"
        await self._lifespan
