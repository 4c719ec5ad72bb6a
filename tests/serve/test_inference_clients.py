"""The Open Inference Protocol as its own clients speak it, over real sockets.

kserve's pins do not go with ours, so its client runs where it is installed:

    python -m venv kserve && kserve/bin/pip install kserve==0.21.0
    HEADWATER_TEST_KSERVE=kserve/bin/python pytest tests/serve/test_inference_clients.py

What it sends is also kept in a file, and always tried.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import uvicorn
from starlette.types import ASGIApp
from tritonclient.utils import InferenceServerException

from service.metrics import Metrics
from service.serve.app import create_app
from service.serve.protocol import Protocol
from tests.processes import until
from tests.serve.asgi import Client
from tests.serve.conftest import Learner, settings_of

HERE = Path(__file__).parent
RECORDED = HERE.parent / "fixtures" / "kserve-0.21.0.json"
"""What tests/serve/kserve_session.py printed under "sent", with kserve 0.21.0."""
EVENTS = [{"amount": 1.5, "merchant": "m1"}, {"amount": 2.5, "merchant": "m2"}]


@pytest.fixture(scope="module")
def make_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ASGIApp]]:
    """Makes an API over weights by which the events of these tests differ."""
    directory = tmp_path_factory.mktemp("runtime")
    settings = settings_of()
    learner = Learner(directory, settings)
    draw = torch.Generator().manual_seed(1)
    for name, tensor in learner.state.parts()["weights"].items():
        if name.startswith("head/"):
            tensor.copy_(torch.randn(tensor.shape, generator=draw))
        elif name.startswith("normaliser/"):
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + tensor.new_tensor(9.0))
    learner.publish(7)
    learner.beat()
    with learner.writer:
        yield lambda: create_app(settings, directory, Metrics("api-0"))


@pytest.fixture(scope="module")
def address(make_app: Callable[[], ASGIApp]) -> Iterator[str]:
    """Where it listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(), http=Protocol, ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    until(lambda: server.started)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def quick(make_app: Callable[[], ASGIApp]) -> Iterator[Client]:
    """The same without sockets."""
    with Client(make_app()) as client:
        yield client


@pytest.fixture(scope="module")
def same(quick: Client) -> dict[str, Any]:
    """What /v1/predict says of EVENTS, as outputs hold it."""
    found = quick.post("/v1/predict", {"events": EVENTS}).json()["predictions"]
    return {
        "is_fraud": [one["is_fraud"] for one in found],
        "kind": [list(one["kind"].values()) for one in found],
        "refund": [one["refund"] for one in found],
    }


def inputs(module: Any = triton, *, binary: bool = True) -> list[Any]:
    """The inputs of EVENTS, as tritonclient has them."""
    amount = module.InferInput("amount", [2], "FP32")
    amount.set_data_from_numpy(np.array([1.5, 2.5], dtype=np.float32), binary_data=binary)
    merchant = module.InferInput("merchant", [2], "BYTES")
    merchant.set_data_from_numpy(np.array(["m1", "m2"], dtype=object), binary_data=binary)
    return [amount, merchant]


def test_tritonclient_lists_checks_and_infers(address: str, same: dict[str, Any]) -> None:
    """
    Its calls for health, metadata and inference, in both forms of tensors.
    """
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("payments")
        assert client.is_model_ready("payments", "latest")
        assert not client.is_model_ready("payments", "6")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        [listed] = client.get_model_repository_index()
        assert ("payments", "7", "READY") == (listed["name"], listed["version"], listed["state"])
        described = client.get_model_metadata("payments")
        assert ["amount", "merchant", "events"] == [one["name"] for one in described["inputs"]]

        for binary in (True, False):
            found = client.infer("payments", inputs(binary=binary), request_id="mine")
            assert same == {name: found.as_numpy(name).tolist() for name in same}
            assert ("mine", "7") == (
                found.get_response()["id"],
                found.get_response()["model_version"],
            )
        wanted = [
            triton.InferRequestedOutput("kind", binary_data=False),
            triton.InferRequestedOutput("refund"),
        ]
        some = client.infer("payments", inputs(), model_version="live", outputs=wanted)
        assert same["kind"] == some.as_numpy("kind").tolist()
        assert same["refund"] == some.as_numpy("refund").tolist()
        assert some.as_numpy("is_fraud") is None
        assert (
            same["kind"]
            == client.async_infer("payments", inputs()).get_result().as_numpy("kind").tolist()
        )


def test_tritonclient_sends_whole_events_and_none(address: str, same: dict[str, Any]) -> None:
    """
    JSON in BYTES; and a tensor without a row.
    """
    texts = np.array([json.dumps(one).encode() for one in EVENTS], dtype=object)
    general = triton.InferInput("events", [2], "BYTES")
    general.set_data_from_numpy(texts)
    nothing = triton.InferInput("merchant", [0], "BYTES")
    nothing.set_data_from_numpy(np.array([], dtype=object))
    with triton.InferenceServerClient(address) as client:
        assert same["is_fraud"] == client.infer("payments", [general]).as_numpy("is_fraud").tolist()
        assert (0, 3) == client.infer("payments", [nothing]).as_numpy("kind").shape


def test_tritonclient_shows_what_was_refused(address: str) -> None:
    """
    The problem's words and status.
    """
    unknown = triton.InferInput("colour", [1], "FP64")
    unknown.set_data_from_numpy(np.array([1.0]))
    with triton.InferenceServerClient(address) as client:
        with pytest.raises(
            InferenceServerException, match="no such input; it has amount"
        ) as caught:
            client.infer("payments", [unknown])
        assert "422" == caught.value.status()
        with pytest.raises(InferenceServerException, match="is not served; 7 is"):
            client.infer("payments", inputs(), model_version="6")


def test_tritonclient_infers_asynchronously(address: str, same: dict[str, Any]) -> None:
    """
    Its asyncio client.
    """

    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            return await client.infer("payments", inputs(triton_aio))

    found = asyncio.run(ask())

    assert same == {name: found.as_numpy(name).tolist() for name in same}


def test_what_kserve_sends_is_answered(quick: Client, same: dict[str, Any]) -> None:
    """
    Each request that its client made, to the byte, gets the reply that it was told of.
    """
    recorded = json.loads(RECORDED.read_text())
    answers = []
    for one in recorded["sent"]:
        headers = [(k.encode(), v.encode()) for k, v in one["headers"].items()]
        body = base64.b64decode(one["body"])
        answers.append(quick.request(one["method"], one["path"], [body], headers))

    assert [200, 200, 200, 404, 200, 200, 200, 422] == [one.status for one in answers]
    in_json, in_bytes, some = answers[4:7]
    first = {name: values[0] for name, values in same.items()}
    shown = {
        one["name"]: one["data"][: np.size(first[one["name"]])] for one in in_json.json()["outputs"]
    }
    assert {name: np.ravel(value).tolist() for name, value in first.items()} == shown
    length = int(in_bytes.headers["inference-header-content-length"])
    whole = [*same["is_fraud"], *np.ravel(same["kind"]), *same["refund"]]
    assert whole == np.frombuffer(in_bytes.body[length:], "<f8").tolist()
    length = int(some.headers["inference-header-content-length"])
    assert same["refund"] == np.frombuffer(some.body[length:], "<f8").tolist()


def test_kserve_checks_and_infers(address: str, same: dict[str, Any], kserve_python: str) -> None:
    """
    Its REST client itself; and it sends what the file says that it sends.
    """
    ended = subprocess.run(
        [kserve_python, "-I", HERE / "kserve_session.py", f"http://{address}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    found = json.loads(ended.stdout)
    told = found["told"]

    assert [True, True, True, False, 422] == [
        told[name] for name in ("live", "ready", "model", "other", "refused")
    ]
    assert {"id": "r1", "name": "payments", "step": 7, "outputs": same} == told["bytes"]
    assert {name: same[name] for name in ("kind", "refund")} == told["some"]["outputs"]
    assert same["kind"][0] == told["json"]["outputs"]["kind"][0]
    assert json.loads(RECORDED.read_text())["sent"] == found["sent"]
