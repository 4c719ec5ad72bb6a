"""What /v2 refuses: always a problem that names the input, and the row where there is one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from service.metrics import Metrics
from service.serve.app import create_app
from service.serve.tensors import read_tensors
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import Learner, settings_of
from tests.serve.test_inference import binary, infer, tensor
from tests.serve.test_refusals import check_problem


def place(answer: Answer) -> tuple[int, list[Any]]:
    """Return status and place of the first error of a problem."""
    check_problem(answer)
    return answer.status, answer.json()["errors"][0]["loc"]


AMOUNT = tensor("amount", "FP64", [1.0, 2.0])
REFUSED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "no inputs": ({}, ["inputs"]),
    "inputs of nothing": ({"inputs": []}, ["inputs"]),
    "an input that is none": ({"inputs": [7]}, ["inputs", 0]),
    "no name": ({"inputs": [{"shape": [1]}]}, ["inputs", 0, "name"]),
    "unknown": ({"inputs": [{**AMOUNT, "name": "colour"}]}, ["inputs", "colour"]),
    "twice": ({"inputs": [AMOUNT, AMOUNT]}, ["inputs", "amount"]),
    "datatype": ({"inputs": [{**AMOUNT, "datatype": "F64"}]}, ["inputs", "amount", "datatype"]),
    "unfit datatype": ({"inputs": [{**AMOUNT, "datatype": "BOOL", "data": [True, True]}]},
                       ["inputs", "amount"]),
    "shape": ({"inputs": [{**AMOUNT, "shape": [-1]}]}, ["inputs", "amount", "shape"]),
    "no shape": ({"inputs": [{**AMOUNT, "shape": None}]}, ["inputs", "amount", "shape"]),
    "three dimensions": ({"inputs": [{**AMOUNT, "shape": [2, 1, 1]}]}, ["inputs", "amount", "shape"]),
    "a shape beyond": ({"inputs": [{**AMOUNT, "shape": [10_000, 2**60]}]},
                       ["inputs", "amount", "shape"]),
    "unfit shape": ({"inputs": [{**AMOUNT, "shape": [1, 2]}]}, ["inputs", "amount"]),
    "too few values": ({"inputs": [{**AMOUNT, "shape": [3]}]}, ["inputs", "amount"]),
    "too deep": ({"inputs": [{**AMOUNT, "data": [1.0, [2.0]]}]}, ["inputs", "amount", 1]),
    "wide rows": ({"inputs": [{**AMOUNT, "shape": [2, 1], "data": [[1.0], [2.0, 3.0]]}]},
                  ["inputs", "amount", 1]),
    "no data": ({"inputs": [{**AMOUNT, "data": None}]}, ["inputs", "amount"]),
    "data of one": ({"inputs": [{**AMOUNT, "data": 7}]}, ["inputs", "amount"]),
    "a text as number": ({"inputs": [{**AMOUNT, "data": [1.0, "2"]}]}, ["inputs", "amount", 1]),
    "a bad text": ({"inputs": [{**AMOUNT, "datatype": "BYTES", "data": ["1", "many"]}]},
                   ["inputs", "amount", 1]),
    "beyond its bits": ({"inputs": [{**AMOUNT, "datatype": "INT8", "data": [1, 128]}]},
                        ["inputs", "amount", 1]),
    "unequal counts": ({"inputs": [AMOUNT, tensor("merchant", "BYTES", ["a"])]},
                       ["inputs", "merchant"]),
    "events and fields": ({"inputs": [AMOUNT, tensor("events", "BYTES", ["{}", "{}"])]},
                          ["inputs", "events"]),
    "an event that is not JSON": ({"inputs": [tensor("events", "BYTES", ["{}", "{"])]},
                                  ["inputs", "events", 1]),
    "an event that is a list": ({"inputs": [tensor("events", "BYTES", ["[]"])]},
                                ["inputs", "events", 0]),
    "a field of an event": ({"inputs": [tensor("events", "BYTES", ['{"amount":"x"}'])]},
                            ["inputs", "events", 0, "amount"]),
    "shared memory": ({"inputs": [{**AMOUNT, "parameters": {"shared_memory_region": "r"}}]},
                      ["inputs", "amount", "parameters"]),
    "bytes that are not there": ({"inputs": [{**AMOUNT, "data": None,
                                              "parameters": {"binary_data_size": 16}}]},
                                 ["inputs", "amount", "parameters", "binary_data_size"]),
    "unknown output": ({"inputs": [AMOUNT], "outputs": [{"name": "nothing"}]},
                       ["outputs", "nothing"]),
    "output twice": ({"inputs": [AMOUNT], "outputs": [{"name": "refund"}, {"name": "refund"}]},
                     ["outputs", "refund"]),
    "classification": ({"inputs": [AMOUNT], "outputs": [
        {"name": "kind", "parameters": {"classification": 2}}]}, ["outputs", "kind", "parameters"]),
    "id": ({"inputs": [AMOUNT], "id": 7}, ["id"]),
    "parameters": ({"inputs": [AMOUNT], "parameters": {"binary_data_output": 1}},
                   ["parameters", "binary_data_output"]),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "loc"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_told_with_its_place(
    client: Client, request_: dict[str, Any], loc: list[Any]
) -> None:
    """
    Always a 422 that names the input, and the row where there is one.
    """
    assert (422, loc) == place(client.post("/v2/models/payments/infer", request_))


def test_an_unknown_input_is_told_the_known_ones(client: Client) -> None:
    """
    Names to choose from, the general one too.
    """
    problem = infer(client, {**AMOUNT, "name": "colour"}).json()

    assert "it has amount, merchant, events" in problem["detail"]


def test_every_value_that_is_none_of_its_datatype_is_told(client: Client) -> None:
    """
    Each row with what it holds.
    """
    errors = infer(client, {**AMOUNT, "data": ["lots", True]}).json()["errors"]

    assert [
        (["inputs", "amount", 0], "expected a number, got 'lots'"),
        (["inputs", "amount", 1], "expected a number, got True"),
    ] == [(one["loc"], one["msg"]) for one in errors]


def test_bytes_must_be_as_many_as_the_shape_says(client: Client) -> None:
    """
    Too few, too many, texts that end beyond the end, a header that lies.
    """
    path = "/v2/models/payments/infer"
    body, headers = binary({**AMOUNT, "shape": [3]})
    assert (422, ["inputs", "amount"]) == place(client.post(path, body, headers))
    body, headers = binary(AMOUNT)
    assert (422, ["inputs"]) == place(client.post(path, body + b"1", headers))
    for text, count in ((b"\x05\0\0\0ab", 1), (b"\x00\0\0", 1), (b"\0\0\0\0" * 2, 1), (b"", 1)):
        one: dict[str, Any] = {"name": "merchant", "datatype": "BYTES", "shape": [count]}
        one["parameters"] = {"binary_data_size": len(text)}
        head = json.dumps({"inputs": [one]}).encode()
        length = [(b"inference-header-content-length", str(len(head)).encode())]
        assert (422, ["inputs", "merchant"]) == place(client.post(path, head + text, length))
    for lie in (b"-1", b"x", b"99999999999", b"1" * 30, "²".encode("latin-1"), b"999"):
        refused = client.post(path, body, [(b"inference-header-content-length", lie)])
        assert (400, "BAD_REQUEST") == (refused.status, refused.json()["code"])
    cut = client.post(path, body, [(b"inference-header-content-length", b"5")])
    assert (400, "BAD_JSON") == (cut.status, cut.json()["code"])


def test_a_text_that_is_not_utf8_is_told_with_its_row(client: Client) -> None:
    """
    The others are fine.
    """
    text = b"\x01\0\0\0a\x01\0\0\0\xff"
    one: dict[str, Any] = {"name": "merchant", "datatype": "BYTES", "shape": [2]}
    one["parameters"] = {"binary_data_size": len(text)}
    head = json.dumps({"inputs": [one]}).encode()
    length = [(b"inference-header-content-length", str(len(head)).encode())]
    answer = client.post("/v2/models/payments/infer", head + text, length)

    assert (422, ["inputs", "merchant", 1]) == place(answer)


def test_more_events_than_the_settings_allow_are_too_large(client: Client) -> None:
    """
    413, also where the shape says so in a few bytes, or the JSON is nothing but lists.
    """
    many = {**AMOUNT, "shape": [10_001], "data": [1] * 10_001}
    assert 413 == infer(client, many).status
    empty = {"name": "merchant", "datatype": "BYTES", "shape": [10**9, 0], "data": []}
    assert 413 == infer(client, empty).status
    lists = b'{"inputs":[' + b"[]," * 80_001 + b"[]]}"
    assert 413 == client.post("/v2/models/payments/infer", lists).status
    deep = '{"a":' * 100 + "1" + "}" * 100
    assert 413 == infer(client, tensor("events", "BYTES", [deep] * 1_000)).status


def test_one_place_takes_one_value(tmp_path: Path) -> None:
    """
    Two fields of one place, and a field that lies in a map: equal values may come twice.
    """
    event = {
        "features": {
            "shop": {"type": "category"}, "name": {"type": "text", "path": "shop"},
            "extras": {"type": "map"}, "size": {"type": "number", "path": "extras.size"},
        },
        "targets": {"y": {"type": "binary"}},
    }  # fmt: skip
    settings = settings_of(event)
    learner = Learner(tmp_path, settings)
    learner.publish(7)
    with learner.writer, Client(create_app(settings, tmp_path, Metrics("api-0"))) as client:
        shop = tensor("shop", "BYTES", ["a", "b"])
        extras = tensor("extras", "BYTES", ['{"size":1}', '{"colour":"red"}'])
        good = [shop, {**shop, "name": "name"}, extras, tensor("size", "FP64", [1.0, 2.0])]
        assert 200 == infer(client, *good).status
        assert 200 == infer(client, *reversed(good)).status
        other = tensor("name", "BYTES", ["a", "c"])
        assert (422, ["inputs", "name", 1]) == place(infer(client, shop, other))
        size = tensor("size", "FP64", [2.0, 2.0])
        assert (422, ["inputs", "size", 0]) == place(infer(client, extras, size))
        bad = tensor("extras", "BYTES", ['{"size":"many"}', "{}"])
        assert (422, ["inputs", "extras", 0]) == place(infer(client, bad))


def test_the_map_of_the_rest_holds_no_field(tmp_path: Path) -> None:
    """
    A field has an input of its own; the rest is an object.
    """
    features = {"amount": {"type": "number"}, "others": {"type": "map", "rest": True}}
    settings = settings_of({"features": features, "targets": {"y": {"type": "binary"}}})
    learner = Learner(tmp_path, settings)
    learner.publish(7)
    with learner.writer, Client(create_app(settings, tmp_path, Metrics("api-0"))) as client:
        for text in ('{"amount":1}', "[]"):
            answer = infer(client, tensor("others", "BYTES", [text]))
            assert (422, ["inputs", "others", 0]) == place(answer)
        assert 200 == infer(client, tensor("others", "BYTES", ['{"colour":1}'])).status


def test_a_score_beyond_all_numbers_is_the_events_fault(tmp_path: Path) -> None:
    """
    As for /v1/predict: the row is named, the weights are sound.
    """
    plain = {"type": "number", "scale": "none"}
    settings = settings_of({"features": {"x": plain}, "targets": {"y": plain}})
    learner = Learner(tmp_path, settings)
    learner.state.theta[:] = 1e30
    learner.publish(1)
    with learner.writer, Client(create_app(settings, tmp_path, Metrics("api-0"))) as client:
        answer = infer(client, tensor("x", "FP64", [1.0, 1e30]))

    assert (422, ["inputs", "x", 1]) == place(answer)


def test_two_lengths_of_the_head_are_refused(client: Client) -> None:
    """
    Which of the two would hold? A proxy may take the one, and we the other.
    """
    name = b"inference-header-content-length"
    answer = client.request(
        "POST", "/v2/models/payments/infer", [b"{}"], [(name, b"2"), (name, b"2")]
    )

    assert (400, "BAD_REQUEST") == (answer.status, check_problem(answer)["code"])
    assert "Inference-Header-Content-Length is given twice" in answer.json()["detail"]


def test_names_without_end_cost_time_in_proportion_only() -> None:
    """Each name is looked for once, not among all others: forty thousand are read in no time."""
    outputs = [{"name": f"n{i}"} for i in range(40_000)]
    body = json.dumps({"inputs": [AMOUNT], "outputs": outputs}).encode()
    began = time.process_time()

    assert 40_000 == len(read_tensors(body, None, 10_000).outputs)
    assert time.process_time() - began < 15.0
