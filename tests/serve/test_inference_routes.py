"""What the Open Inference Protocol asks before it infers."""

from __future__ import annotations

from typing import Any

import pytest

from service.metrics import Metrics
from service.serve.tensors import Tensors, read_tensors
from tests.serve.asgi import Client
from tests.serve.conftest import Learner
from tests.serve.test_refusals import check_problem

AMOUNT = {"name": "amount", "datatype": "FP64", "shape": [1], "data": [1.0]}


def test_the_server_says_what_it_is(unborn: Client) -> None:
    """
    Before any learner, too: name, version, extensions; it lives, and has a model to come.
    """
    found = unborn.get("/v2").json()

    assert "headwater" == found["name"]
    assert ["binary_tensor_data", "online-learning"] == found["extensions"]
    assert {"live": True} == unborn.get("/v2/health/live").json()
    assert {"models": ["payments"]} == unborn.get("/v2/models").json()
    [listed] = unborn.post("/v2/repository/index", b"").json()
    assert ("payments", "", "UNAVAILABLE") == (listed["name"], listed["version"], listed["state"])


def test_ready_means_that_there_are_weights(client: Client) -> None:
    """
    The server, the model, the version of it that is served.
    """
    paths = (
        "/v2/health/ready",
        "/v2/models/payments/ready",
        "/v2/models/payments/versions/7/ready",
    )
    for path in paths:
        assert client.get(path).json()["ready"] is True
    assert {"ready": True, "live": True} == client.get(paths[0]).json()
    assert {"name": "payments", "ready": True} == client.get(paths[1]).json()


def test_nothing_is_ready_before_there_are_weights(unborn: Client) -> None:
    """
    A 503 problem with Retry-After; an inference too.
    """
    for path in ("/v2/health/ready", "/v2/models/payments/ready"):
        answer = unborn.get(path)
        assert (503, "NOT_READY") == (answer.status, check_problem(answer)["code"])
        assert "1" == answer.headers["retry-after"]
    assert 503 == unborn.post("/v2/models/payments/infer", {"inputs": [AMOUNT]}).status
    described = unborn.get("/v2/models/payments").json()
    assert ([], ["amount", "merchant", "events"]) == (
        described["versions"], [one["name"] for one in described["inputs"]]
    )  # fmt: skip


def test_a_model_says_what_it_takes_and_gives(client: Client) -> None:
    """
    An input for each field, one for whole events; an output for each target.
    """
    found = client.get("/v2/models/payments").json()

    assert {
        "name": "payments",
        "versions": ["7"],
        "platform": "headwater_online",
        "inputs": [
            {"name": "amount", "datatype": "FP64", "shape": [-1]},
            {"name": "merchant", "datatype": "BYTES", "shape": [-1]},
            {"name": "events", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "is_fraud", "datatype": "FP64", "shape": [-1]},
            {
                "name": "kind", "datatype": "FP64", "shape": [-1, 3],
                "parameters": {"classes": ["gift", "own", "other"]},
            },
            {"name": "refund", "datatype": "FP64", "shape": [-1]},
        ],
    } == found  # fmt: skip
    assert found == client.get("/v2/models/payments/versions/7").json()


def test_only_the_served_version_is_there(client: Client, learner: Learner) -> None:
    """
    By its number, or as live or latest; another one is a 404 that says which is.
    """
    base = "/v2/models/payments/versions"
    for name in ("7", "live", "latest"):
        answer = client.post(f"{base}/{name}/infer", {"inputs": [AMOUNT]})
        assert (200, "7") == (answer.status, answer.json()["model_version"])
    learner.publish(8)
    for refused in (
        client.post(f"{base}/7/infer", {"inputs": [AMOUNT]}),
        client.get(f"{base}/7"),
        client.get(f"{base}/07/ready"),
    ):
        problem = check_problem(refused)
        assert (404, "NOT_FOUND") == (refused.status, problem["code"])
        assert "is not served; 8 is" in problem["detail"]


def test_a_version_that_just_came_is_there(
    client: Client, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another worker may have answered from it already; this one looked at the file a moment ago.
    """
    assert 200 == client.get("/v2/models/payments/versions/7").status
    monkeypatch.setattr("service.serve.live_model.FOLLOW_S", 60.0)
    learner.publish(8)

    for path in ("", "/ready"):
        assert 200 == client.get(f"/v2/models/payments/versions/8{path}").status
    answer = client.post("/v2/models/payments/versions/8/infer", {"inputs": [AMOUNT]})
    assert "8" == answer.json()["model_version"]


def test_a_version_that_goes_while_it_is_asked_is_not_there(
    client: Client, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The reply never comes from another version than the path names.
    """

    def overtaken(*arguments: Any) -> Tensors:
        learner.publish(8)
        return read_tensors(*arguments)

    monkeypatch.setattr("service.serve.inference.read_tensors", overtaken)
    answer = client.post("/v2/models/payments/versions/7/infer", {"inputs": [AMOUNT]})

    assert (404, "NOT_FOUND") == (answer.status, check_problem(answer)["code"])


def test_another_model_is_not_there(client: Client) -> None:
    """
    A 404 that names the one that is.
    """
    for refused in (
        client.get("/v2/models/other"),
        client.get("/v2/models/other/ready"),
        client.post("/v2/models/other/infer", {"inputs": [AMOUNT]}),
    ):
        assert 404 == refused.status
        assert "it is 'payments' here" in check_problem(refused)["detail"]


@pytest.mark.parametrize("path", ["/v2/", "/v2/models/payments/config", "/v2/health"])
def test_what_is_not_offered_is_a_problem(client: Client, path: str) -> None:
    """
    Triton's own routes, for instance.
    """
    assert (404, "NOT_FOUND") == (client.get(path).status, check_problem(client.get(path))["code"])


def test_metrics_count_by_template(client: Client, metrics: Metrics) -> None:
    """
    No name that a client made up becomes a label, whatever signs are in it.
    """
    client.get("/v2/models/payments")
    client.get("/v2/models/{model}")
    client.get("/v2/models/versions/versions/{0.__class__}")
    client.get("/v2/models/a/versions/infer/ready")
    client.get("/v2/models/infer/infer")
    client.post("/v2/models/ready/versions/ready/infer", {})
    rows = metrics.counter("headwater_http_requests_total").rows()

    routes = {(labels[1], labels[2]): count for labels, count in rows}
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    assert {
        (model, "200"): 1.0,
        (model, "404"): 1.0,
        (version, "404"): 1.0,
        (f"{version}/ready", "404"): 1.0,
        (f"{model}/infer", "405"): 1.0,
        (f"{version}/infer", "404"): 1.0,
    } == routes
