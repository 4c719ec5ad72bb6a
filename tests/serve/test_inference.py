"""The Open Inference Protocol under /v2: the same events, the same scores, in tensors."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.events.decode import Columns
from service.metrics import Metrics
from service.model.scorer import Attached
from service.serve.app import create_app
from service.serve.scoring import LARGE_EVENTS
from tests.events.kinds import FEATURES, REST
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import EVENT, Learner, settings_of

KINDS: dict[str, Any] = {
    "features": FEATURES | REST | {"ms": {"type": "time", "format": "ms"}},
    "targets": EVENT["targets"],
}
ROWS: list[dict[str, Any]] = [
    {
        "amount": 12.5, "shop": "m17", "vip": True, "genres": ["drama", "war"], "memo": "Two words",
        "emb": [1, 2.5, -3], "extras": {"colour": "red", "weight": 1.5}, "ms": 1_769_860_800_000,
        "at": "2026-01-31T12:30:00Z", "device": {"os": "ios", "screen": {"inch": 6.1}},
        "others": 1,
    },
    {"amount": -3.0, "shop": "m3", "emb": [0.5, 0, 0], "genres": ["war"], "extras": {}},
    {"vip": False, "device": {"os": "17"}, "memo": "1 number", "at": "2026-06-30T00:00:00Z"},
]  # fmt: skip


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A model with a field of every kind, and weights by which each of them counts."""
    directory: Path = tmp_path_factory.mktemp("runtime")
    settings = settings_of(KINDS)
    learner = Learner(directory, settings)
    draw = torch.Generator().manual_seed(1)
    for name, tensor in learner.state.parts()["weights"].items():
        if name.startswith("head/"):
            tensor.copy_(torch.randn(tensor.shape, generator=draw) * 0.1)
        elif name.startswith("normaliser/"):
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + tensor.new_tensor(9.0))
    learner.publish(7)
    learner.beat()
    with learner.writer, Client(create_app(settings, directory, Metrics("api-0"))) as client:
        yield client


def tensor(name: str, datatype: str, data: list[Any], *tail: int) -> dict[str, Any]:
    """Return an input in JSON."""
    return {"name": name, "datatype": datatype, "shape": [len(data), *tail], "data": data}


def infer(client: Client, *inputs: dict[str, Any], model: str = "payments", **more: Any) -> Answer:
    """The answer to an inference request in JSON."""
    return client.post(f"/v2/models/{model}/infer", {"inputs": inputs, **more})


def outputs(answer: Answer) -> dict[str, Any]:
    """Return the data of each output."""
    assert 200 == answer.status, answer.body
    return {one["name"]: one["data"] for one in answer.json()["outputs"]}


def predicted(client: Client, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what /v1/predict says of events, as outputs hold it."""
    found = client.post("/v1/predict", {"events": events}).json()["predictions"]
    classes = EVENT["targets"]["kind"]["classes"]
    return {
        "is_fraud": [one["is_fraud"] for one in found],
        "kind": [one["kind"][name] for one in found for name in classes],
        "refund": [one["refund"] for one in found],
    }


def of_every_kind() -> list[dict[str, Any]]:
    """The tensors of ROWS; what an event lacks is null."""
    devices = [one.get("device", {}) for one in ROWS]
    return [
        tensor("amount", "FP64", [one.get("amount") for one in ROWS]),
        tensor("shop", "BYTES", [one.get("shop") for one in ROWS]),
        tensor("vip", "BOOL", [one.get("vip") for one in ROWS]),
        tensor("genres", "BYTES", [["drama", "war"], ["war", ""], None], 2),
        tensor("memo", "BYTES", [one.get("memo") for one in ROWS]),
        tensor("emb", "FP64", [one.get("emb") for one in ROWS], 3),
        tensor("extras", "BYTES", ['{"colour":"red","weight":1.5}', "{}", None]),
        tensor("at", "BYTES", [one.get("at") for one in ROWS]),
        tensor("ms", "INT64", [one.get("ms") for one in ROWS]),
        tensor("os", "BYTES", [one.get("os") for one in devices]),
        tensor("screen", "FP64", [one.get("screen", {}).get("inch") for one in devices]),
        tensor("others", "BYTES", ['{"others": 1}', "", None]),
    ]


def binary(*inputs: dict[str, Any], **more: Any) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return body and headers of the same inputs as bytes behind the JSON."""
    shown, behind = [], b""
    for one in inputs:
        raw = packed(one["datatype"], one["data"])
        parameters = {"binary_data_size": len(raw)}
        shown.append({**{k: v for k, v in one.items() if k != "data"}, "parameters": parameters})
        behind += raw
    text = json.dumps({"inputs": shown, **more}).encode()
    return text + behind, [(b"inference-header-content-length", str(len(text)).encode())]


def packed(datatype: str, data: Any) -> bytes:
    """Return data as the binary extension has it."""
    if datatype == "BYTES":
        flat = np.array(data, dtype=object).ravel().tolist()
        return b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in flat)
    kinds = {"BOOL": "?", "FP32": "<f4", "FP64": "<f8", "FP16": "<f2", "INT8": "<i1"}
    kinds |= {"INT64": "<i8", "UINT16": "<u2"}
    return np.array(data, dtype=kinds[datatype]).tobytes()


def test_tensors_of_every_kind_are_the_events_that_they_are(kinds: Client) -> None:
    """
    To the bit, and each field counts: without it the scores are others.
    """
    tensors = of_every_kind()
    whole = outputs(infer(kinds, *tensors))

    assert predicted(kinds, ROWS) == whole
    for left_out in tensors:
        rest = [one for one in tensors if one is not left_out]
        assert whole != outputs(infer(kinds, *rest)), left_out["name"]


def test_whole_events_are_the_general_way(kinds: Client) -> None:
    """
    One input of JSON objects takes whatever /v1/predict does.
    """
    general = tensor("events", "BYTES", [json.dumps(one) for one in ROWS])

    assert predicted(kinds, ROWS) == outputs(infer(kinds, general))
    in_columns = {**general, "shape": [3, 1], "data": [[one] for one in general["data"]]}
    assert predicted(kinds, ROWS) == outputs(infer(kinds, in_columns))


def test_a_reply_says_what_it_comes_from(client: Client) -> None:
    """
    Version, lineage, age; the id is echoed; headers as of every prediction.
    """
    answer = infer(client, tensor("amount", "FP64", [1.0, 2.0]), id="mine")
    reply = answer.json()

    assert ("payments", "7", "mine") == (reply["model_name"], reply["model_version"], reply["id"])
    told = reply["parameters"]
    assert (7, False, 70) == (told["step"], told["stale"], told["events_learned"])
    assert told["lineage"] == answer.headers["x-model-lineage"]
    assert 0 <= told["staleness_seconds"] < 60
    assert "7" == answer.headers["x-model-version"]
    shapes = {one["name"]: (one["datatype"], one["shape"]) for one in reply["outputs"]}
    assert {
        "is_fraud": ("FP64", [2]), "kind": ("FP64", [2, 3]), "refund": ("FP64", [2])
    } == shapes  # fmt: skip
    assert ["gift", "own", "other"] == reply["outputs"][1]["parameters"]["classes"]
    assert "id" not in infer(client, tensor("amount", "FP64", [1.0])).json()


@pytest.mark.parametrize(
    ("datatype", "data", "same"),
    [
        ("FP32", [1.5, 2.25], [1.5, 2.25]),
        ("FP16", [1.5, 2.25], [1.5, 2.25]),
        ("INT8", [1, -7], [1, -7]),
        ("UINT16", [1, 60_000], [1, 60_000]),
        ("INT64", [1, 10**12], [1, 10**12]),
        ("FP64", [float("nan"), 2.5], [None, 2.5]),
    ],
)
def test_any_numeric_datatype_is_taken_in_both_forms(
    kinds: Client, datatype: str, data: list[Any], same: list[Any]
) -> None:
    """
    In bytes as in JSON; what is not a number is not known.
    """
    wanted = predicted(kinds, [{"amount": one} for one in same])
    body, headers = binary(tensor("amount", datatype, data))

    assert wanted == outputs(kinds.post("/v2/models/payments/infer", body, headers))
    assert wanted == outputs(infer(kinds, tensor("amount", datatype, same)))


def test_bf16_is_taken(kinds: Client) -> None:
    """
    The upper half of a float of 32 bits.
    """
    one = {"name": "amount", "datatype": "BF16", "shape": [1]}
    text = json.dumps({"inputs": [{**one, "parameters": {"binary_data_size": 2}}]}).encode()
    headers = [(b"inference-header-content-length", str(len(text)).encode())]
    body = text + struct.pack("<f", 1.5)[2:]

    answer = kinds.post("/v2/models/payments/infer", body, headers)
    assert predicted(kinds, [{"amount": 1.5}]) == outputs(answer)


def test_bytes_of_every_kind_and_back(kinds: Client) -> None:
    """
    The binary extension both ways; only those outputs that want it are bytes.
    """
    full = [{**ROWS[0], "others": 1}] * 2
    tensors = [
        {**one, "shape": [2, *one["shape"][1:]], "data": [one["data"][0]] * 2}
        for one in of_every_kind()
    ]
    wanted = [
        {"name": "refund", "parameters": {"binary_data": False}},
        {"name": "kind"},
    ]
    body, headers = binary(*tensors, outputs=wanted, parameters={"binary_data_output": True})
    answer = kinds.post("/v2/models/payments/infer", body, headers)
    length = int(answer.headers["inference-header-content-length"])
    reply = json.loads(answer.body[:length])
    same = predicted(kinds, full)

    assert "application/octet-stream" == answer.headers["content-type"]
    assert ["refund", "kind"] == [one["name"] for one in reply["outputs"]]
    assert same["refund"] == reply["outputs"][0]["data"]
    assert len(answer.body) - length == reply["outputs"][1]["parameters"]["binary_data_size"]
    assert same["kind"] == np.frombuffer(answer.body[length:], "<f8").tolist()


def test_a_missing_input_is_a_missing_field(client: Client, metrics: Metrics) -> None:
    """
    Counted as such for each event; ?strict=true refuses it.
    """
    assert 200 == infer(client, tensor("amount", "FP64", [1.0, None])).status
    refused = client.post(
        "/v2/models/payments/infer?strict=true", {"inputs": [tensor("amount", "FP64", [1, None])]}
    )
    unknown = tensor("events", "BYTES", ['{"amount":1,"merchant":"m","colour":"red"}'])
    assert 200 == infer(client, unknown).status

    places = [one["loc"] for one in refused.json()["errors"]]
    assert [
        ["inputs", "merchant", 0], ["inputs", "amount", 1], ["inputs", "merchant", 1]
    ] == places  # fmt: skip
    scrape = client.get("/metrics").body.decode()
    assert 'headwater_field_missing_total{field="amount",process="api-0"} 2.0' in scrape
    assert 'headwater_field_missing_total{field="merchant",process="api-0"} 4.0' in scrape
    assert 'headwater_field_unknown_total{field="colour",process="api-0"} 1.0' in scrape


def test_no_events_are_answered_with_none(client: Client) -> None:
    """
    Shapes of nothing; as JSON and as bytes.
    """
    reply = infer(client, tensor("amount", "FP64", [])).json()
    assert [[0], [0, 3], [0]] == [one["shape"] for one in reply["outputs"]]
    body, headers = binary(tensor("merchant", "BYTES", []))
    assert 200 == client.post("/v2/models/payments/infer", body, headers).status


def test_a_large_request_is_answered_aside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Many events in few bytes, and many bytes: not on the thread of the event loop.
    """
    threads: list[str] = []
    score = Attached.score

    def told(attached: Attached, columns: Columns) -> Any:
        threads.append(threading.current_thread().name)
        return score(attached, columns)

    monkeypatch.setattr(Attached, "score", told)
    small = infer(client, tensor("amount", "INT8", [1] * LARGE_EVENTS))
    few_bytes = infer(client, tensor("amount", "INT8", [1] * 5_000))
    many_bytes = infer(client, tensor("amount", "FP64", [1.25] * 10_000))

    sizes = [len(outputs(one)["is_fraud"]) for one in (small, few_bytes, many_bytes)]
    assert [LARGE_EVENTS, 5_000, 10_000] == sizes
    assert ["MainThread", "aside_0", "aside_0"] == threads
