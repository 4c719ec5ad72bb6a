"""Bad requests, and what each gets. Nothing a client sends is answered with a 5xx."""

from __future__ import annotations

import asyncio
import difflib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.metrics import Metrics
from service.serve.app import create_app
from service.serve.body import Disconnected, read_body
from service.serve.edge import Edge
from service.serve.problems import CODES, MOST_ERRORS, Refused
from service.serve.queries import misspelt
from service.settings import Settings
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import Learner, settings_of

MEMBERS = {"type", "title", "status", "code", "detail", "error", "request_id", "errors"}

BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "BAD_JSON"),
    ("not JSON", b"amount=12.5", 400, "BAD_JSON"),
    ("cut off", b'{"events":[{"amount":1', 400, "BAD_JSON"),
    ("two values", b'{"events":[]}{"events":[]}', 400, "BAD_JSON"),
    ("NaN", b'{"events":[{"amount":NaN}]}', 400, "BAD_JSON"),
    ("Infinity", b'{"events":[{"amount":Infinity}]}', 400, "BAD_JSON"),
    ("-Infinity", b'{"events":[{"amount":-Infinity}]}', 400, "BAD_JSON"),
    ("a NUL", b'{"events":[{"merchant":"\x00"}]}', 400, "BAD_JSON"),
    ("only NULs", b"\x00" * 64, 400, "BAD_JSON"),
    ("invalid UTF-8", b'{"events":[{"merchant":"\xff\xfe"}]}', 400, "BAD_JSON"),
    ("UTF-16", '{"events":[]}'.encode("utf-16"), 400, "BAD_JSON"),
    ("a byte-order mark", b'\xef\xbb\xbf{"events":[]}', 400, "BAD_JSON"),
    ("half a surrogate pair", b'{"events":[{"merchant":"\\ud800"}]}', 400, "BAD_JSON"),
    ("half a pair in a name", b'{"events":[{"\\udfff":1}]}', 400, "BAD_JSON"),
    ("deep arrays", b'{"events":' + b"[" * 100_000, 400, "BAD_JSON"),
    ("deep objects", b'{"events":[' + b'{"a":' * 50_000, 400, "BAD_JSON"),
    ("an integer without end", b'{"events":[{"amount":' + b"9" * 6000 + b"}]}", 400, "BAD_JSON"),
    ("gzip", gzip.compress(b'{"events":[]}'), 400, "BAD_JSON"),
    ("an array", b"[]", 422, "BAD_EVENT"),
    ("a text", b'"events"', 422, "BAD_EVENT"),
    ("null", b"null", 422, "BAD_EVENT"),
    ("no events", b"{}", 422, "BAD_EVENT"),
    ("another name", b'{"instances":[]}', 422, "BAD_EVENT"),
    ("events null", b'{"events":null}', 422, "BAD_EVENT"),
    ("events an object", b'{"events":{"amount":1}}', 422, "BAD_EVENT"),
    ("events a text", b'{"events":"[]"}', 422, "BAD_EVENT"),
    ("other members", b'{"events":[],"options":{"a":[1e400]}}', 400, "BAD_REQUEST"),
    ("a misspelt name", b'{"events":[{}],"optoins":1}', 400, "BAD_REQUEST"),
    ("top twice", b'{"events":[{}],"top":{"n":1},"top":{"n":2}}', 400, "BAD_REQUEST"),
    ("context twice", b'{"context":{},"candidates":[{}],"context":{}}', 400, "BAD_REQUEST"),
    ("events twice", b'{"events":[{}],"events":[]}', 422, "BAD_EVENT"),
    ("an event null", b'{"events":[null]}', 422, "BAD_EVENT"),
    ("an event a list", b'{"events":[[1,2]]}', 422, "BAD_EVENT"),
    ("an event a number", b'{"events":[1]}', 422, "BAD_EVENT"),
    ("a number as object", b'{"events":[{"amount":{}}]}', 422, "BAD_EVENT"),
    ("a number as list", b'{"events":[{"amount":[1]}]}', 422, "BAD_EVENT"),
    ("a number as boolean", b'{"events":[{"amount":true}]}', 422, "BAD_EVENT"),
    ("a number as word", b'{"events":[{"amount":"many"}]}', 422, "BAD_EVENT"),
    ("a number as NaN text", b'{"events":[{"amount":"NaN"}]}', 422, "BAD_EVENT"),
    ("1e400", b'{"events":[{"amount":1e400}]}', 422, "BAD_EVENT"),
    ("-1e400 as category", b'{"events":[{"merchant":-1e400}]}', 422, "BAD_EVENT"),
    ("1e31", b'{"events":[{"amount":1e31}]}', 422, "BAD_EVENT"),
    ("a long integer", b'{"events":[{"amount":' + b"9" * 400 + b"}]}", 422, "BAD_EVENT"),
    ("a category as object", b'{"events":[{"merchant":{"a":1}}]}', 422, "BAD_EVENT"),
    ("a category as list", b'{"events":[{"merchant":["a"]}]}', 422, "BAD_EVENT"),
    ("too many events", b'{"events":[' + b",".join([b"{}"] * 10_001) + b"]}", 413, "TOO_LARGE"),
    ("too many bytes", b" " * 4_194_305, 413, "TOO_LARGE"),
]

GOOD: list[tuple[str, bytes]] = [
    ("a NUL as escape", b'{"events":[{"merchant":"\\u0000"}]}'),
    ("a whole surrogate pair", b'{"events":[{"merchant":"\\ud83d\\ude00"}]}'),
    ("an empty name", b'{"events":[{"":1}]}'),
    ("a name twice", b'{"events":[{"amount":1,"amount":2}]}'),
    ("minus zero", b'{"events":[{"amount":-0}]}'),
    ("a tiny number", b'{"events":[{"amount":1e-400}]}'),
    ("the largest number", b'{"events":[{"amount":1e30}]}'),
    ("a long integer as category", b'{"events":[{"merchant":' + b"9" * 400 + b"}]}"),
    ("a field that only looks like events", b'{"events":[{"events":[]},{"events":1}]}'),
    ("spaces", b' \n\t{ "events" : [ { } ] } \r\n'),
]


@pytest.mark.parametrize(("name", "body", "status", "code"), BODIES, ids=[b[0] for b in BODIES])
def test_a_bad_body_gets_its_code(
    client: Client, name: str, body: bytes, status: int, code: str
) -> None:
    """
    Every way to be wrong is a 4xx problem with a code that a program can act on.
    """
    answer = client.post("/v1/predict", body)

    assert (status, code) == (answer.status, answer.json()["code"])
    check_problem(answer)


@pytest.mark.parametrize(("name", "body"), GOOD, ids=[b[0] for b in GOOD])
def test_odd_but_legal_bodies_are_answered(client: Client, name: str, body: bytes) -> None:
    """
    What is strange without being wrong gets a prediction.
    """
    assert 200 == client.post("/v1/predict", body).status


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ({"events": [], "tops": {}}, "tops", 'did you mean "top"?'),
        ({"event": {}, "events": []}, "event", 'did you mean "events"?'),
        (
            {"event": {}, "optoins": 1},
            "events",
            '"event" is not known here; did you mean "events"?',
        ),
        ({"instances": []}, "events", "Known are events, candidates, context, top"),
        (b'{"top":{"n":1},"events":[],"top":{"n":1}}', "top", 'has "top" twice'),
    ],
)
def test_what_a_request_should_not_hold_is_named(
    client: Client, body: object, loc: str, says: str
) -> None:
    """
    With what is known there; fields of the same names inside events are no matter.
    """
    answer = client.post("/v1/predict", body)
    problem = check_problem(answer)
    inside = client.post("/v1/predict", {"events": [{"top": 1, "context": 2}], "top": {"n": 1}})

    assert [[loc]] == [one["loc"] for one in problem["errors"]]
    assert says in problem["detail"]
    assert "twice" not in inside.json().get("detail", "")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize(
    "around",
    [
        '{"events":[{"amount":%s}]}',
        '{"events":[{"merchant":%s}]}',
        '{"events":[{"other":%s}]}',
        '{"events":[%s]}',
        '{"events":%s}',
        '{"events":[{"events":%s}],"events":[]}',
        "%s",
    ],
)
def test_no_depth_is_too_deep_for_a_reply(client: Client, around: str, opening: str) -> None:
    """
    Whatever follows each other inside, parser or message, gives up in good order.
    """
    closing = "]" if opening == "[" else "}"
    inner = [opening * n + "1" + closing * n for n in (50, *range(850, 1010, 3))]
    statuses = {client.post("/v1/predict", (around % one).encode()).status for one in inner}

    assert statuses <= {200, 400, 422}


def check_problem(answer: Answer) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert "application/problem+json" == answer.headers["content-type"]
    assert problem.keys() >= MEMBERS
    assert answer.status == problem["status"]
    assert CODES[problem["code"]].title == problem["title"]
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert problem["detail"] in problem["error"]
    return problem


def test_a_body_that_is_no_object_is_called_the_body(client: Client) -> None:
    """
    Where the fault lies is said, though it has no name.
    """
    problem = check_problem(client.post("/v1/predict", b"[]"))

    assert problem["detail"].startswith("1 problem; the body: expected an object")


def test_every_fault_is_named_with_event_and_field(client: Client) -> None:
    """
    One reply names all that is wrong, so that one repair is enough.
    """
    body = {"events": [{"amount": 1}, {"amount": "x", "merchant": []}, 5]}

    errors = client.post("/v1/predict", body).json()["errors"]

    assert [["events", 1, "amount"], ["events", 1, "merchant"], ["events", 2]] == [
        error["loc"] for error in errors
    ]
    assert ["wrong_type", "wrong_type", "not_an_object"] == [error["code"] for error in errors]
    assert all(error["msg"] for error in errors)


def test_a_fault_of_a_nested_field_names_its_place(tmp_path: Path, metrics: Metrics) -> None:
    """
    The keys from the outside in, as far as the settings say; missing fields too.
    """
    nested = {"os": {"type": "category", "path": "device.os"}, "x": {"type": "number"}}
    settings = settings_of({"features": nested, "targets": {"y": {"type": "binary"}}})
    learner = Learner(tmp_path, settings)
    with learner.writer, Client(create_app(settings, tmp_path, metrics)) as client:
        learner.publish(7)
        learner.beat()
        wrong = client.post("/v1/predict", {"events": [{}, {"device": {"os": []}}]}).json()
        lacks = client.post("/v1/predict?strict=true", {"events": [{"x": 1}]}).json()

    assert [["events", 1, "device", "os"]] == [error["loc"] for error in wrong["errors"]]
    assert [["events", 0, "device", "os"]] == [error["loc"] for error in lacks["errors"]]


def test_many_faults_do_not_make_an_endless_reply(client: Client) -> None:
    """
    A reply shows the first hundred faults and says how many there are.
    """
    problem = client.post("/v1/predict", {"events": [{"amount": "x"}] * 200}).json()

    assert MOST_ERRORS == len(problem["errors"])
    assert problem["detail"].startswith("200 problems, the first 100 of them shown")


def test_strict_refuses_unknown_and_missing_fields(client: Client) -> None:
    """
    ?strict=true is for clients that want their typing errors back.
    """
    answer = client.post("/v1/predict?strict=true", {"events": [{"amuont": 1, "merchant": "a"}]})

    assert 422 == answer.status
    assert [
        (["events", 0, "amuont"], "unknown_field"),
        (["events", 0, "amount"], "missing_field"),
    ] == [(error["loc"], error["code"]) for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    "query", ["strict=banana", "strict=", "strict", "strict=true&strict=false", "strict=2"]
)
def test_strict_is_true_or_false(client: Client, query: str) -> None:
    """
    A client that meant to be strict and misspelt it is told, not answered leniently.
    """
    answer = client.post(f"/v1/predict?{query}", {"events": [{"amuont": 1}]})

    assert (400, "BAD_REQUEST") == (answer.status, check_problem(answer)["code"])
    assert "?strict=true or ?strict=false" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("model=whole", "write ?model=full or ?model=brief, once"),
        ("model=brief&model=full", "write ?model=full or ?model=brief, once"),
        ("model=", "write ?model=full or ?model=brief, once"),
        ("stric=true", "?stric is not known here; did you mean ?strict?"),
        ("Model=brief", "?Model is not known here; did you mean ?model?"),
    ],
)
def test_a_query_that_is_nearly_one_of_ours_is_refused(
    client: Client, query: str, what: str
) -> None:
    """
    Whoever misspells a question is told, not answered as if it had not been asked.
    """
    answer = client.post(f"/v1/predict?{query}", {"events": [{"amount": 1}]})

    assert (400, "BAD_REQUEST") == (answer.status, check_problem(answer)["code"])
    assert what in answer.json()["detail"]


def test_a_query_of_many_names_is_not_pondered(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The event loop stands still meanwhile: only short names are looked at closely, and few.
    """
    asked: list[str] = []

    def close(name: str, *_: object, **__: object) -> list[str]:
        asked.append(name)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", close)

    misspelt([*(f"p{i}" for i in range(10_000)), "x" * 10_000], ("model", "strict"))

    assert 0 < len(asked) <= 64


def test_digest_is_true_or_false(client: Client) -> None:
    """
    The same for the other question of yes or no.
    """
    statuses = [client.get(f"/v1/model?digest={word}").status for word in ("0", "True", "yes")]

    assert [200, 200, 400] == statuses


def test_strict_lets_a_whole_event_through(client: Client) -> None:
    """
    An event with exactly the model's fields is as good as without ?strict=true.
    """
    body = {"events": [{"amount": 1, "merchant": "a"}]}

    assert 200 == client.post("/v1/predict?strict=true", body).status


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"identity, gzip"])
def test_encoded_bodies_are_refused(client: Client, coding: bytes) -> None:
    """
    A compressed body is refused as such, not as bad JSON.
    """
    answer = client.post("/v1/predict", {"events": []}, [(b"content-encoding", coding)])

    assert (415, "UNSUPPORTED_MEDIA_TYPE") == (answer.status, answer.json()["code"])


def test_an_announced_size_is_refused_before_the_body(client: Client) -> None:
    """
    A client that says it will send too much is told before it does.
    """
    headers = [(b"content-length", b"99999999999999999999999")]

    assert 413 == client.post("/v1/predict", {"events": []}, headers).status


def test_a_body_that_never_ends_is_cut_off(client: Client) -> None:
    """
    The limit holds while the body arrives, whatever was announced.
    """
    assert 413 == client.request("POST", "/v1/predict", [b" " * 65_536] * 100).status


def test_a_client_that_leaves_gets_nothing(client: Client, metrics: Metrics) -> None:
    """
    Half a request is not answered, and counted under 499.
    """

    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
        messages.append({"type": "http.disconnect"})

        async def going() -> Message:
            return messages.pop(0)

        await read_body(scope, going, 100)

    edge = Edge(leave, metrics=metrics, routes=frozenset({"/x"}), most_at_once=5)
    with pytest.raises(Disconnected):
        asyncio.run(leave({"headers": []}, _never, _nowhere))

    assert 0 == asyncio.run(_through(edge)).status
    assert 1 == metrics.counter("headwater_http_requests_total").get("POST", "/x", "499")


async def _never() -> Message:
    raise AssertionError("nobody asks")


async def _nowhere(message: Message) -> None:
    raise AssertionError("nothing is sent")


async def _through(edge: Edge) -> Answer:
    return await Client(edge).call("POST", "/x")


def test_a_body_that_is_too_slow_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A body that trickles in holds its connection for a limited time.
    """
    monkeypatch.setattr("service.serve.body.PATIENCE_S", 0.01)

    async def trickle() -> Message:
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(Refused, match="TIMEOUT"):
        asyncio.run(read_body({"headers": []}, trickle, 1000))


@pytest.mark.parametrize("path", ["/", "/v1/predict/", "/v2/predict", "/v1/predict\x00", "/\udcff"])
def test_what_is_not_there_is_a_404_problem(client: Client, path: str) -> None:
    """
    Unknown paths are problems too, and never redirects.
    """
    answer = client.get(path)

    assert (404, "NOT_FOUND") == (answer.status, check_problem(answer)["code"])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/predict", "POST"),
        ("DELETE", "/v1/model", "GET"),
        ("POST", "/healthz", "GET"),
        ("BREW", "/v1/predict", "POST"),
    ],
)
def test_another_method_is_a_405_problem(
    client: Client, method: str, path: str, allowed: str
) -> None:
    """
    The reply says which methods there are.
    """
    answer = client.request(method, path)

    assert (405, "METHOD_NOT_ALLOWED") == (answer.status, check_problem(answer)["code"])
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/model", "/v1/model?digest=true", "/readyz"])
def test_before_there_are_weights_it_is_not_ready(unborn: Client, path: str) -> None:
    """
    503 with Retry-After, and what the learner is doing.
    """
    method = "POST" if path == "/v1/predict" else "GET"
    answer = unborn.request(method, path, [b'{"events":[]}'])
    problem = check_problem(answer)

    assert (503, "NOT_READY", "1") == (
        answer.status,
        problem["code"],
        answer.headers["retry-after"],
    )
    assert "down" == problem["learner"]["state"]


def test_not_ready_tells_the_progress_of_a_replay(
    tmp_path: Path, unborn: Client, settings: Settings
) -> None:
    """
    While the learner replays its journal the reply says how far it is.
    """
    from tests.serve.conftest import Learner

    learner = Learner(tmp_path, settings)
    learner.beat("replaying", progress=0.62)
    with learner.writer:
        problem = unborn.post("/v1/predict", {"events": []}).json()

    assert "the learner is replaying (62%)" in problem["detail"]
    assert 0.62 == problem["learner"]["progress"]


def test_one_request_too_many_is_overloaded(
    tmp_path: Path, settings: Settings, metrics: Metrics, learner: object
) -> None:
    """
    A worker that has its hands full says so at once; health is still answered.
    """
    large = b'{"events":[' + b",".join([b"{}"] * 2000) + b"]}"
    calls = [("POST", "/v1/predict", large)] * 3 + [("GET", "/healthz", b"")]
    with Client(create_app(settings, tmp_path, metrics, most_at_once=2)) as client:
        answers = client.together(*calls)

    assert [200, 200, 503, 200] == [answer.status for answer in answers]
    assert "OVERLOADED" == check_problem(answers[2])["code"]
    assert "1" == answers[2].headers["retry-after"]


def test_a_bug_is_a_problem_with_an_id(metrics: Metrics) -> None:
    """
    What nobody expected is a 500 with the id under which the log has its traceback.
    """

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a bug")

    edge = Edge(broken, metrics=metrics, routes=frozenset({"/x"}), most_at_once=5)
    answer = asyncio.run(_through(edge))

    assert (500, "INTERNAL") == (answer.status, check_problem(answer)["code"])
    assert b"a bug" not in answer.body


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a\r\nb", False),
        ("né".encode(), False),
        (b"\x00", False),
    ],
)
def test_a_request_id_is_echoed_where_it_is_sane(client: Client, given: bytes, kept: bool) -> None:
    """
    An id comes back in header and log unless it could do harm there.
    """
    told = client.get("/healthz", [(b"x-request-id", given)]).headers["x-request-id"]

    assert kept is (told == given.decode("latin-1"))
    assert told.isascii()
    assert told.isprintable()


def test_made_up_paths_and_methods_make_no_series(client: Client, metrics: Metrics) -> None:
    """
    Metrics keep route templates, never what a client made up.
    """
    for n in range(20):
        client.request(f"M{n}", f"/made/up/{n}")

    rows = metrics.counter("headwater_http_requests_total").rows()

    assert [(["<other>", "<unmatched>", "404"], 20.0)] == rows


def test_a_score_beyond_numbers_is_the_events_fault(tmp_path: Path, metrics: Metrics) -> None:
    """
    An event so large that its score is not finite is refused, and named.
    """
    settings = settings_of(
        {
            "features": {"x": {"type": "number", "scale": "none"}},
            "targets": {"y": {"type": "number", "scale": "none"}},
        }
    )
    from tests.serve.conftest import Learner

    learner = Learner(tmp_path, settings)
    learner.state.theta[:] = 1e30
    learner.publish(1)
    with learner.writer, Client(create_app(settings, tmp_path, metrics)) as client:
        answer = client.post("/v1/predict", {"events": [{"x": 1}, {"x": 1e30}]})

    assert 422 == answer.status
    assert [["events", 1]] == [error["loc"] for error in answer.json()["errors"]]


def test_weights_that_are_not_finite_are_not_served(tmp_path: Path, metrics: Metrics) -> None:
    """
    NaN in a reply is impossible: weights that give one are a 503.
    """
    from tests.serve.conftest import Learner

    settings = settings_of()
    learner = Learner(tmp_path, settings)
    learner.state.theta[:] = float("nan")
    learner.publish(1)
    with learner.writer, Client(create_app(settings, tmp_path, metrics)) as client:
        answer = client.post("/v1/predict", json.dumps({"events": [{"amount": 1}]}).encode())

    assert (503, "NOT_READY") == (answer.status, answer.json()["code"])
