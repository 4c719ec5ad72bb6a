"""Whatever comes to /v2, what goes out is a reply or a problem: never a 5xx, never NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.metrics import Metrics
from service.serve.app import create_app
from service.serve.tensors import DATATYPES
from tests.conftest import LOOKS_FURTHER
from tests.events.kinds import FEATURES, REST
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import EVENT, Learner, settings_of
from tests.serve.test_fuzz import values
from tests.serve.test_refusals import check_problem

fuzz = settings(
    max_examples=600 if LOOKS_FURTHER else 50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
PATH = "/v2/models/payments/infer"

names = st.sampled_from([*FEATURES, *REST, "events", "is_fraud"]) | st.text(max_size=5)
datatypes = st.sampled_from(sorted(DATATYPES))
sizes = st.integers(0, 3) | st.sampled_from([-1, 2**62, 10**30, None, 1.0, True])
parameters = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "binary_data_output", "classification", "x"]
    ),
    st.integers(-1, 40) | st.booleans() | values,
    max_size=2,
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["{}", '{"amount":1}', "[", '{"a":1e400}', "2026-01-31T12:00:00Z", "a|b"])
)
data = st.lists(scalars, max_size=4) | st.lists(st.lists(scalars, max_size=3), max_size=3) | values
inputs = st.fixed_dictionaries(
    {"name": names, "datatype": datatypes, "shape": st.lists(sizes, max_size=3), "data": data},
    optional={"parameters": parameters},
)
wild = st.fixed_dictionaries(
    {"inputs": st.lists(inputs | values, max_size=3) | values},
    optional={
        "outputs": st.lists(st.fixed_dictionaries({"name": names | values}), max_size=2) | values,
        "parameters": parameters | values,
        "id": values,
    },
)


@st.composite
def well_shaped(draw: st.DrawFn) -> dict[str, Any]:
    """A tensor whose data is as much as its shape says, of values that may suit it."""
    datatype = draw(datatypes)
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=2))
    one: dict[str, st.SearchStrategy[Any]] = {
        "BYTES": st.text(max_size=6) | st.sampled_from(["{}", '{"amount":1}', "null"]),
        "BOOL": st.booleans(),
    }
    small = st.integers(0, 100) if "INT" in datatype else st.floats()
    count = math.prod(shape)
    flat = draw(st.lists(one.get(datatype, small) | st.none(), min_size=count, max_size=count))
    name = draw(st.sampled_from([*FEATURES, *REST, "events"]))
    return {"name": name, "datatype": datatype, "shape": shape, "data": flat}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory: Path = tmp_path_factory.mktemp("runtime")
    found = settings_of({"features": FEATURES | REST, "targets": EVENT["targets"]})
    learner = Learner(directory, found)
    learner.publish(7)
    learner.beat()
    with learner.writer, Client(create_app(found, directory, Metrics("api-0"))) as client:
        yield client


def check(answer: Answer) -> None:
    if answer.status == 200:
        length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        reply = Answer(200, {}, answer.body[:length]).json()
        assert {"model_name", "model_version", "outputs"} <= reply.keys()
    else:
        assert 400 <= answer.status < 500, answer.body
        check_problem(answer)


@fuzz
@given(request=wild)
def test_any_tensors_are_answered_or_refused(api: Client, request: Any) -> None:
    """
    JSON of nearly the right shape, with anything in it.
    """
    check(api.post(PATH, json.dumps(request).encode()))


@fuzz
@given(tensors=st.lists(well_shaped(), min_size=1, max_size=3))
def test_any_values_are_answered_or_refused(api: Client, tensors: list[dict[str, Any]]) -> None:
    """
    Tensors that are whole; infinities and what is not a number are among the values.
    """
    text = json.dumps({"inputs": tensors}).replace("NaN", "null").replace("Infinity", "1e999")
    check(api.post(PATH, text.encode()))


@fuzz
@given(
    tensors=st.lists(
        st.fixed_dictionaries(
            {
                "name": names,
                "datatype": datatypes,
                "shape": st.lists(st.integers(0, 4), min_size=1, max_size=2),
                "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 24)}),
            }
        ),
        max_size=2,
    ),
    behind=st.binary(max_size=48) | st.binary(max_size=6).map(lambda raw: b"\x02\0\0\0" + raw),
    off=st.integers(-2, 2) | st.just(0),
    path=st.sampled_from([PATH, "/v2/models/payments/versions/live/infer"]),
)
def test_any_bytes_behind_are_answered_or_refused(
    api: Client, tensors: Any, behind: bytes, off: int, path: str
) -> None:
    """
    Binary data of any content and size, and a header that is a little off.
    """
    text = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    length = str(len(text) + off).encode()
    check(api.post(path, text + behind, [(b"inference-header-content-length", length)]))


@fuzz
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "X"]),
    path=st.sampled_from(["/v2", "/v2/health/ready", "/v2/models/payments", "/v2/models"])
    | st.lists(
        st.sampled_from(["models", "payments", "versions", "7", "ready", "infer", "{model}"])
        | st.text(max_size=4),
        max_size=6,
    ).map(lambda parts: "/v2/" + "/".join(parts)),
    query=st.text(alphabet="=&;%+strictrue\x00\xe9", max_size=20),
    headers=st.lists(
        st.tuples(st.just(b"inference-header-content-length"), st.binary(max_size=12)), max_size=2
    ),
)
def test_any_route_of_v2_is_answered_or_refused(
    api: Client, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """
    Every path below /v2 with every method, any query, any length of a head.
    """
    answer = api.request(method, f"{path}?{query}", [b"{}"], headers)

    assert 200 <= answer.status < 500
    assert answer.status < 300 or check_problem(answer)
