"""F45: hostile HTTP against a real worker: 4xx where HTTP allows it, no 5xx, bounded memory."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from service.control import ControlServer
from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.serve import protocol
from service.serve.app import create_app
from service.serve.learner_door import STATUS_KEYS
from service.serve.openapi import document
from service.serve.protocol import Protocol
from tests.processes import PATIENCE_S, until
from tests.serve.conftest import Learner, settings_of
from tests.serve.test_workers import Api

MIB = 1 << 20
MOST_GROWTH = 50 * MIB
TOKEN = "secret-of-this-test"
PREDICT = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\n"

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


class Peak:
    """The most memory that a process held while the block ran, above what it held before."""

    def __init__(self, pid: int) -> None:
        self._proc = Path("/proc", str(pid))
        self.growth = 0

    def __enter__(self) -> Peak:
        (self._proc / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._most()
        return self

    def __exit__(self, *_: object) -> None:
        self.growth = self._most() - self._before

    def _most(self) -> int:
        status = (self._proc / "status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One worker that has weights and has answered once."""
    api = Api(tmp_path_factory.mktemp("hostile"), 1)
    with api.learner().writer:
        until(lambda: api.predict().status == 200)
        yield api
    api.process.kill()
    api.process.wait()
    until(lambda: not api.workers())


def said(client: socket.socket) -> tuple[int, Any]:
    """Read one reply; its status and its JSON."""
    reply = http.client.HTTPResponse(client)
    reply.begin()
    assert "application/problem+json" == reply.headers["content-type"]
    return reply.status, json.loads(reply.read())


def connected(api: Api) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE_S)


def send_on(client: socket.socket, chunk: bytes, times: int) -> None:
    """Send until it is all sent, or the other side has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(times):
            client.sendall(chunk)


BODIES: list[tuple[str, bytes, set[int]]] = [
    ("a million events", b'{"events":[' + b",".join([b"{}"] * 1_000_000) + b"]}", {413}),
    ("a million lists", b'{"events":[' + b",".join([b"[]"] * 1_000_000) + b"]}", {413}),
    ("a million numbers", b'{"events":[' + b",".join([b"0"] * 1_000_000) + b"]}", {413}),
    ("a million texts", b'{"events":[' + b",".join([b'""'] * 1_000_000) + b"]}", {413}),
    ("a million in one", b'{"events":[{"x":[' + b",".join([b"{}"] * 1_000_000) + b"]}]}", {413}),
    ("deep arrays", b'{"events":' + b"[" * 4_000_000, {400}),
    ("deep objects", b'{"events":' + b'{"a":' * 800_000, {400}),
    ("a deep event", b'{"events":[{"amount":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}", {400}),
    ("NaN", b'{"events":[{"amount":NaN}]}', {400}),
    ("Infinity", b'{"events":[{"amount":-Infinity}]}', {400}),
    ("a wrong type", b'{"events":[{"amount":{"$gt":0}}]}', {422}),
    ("a long number", b'{"events":[{"amount":' + b"9" * 4_000_000 + b"}]}", {400}),
    ("a long text", b'{"events":[{"amount":"' + b"9" * 4_000_000 + b'"}]}', {422}),
    ("escaped quotes", b'{"events":["' + b'\\"' * 2_000_000 + b",", {400}),
    ("only quotes", b'"' * 4_000_000, {400}),
    ("only commas", b"," * 4_000_000, {400}),
    ("only braces", b"{" * 4_000_000, {400}),
    ("zeros", b"\x00" * 4_000_000, {400}),
    ("half a letter", b'{"events":[{"merchant":"\xf0\x9f', {400}),
]


class Quick(NamedTuple):
    """A server that listens already, and answers from `begin` on."""

    address: tuple[str, int]
    begin: Callable[[], None]


NAMES = ["\U0001f4b8", "\u202egnirts", "a\u0000b", "\ufeff", "\uffff", "K\u0301", "x" * 100_000]


@linux
@pytest.mark.e2e
@pytest.mark.parametrize(("name", "body", "statuses"), BODIES, ids=[body[0] for body in BODIES])
def test_f45_a_body_costs_little_whatever_is_in_it(
    api: Api, name: str, body: bytes, statuses: set[int]
) -> None:
    """
    F45: a million instances, deep JSON, NaN, wrong types: a 4xx problem that costs the worker less
    than 50 MB, even for a moment.
    """
    [worker] = api.workers()
    with Peak(worker) as peak:
        reply = api.ask("POST", "/v1/predict", body)

    assert (True, reply.status) == (reply.status in statuses, reply.json()["status"])
    assert peak.growth < MOST_GROWTH


@linux
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("head", "chunk"),
    [
        (b"content-length: 104857600\r\n\r\n", b" " * MIB),
        (b"transfer-encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * MIB + b"\r\n"),
    ],
    ids=["announced", "in chunks"],
)
def test_f45_a_hundred_megabytes_are_not_read(api: Api, head: bytes, chunk: bytes) -> None:
    """
    F45: 413 as soon as it is known to be too much, and the worker never holds it.
    """
    [worker] = api.workers()
    with Peak(worker) as peak, connected(api) as client:
        client.sendall(PREDICT + head)
        sender = threading.Thread(target=send_on, args=(client, chunk, 100))
        sender.start()
        status, problem = said(client)
        client.close()
        sender.join()

    assert (413, "TOO_LARGE") == (status, problem["code"])
    assert peak.growth < MOST_GROWTH


@linux
@pytest.mark.e2e
def test_f45_many_large_bodies_at_once_share_one_room(api: Api) -> None:
    """
    F45: forty clients send four megabytes each but for the last byte. There is room for some; the
    others are told to come again. Small requests are answered all the while.
    """
    [worker] = api.workers()
    size = 4 * MIB - 1
    with Peak(worker) as peak, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(api)) for _ in range(40)]
        for client in clients:
            client.sendall(PREDICT + b"content-length: %d\r\n\r\n" % size)
        senders = [
            threading.Thread(target=send_on, args=(client, b" " * (size - 1), 1))
            for client in clients
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        select.select(clients, [], [], PATIENCE_S)  # the first that is told to come again
        small = api.predict().status
        for client in clients:
            client.sendall(b" ")
        replies = [said(client) for client in clients]

    codes = [problem["code"] for _, problem in replies]
    assert 200 == small
    assert {"BAD_JSON", "OVERLOADED"} == set(codes)
    assert peak.growth < MOST_GROWTH


@pytest.mark.e2e
def test_f45_a_hundred_slow_clients_keep_nobody_waiting(api: Api) -> None:
    """
    F45, slowloris: connections with half a head each; predictions are answered beside them.
    """
    with contextlib.ExitStack() as stack:
        for n in range(100):
            client = stack.enter_context(connected(api))
            client.sendall(PREDICT + b"x-slow: %d" % n)
        statuses = {api.predict().status for _ in range(20)}

    assert {200} == statuses


@pytest.mark.e2e
@pytest.mark.parametrize("strict", ["", "?strict=true"])
def test_f45_any_name_is_a_name(api: Api, strict: str) -> None:
    """
    F45: fields with names of any letters are unknown fields: ignored, or refused by name.
    """
    events = [{name: 1} for name in NAMES]
    reply = api.ask("POST", f"/v1/predict{strict}", {"events": events})

    assert (422 if strict else 200) == reply.status
    assert len(reply.body) < 20_000
    assert 200 == api.ask("GET", "/metrics").status


@pytest.mark.e2e
def test_f45_no_request_of_all_these_was_a_bug(api: Api) -> None:
    """
    F45: 0 x 500, and the worker that began is the worker that is there.
    """
    text = api.ask("GET", "/metrics").body.decode()

    assert 'code="413"' in text, "the hostile requests are counted"
    assert 'code="500"' not in text
    assert 0 == api.said_times("request_failed")
    assert 1 == len(api.workers())


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quick]:
    """A server in this process, that loses its patience after a tenth of a second; it begins only
    when what is asked has arrived, so that it never waits for who asks."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    monkeypatch.setattr("service.serve.body.PATIENCE_S", 0.1)
    found = settings_of()
    learner = Learner(tmp_path, found)
    learner.publish(7)
    config = uvicorn.Config(
        create_app(found, tmp_path, Metrics("api-0")),
        http=Protocol,
        loop="asyncio",  # which reads what is there before it looks at the clock
        log_config=None,
        ws="none",
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)
    with learner.writer, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        yield Quick(listener.getsockname(), thread.start)
        server.should_exit = True
        if thread.ident is not None:
            thread.join()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ", 408),
        (PREDICT + b"content-length: 10\r\n\r\n{", 408),
        (PREDICT + b"transfer-encoding: chunked\r\n\r\n5\r\n{", 408),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HT", 200),
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "half a second head"],
)
def test_f45_who_is_too_slow_is_let_go(quick: Quick, sent: bytes, status: int | None) -> None:
    """
    F45, slowloris: nobody holds a connection by saying nothing, or little: 408 where there is a
    request to answer, and the connection is closed.
    """
    with socket.create_connection(quick.address, timeout=PATIENCE_S) as client:
        client.sendall(sent)
        quick.begin()
        received = b""
        while some := client.recv(65_536):
            received += some

    first = None if not received else int(received.split()[1])
    assert status == first
    assert (status == 408) == (b'"TIMEOUT"' in received.partition(b"HTTP/1.1 200")[0])


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API's own description of itself, over an application with weights and /v1/admin."""
    directory = tmp_path_factory.mktemp("described")
    found = settings_of(api={"admin_token": TOKEN})
    learner = Learner(directory, found)
    learner.publish(7)
    learner.beat()
    app = create_app(found, directory, Metrics("api-0"))

    async def without_end(scope: Scope, receive: Receive, send: Send) -> None:
        """The client of schemathesis starts and stops an application for each request."""
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})

    status = dict.fromkeys(STATUS_KEYS)
    with learner.writer, ControlServer(directory / "control.sock", lambda _: dict(status)):
        yield schemathesis.openapi.from_asgi("/openapi.json", without_end)


OPERATIONS = [
    (path, method)
    for path, methods in document(recipe_of(settings_of()), admin=True)["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=map(" ".join, OPERATIONS))
def test_f45_the_description_holds_whatever_is_asked(
    described: Any, path: str, method: str
) -> None:
    """
    F45: requests made by schemathesis from the OpenAPI document are answered as it says.
    """

    @given(case=described[path][method].as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def asked(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)

    asked()
