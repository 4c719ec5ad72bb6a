"""Whatever comes in, what goes out is a contract's reply: never a 5xx, never NaN."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.metrics import Metrics
from service.serve.app import create_app
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import Learner, settings_of
from tests.serve.test_refusals import check_problem

fuzz = settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["NaN", "1e400", "-0", "1_000", " 1 ", "0x10", "١٢", "\x00", "1" * 400])
    | st.sampled_from([10**400, -(10**400), 2**64, 1e308, 5e-324])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
names = st.sampled_from(["amount", "merchant", "is_fraud", "kind", "tx_id", "tx_time"]) | st.text(
    max_size=8
)
events = st.dictionaries(names, values, max_size=6)
requests = st.fixed_dictionaries({"events": st.lists(events | values, max_size=4) | values})
tokens = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b":", b",", b"-", b" ", b"null", b"NaN", b"1e999", b"9" * 5000),
        *(b'"events"', b'"amount"', b'"\\ud800"', b'{"events":[', b"]}", b"\xff", b"\x00"),
    ]
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory: Path = tmp_path_factory.mktemp("runtime")
    found = settings_of()
    learner = Learner(directory, found)
    learner.publish(7)
    learner.beat()
    with learner.writer, Client(create_app(found, directory, Metrics("api-0"))) as client:
        yield client


@pytest.fixture(scope="module")
def reply_schema(api: Client) -> Any:
    """The schema of a reply, from the API's own OpenAPI document."""
    document = api.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/PredictReply", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


def check(answer: Answer, reply_schema: Any) -> None:
    if answer.status == 200:
        reply_schema.validate(answer.json())
    else:
        assert 400 <= answer.status < 500
        check_problem(answer)


@fuzz
@given(request=requests)
@example(request={"events": [{"merchant": 10**4299}]})
def test_any_json_is_answered_or_refused(api: Client, reply_schema: Any, request: Any) -> None:
    """
    JSON of any shape, also the kinds of numbers that JSON has no words for.
    """
    check(api.post("/v1/predict", json.dumps(request).encode()), reply_schema)


@fuzz
@given(body=st.binary(max_size=200) | st.lists(tokens, max_size=20).map(b"".join))
def test_any_bytes_are_answered_or_refused(api: Client, reply_schema: Any, body: bytes) -> None:
    """
    Bytes that are not JSON, or nearly.
    """
    check(api.post("/v1/predict", body), reply_schema)


@fuzz
@given(
    query=st.text(alphabet="=&;%+abmodelstrictruebrief\x00\xe9/?#0", max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b"x-request-id", b"content-length", b"content-encoding", b"content-type"]
            ),
            st.binary(max_size=30),
        ),
        max_size=4,
    ),
    chunks=st.lists(st.binary(max_size=20), min_size=1, max_size=4),
)
def test_any_query_and_headers_are_answered_or_refused(
    api: Client,
    reply_schema: Any,
    query: str,
    headers: list[tuple[bytes, bytes]],
    chunks: list[bytes],
) -> None:
    """
    What comes beside the body, and in how many pieces the body comes.
    """
    answer = api.request("POST", f"/v1/predict?{query}", [b'{"events":', *chunks], headers)

    check(answer, reply_schema)


@fuzz
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"]),
    path=st.sampled_from(
        ["/v1/model", "/v1/schema", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"]
    )
    | st.text(max_size=20).map(lambda text: "/" + text),
    query=st.text(alphabet="=&;%+digestrue\x00\xe9", max_size=20),
)
def test_any_route_is_answered_or_refused(api: Client, method: str, path: str, query: str) -> None:
    """
    Every path with every method and any query.
    """
    answer = api.request(method, f"{path}?{query}")

    assert 200 <= answer.status < 500
    assert answer.status < 300 or check_problem(answer)
