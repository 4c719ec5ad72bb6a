"""/v1/admin: the operator's commands over HTTP, for whoever knows the token."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from service import logs
from service.control import ControlServer
from service.errors import SnapshotInvalid
from service.learn.audit import NAME, Audit
from service.learn.commands import Refused
from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.serve import admin
from service.serve.app import create_app
from service.serve.learner_door import STATUS_KEYS
from service.serve.openapi import document
from service.settings import Settings
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import Learner, settings_of
from tests.serve.test_refusals import check_problem

TOKEN = "0123456789abcdef"
ID = "v000000000007-1f2e3d4c"
KNOWN = [(b"authorization", b"Bearer " + TOKEN.encode())]
STATUS = {"state": "idle", "version": 151, "rolled_back_to": 100, "skipped": 7}

COMMANDS: list[tuple[str, object, dict[str, Any]]] = [
    ("/pause", b"", {"command": "pause"}),
    ("/resume", {}, {"command": "resume"}),
    ("/freeze", {"reason": "odd scores"}, {"command": "freeze", "reason": "odd scores"}),
    ("/unfreeze", b" ", {"command": "unfreeze"}),
    ("/snapshots", b"", {"command": "snapshot"}),
    (f"/snapshots/{ID}/pin", b"", {"command": "pin", "id": ID}),
    (f"/snapshots/{ID}/unpin", b"", {"command": "unpin", "id": ID}),
    ("/promote", {"name": "deep"}, {"command": "promote", "name": "deep"}),
    ("/rollback", {"to": 100}, {"command": "rollback", "to": 100, "skip_to": None}),
    (
        "/rollback",
        {"to": 100, "skip_to": "now"},
        {"command": "rollback", "to": 100, "skip_to": "now"},
    ),
    (
        "/rollback",
        {"to": 100, "skip_to": 120, "reason": "r"},
        {"command": "rollback", "to": 100, "skip_to": 120, "reason": "r"},
    ),
]


class Door:
    """The learner's end of the side door: keeps what it hears, answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.refuses: Exception | None = None

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(request)
        if self.refuses is not None:
            raise self.refuses
        return dict(STATUS)


@pytest.fixture
def settings() -> Settings:
    return settings_of(api={"admin_token": TOKEN})


@pytest.fixture
def door(tmp_path: Path, learner: Learner) -> Iterator[Door]:
    door = Door()
    with ControlServer(tmp_path / "control.sock", door):
        yield door


@pytest.mark.parametrize(("path", "body", "heard"), COMMANDS)
def test_a_command_reaches_the_learner(
    client: Client, door: Door, path: str, body: object, heard: dict[str, Any]
) -> None:
    """
    With the token, each command goes through the side door under the client's address; the
    learner's reply comes back.
    """
    answer = client.post(f"/v1/admin{path}", body, KNOWN)

    assert (200, STATUS) == (answer.status, answer.json())
    assert [heard | {"by": "admin:127.0.0.1"}] == door.heard
    assert "no-store" == answer.headers["cache-control"]


def test_the_status_is_the_one_of_the_command_line(client: Client, door: Door) -> None:
    """
    With every key that a status has, whoever gives it.
    """
    told = client.get("/v1/admin/status", KNOWN).json()

    assert STATUS_KEYS <= told.keys()
    assert ("idle", 151, "payments") == (told["state"], told["version"], told["name"])


def test_a_status_without_a_learner_is_an_answer_too(client: Client) -> None:
    """
    Nobody at the side door: 200, and what the live file last said, with the same keys.
    """
    answer = client.get("/v1/admin/status", KNOWN)

    assert (200, STATUS_KEYS) == (answer.status, answer.json().keys())
    assert 7 == answer.json()["published_version"]


@pytest.mark.parametrize(("path", "body", "heard"), COMMANDS)
def test_without_the_token_nothing_is_heard(
    client: Client, door: Door, path: str, body: object, heard: dict[str, Any]
) -> None:
    """
    401, and the learner is not even asked.
    """
    answer = client.post(f"/v1/admin{path}", body)

    assert (401, "UNAUTHORIZED") == (answer.status, check_problem(answer)["code"])
    assert "Bearer" == answer.headers["www-authenticate"]
    assert [] == door.heard


@pytest.mark.parametrize(
    ("given", "challenge"),
    [
        (b"", "Bearer"),
        (b"Bearer", "Bearer"),
        (b"Bearer ", "Bearer"),
        (b"Basic " + TOKEN.encode(), "Bearer"),
        (TOKEN.encode(), "Bearer"),
        (b"Bearer " + TOKEN[:-1].encode(), 'Bearer error="invalid_token"'),
        (b"Bearer " + TOKEN.encode() + b"0", 'Bearer error="invalid_token"'),
        (b"Bearer " + TOKEN.upper().encode(), 'Bearer error="invalid_token"'),
        (b"Bearer \xff\xfe", 'Bearer error="invalid_token"'),
        (b"Bearer " + b"x" * 60_000, 'Bearer error="invalid_token"'),
    ],
)
def test_another_token_is_none(client: Client, door: Door, given: bytes, challenge: str) -> None:
    """
    Nearly the token is not the token; the challenge says which of the two it is (RFC 6750).
    """
    answer = client.get("/v1/admin/status", [(b"authorization", given)])

    assert (401, challenge) == (answer.status, answer.headers["www-authenticate"])
    assert TOKEN.encode() not in answer.body
    assert [] == door.heard


def test_wrong_tokens_are_logged_once_in_a_while(
    client: Client, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The first at once, with the address and never the token; a thousand more in one line.
    """
    logs.configure("api-0")
    now = [1000.0]
    monkeypatch.setattr(admin, "time", SimpleNamespace(monotonic=lambda: now[0]))
    wrong = [(b"authorization", b"Bearer " + b"z" * 16)]
    for after_s in (0.0, 1.0, 1.0, 11.0):
        now[0] += after_s
        client.get("/v1/admin/status", wrong)
    client.get("/v1/admin/status")
    written = capsys.readouterr().err
    said = [json.loads(line) for line in written.splitlines() if "admin_token_wrong" in line]

    assert [("127.0.0.1", 1), ("127.0.0.1", 3)] == [(s["address"], s["times"]) for s in said]
    assert "zzzz" not in written


def test_a_body_that_is_too_large_is_told_the_limit_of_this_place(
    client: Client, door: Door
) -> None:
    """
    Not that of a request for predictions, which could be raised.
    """
    detail = check_problem(client.post("/v1/admin/pause", b" " * 20_000, KNOWN))["detail"]

    assert "16384 bytes" in detail
    assert "max_body_bytes" not in detail


def test_the_scheme_is_written_in_any_case(client: Client, door: Door) -> None:
    """
    `bearer` is `Bearer`, as HTTP has it.
    """
    headers = [(b"authorization", b"bearer  " + TOKEN.encode() + b" ")]

    assert 200 == client.get("/v1/admin/status", headers).status


@pytest.mark.parametrize("path", ["/status", "/pause", "/rollback", "/snapshots", "/", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_token_in_the_settings_there_is_no_admin(
    tmp_path: Path, metrics: Metrics, learner: Learner, path: str, method: str
) -> None:
    """
    404, as for any path that does not exist, whatever token is sent.
    """
    with Client(create_app(settings_of(), tmp_path, metrics)) as client:
        answer = client.request(method, f"/v1/admin{path}", headers=KNOWN)
        described = client.get("/openapi.json").body

    assert (404, "NOT_FOUND") == (answer.status, check_problem(answer)["code"])
    assert b"/v1/admin" not in described


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/pause", b"{", 400, "BAD_JSON"),
        ("/pause", b"[" * 10_000, 400, "BAD_REQUEST"),
        ("/pause", b"\xff", 400, "BAD_JSON"),
        ("/pause", b"[]", 400, "BAD_REQUEST"),
        ("/pause", {"to": 1}, 400, "BAD_REQUEST"),
        ("/pause", {"reason": 1}, 400, "BAD_REQUEST"),
        ("/pause", {"reason": "x" * 1001}, 400, "BAD_REQUEST"),
        ("/pause", b" " * 20_000, 413, "TOO_LARGE"),
        ("/promote", b"", 400, "BAD_REQUEST"),
        ("/promote", {"name": 1}, 400, "BAD_REQUEST"),
        ("/rollback", b"", 400, "BAD_REQUEST"),
        ("/rollback", {"to": "100"}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": -1}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": 1.5}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": 10**30}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": 1, "skip_to": "then"}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": 1, "by": "root"}, 400, "BAD_REQUEST"),
        ("/rollback", {"to": 1, "command": "pause"}, 400, "BAD_REQUEST"),
        ("/nothing", b"", 404, "NOT_FOUND"),
        ("/status", b"", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_a_bad_request_is_not_passed_on(
    client: Client, door: Door, path: str, body: object, status: int, code: str
) -> None:
    """
    What makes no command is a 4xx of ours; who asks cannot say that it is somebody else.
    """
    answer = client.post(f"/v1/admin{path}", body, KNOWN)

    assert (status, code) == (answer.status, check_problem(answer)["code"])
    assert [] == door.heard


@pytest.mark.parametrize(
    ("error", "status", "code", "learner_code"),
    [
        (Refused("not while halted"), 409, "CONFLICT", "REFUSED"),
        (SnapshotInvalid("there is no snapshot"), 404, "NOT_FOUND", "SNAPSHOT_INVALID"),
        (ZeroDivisionError("a bug"), 500, "INTERNAL", "INTERNAL"),
    ],
)
def test_what_the_learner_refuses_is_told_in_its_words(
    client: Client, door: Door, error: Exception, status: int, code: str, learner_code: str
) -> None:
    """
    A state that does not allow it is a conflict, not a mistake of the request.
    """
    door.refuses = error
    problem = check_problem(client.post("/v1/admin/rollback", {"to": 100}, KNOWN))

    assert (status, code, learner_code) == (
        problem["status"],
        problem["code"],
        problem["learner_code"],
    )
    assert str(error) in problem["detail"]


def test_without_a_learner_a_command_is_unavailable(client: Client) -> None:
    """
    503 with Retry-After: nothing was changed.
    """
    answer = client.post("/v1/admin/pause", b"", KNOWN)

    assert (503, "LEARNER_AWAY", "1") == (
        answer.status,
        check_problem(answer)["code"],
        answer.headers["retry-after"],
    )


def test_a_long_command_keeps_nobody_waiting(tmp_path: Path, client: Client) -> None:
    """
    Predictions and a status are answered while a rollback is under way.
    """
    release = threading.Event()

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "rollback":
            assert release.wait(60)
        elif request["command"] == "status":
            release.set()  # only now, and so after the prediction, the rollback may end
        return {"done": request["command"]}

    async def all_of_them() -> list[Answer]:
        long = asyncio.ensure_future(
            client.call("POST", "/v1/admin/rollback", [b'{"to":1}'], KNOWN)
        )
        await asyncio.sleep(0)
        quick = await client.call("POST", "/v1/predict", [b'{"events":[{}]}'])
        status = await client.call("GET", "/v1/admin/status", headers=KNOWN)
        return [quick, status, await long]

    with ControlServer(tmp_path / "control.sock", handle):
        answers = client.run(all_of_them())

    assert [200, 200, 200] == [answer.status for answer in answers]
    assert {"done": "rollback"} == answers[2].json()


def test_too_many_commands_at_once_are_refused(tmp_path: Path, client: Client) -> None:
    """
    A client that piles up commands gets 503; predictions are not touched.
    """
    calls = [("POST", "/v1/admin/pause", b"")] * 12
    release = threading.Event()
    begun: list[int] = []

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        begun.append(1)
        if len(begun) == 4:
            release.set()
        assert release.wait(60)
        return {}

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(*(client.call(m, p, [b], KNOWN) for m, p, b in calls))

    with ControlServer(tmp_path / "control.sock", handle):
        statuses = [answer.status for answer in client.run(all_of_them())]

    assert [200] * 8 + [503] * 4 == statuses


def test_no_series_is_made_of_a_clients_words(client: Client, door: Door, metrics: Metrics) -> None:
    """
    Metrics keep the template of a route with an id, never the id.
    """
    for name in ("a", "b", "v1", "snapshots", "pin"):
        client.post(f"/v1/admin/snapshots/{name}/pin", b"", KNOWN)

    rows = metrics.counter("headwater_http_requests_total").rows()
    assert [(["POST", "/v1/admin/snapshots/{id}/pin", "200"], 5.0)] == rows


def test_openapi_describes_every_route_of_admin(
    tmp_path: Path, settings: Settings, metrics: Metrics
) -> None:
    """
    Where there is a token, the document is as whole as without.
    """
    app: FastAPI = create_app(settings, tmp_path, metrics)
    routes = {r.path: r.methods or set() for r in app.routes if isinstance(r, Route)}
    found = document(recipe_of(settings), admin=True)

    assert {path: methods - {"HEAD"} for path, methods in routes.items()} == {
        path: {method.upper() for method in methods} for path, methods in found["paths"].items()
    }
    text = json.dumps(found)
    references = {part.partition('"')[0] for part in text.split('"$ref": "#/components/')[1:]}
    for reference in references:
        kind, name = reference.split("/")
        assert name in found["components"][kind]


def test_a_status_is_as_described(client: Client, door: Door) -> None:
    """
    It holds against the schema in the document.
    """
    components = client.get("/openapi.json").json()["components"]
    schema = {"$ref": "#/components/schemas/Status", "components": components}
    reply = client.get("/v1/admin/status", KNOWN).json()

    jsonschema.Draft202012Validator(schema).validate(reply)


def test_what_admin_has_done_is_in_the_audit_log(
    tmp_path: Path, client: Client, learner: Learner
) -> None:
    """
    Under the client's address, with the reason it gave, and never the token.
    """
    audit = Audit(tmp_path)
    with ControlServer(tmp_path / "control.sock", lambda r: audit.of(r, lambda _: dict(STATUS))):
        client.post("/v1/admin/rollback", {"to": 100, "reason": "bad labels"}, KNOWN)
        client.get("/v1/admin/status", KNOWN)

    [line] = [json.loads(one) for one in (tmp_path / NAME).read_text().splitlines()]
    assert ("admin:127.0.0.1", "rollback", "ok") == (line["by"], line["command"], line["outcome"])
    assert {"to": 100, "skip_to": None, "reason": "bad labels"} == line["arguments"]
    assert TOKEN not in (tmp_path / NAME).read_text()
