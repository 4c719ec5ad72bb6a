"""POST /v1/predict?intervals=0.9: how sure a number is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.metrics import Metrics
from service.model import intervals
from service.serve.app import create_app
from tests.serve.asgi import Client
from tests.serve.conftest import EVENT, Learner, settings_of

EVENTS = [{"amount": 12.5, "merchant": "m17"}, {"amount": 3}, {}]


def errors(learner: Learner, of: float, version: int = 8) -> None:
    """Publish a version whose refunds were mostly so far off."""
    y = np.random.default_rng(1).normal(size=600) * of
    intervals.update(learner.state.intervals["refund"], np.zeros(600), y)
    learner.publish(version)


def ask(client: Client, query: str, events: list[Any] = EVENTS, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/predict" + query, {"events": events, **more})
    assert 200 == answer.status
    return answer.json()


def test_each_prediction_has_its_interval(client: Client, learner: Learner) -> None:
    """A list beside the predictions, of the number targets alone, around what is predicted."""
    errors(learner, 10.0)
    reply = ask(client, "?intervals=0.9")

    assert len(EVENTS) == len(reply["predictions"]) == len(reply["intervals"])
    for prediction, interval in zip(reply["predictions"], reply["intervals"], strict=True):
        assert {"refund"} == interval.keys()
        low, high = interval["refund"]
        assert prediction["refund"] == pytest.approx((low + high) / 2)
        assert 2 * 14.0 < high - low < 2 * 19.0  # 16.4 for nine of ten
    assert "intervals" not in ask(client, "")


def test_a_wider_promise_is_a_wider_interval_and_each_is_of_its_version(
    client: Client, learner: Learner
) -> None:
    errors(learner, 10.0)
    widths = [
        np.ptp(ask(client, f"?intervals={level}")["intervals"][0]["refund"])
        for level in ("0.25", "5e-1", "0.9", "0.999")
    ]
    learner.state.intervals["refund"][:] = 0.0
    learner.publish(9)

    assert sorted(set(widths)) == widths
    assert [{"refund": None}] * 3 == ask(client, "?intervals=0.9")["intervals"]


def test_what_is_too_little_known_is_null(client: Client) -> None:
    """As it is before there were labels; a reply is still given."""
    assert [{"refund": None}] * 3 == ask(client, "?intervals=0.9")["intervals"]
    assert [] == ask(client, "?intervals=0.9", [])["intervals"]


def test_an_interval_beyond_all_numbers_is_null(client: Client, learner: Learner) -> None:
    """There is no infinity in JSON."""
    errors(learner, 1.0)
    learner.state.intervals["refund"][2 * intervals.KEPT + 2] = 1.7e308  # the usual error
    learner.publish(9)

    assert [{"refund": None}] * 3 == ask(client, "?intervals=0.999")["intervals"]


def test_the_best_have_their_own_intervals(client: Client, learner: Learner) -> None:
    """With `top` the list is as long as the predictions, in their order; it goes with other queries."""
    errors(learner, 10.0)
    top = {"n": 2, "target": "refund"}
    reply = ask(client, "?intervals=0.9&model=brief", top=top)

    assert 2 == len(reply["ranking"]) == len(reply["intervals"])
    middles = [sum(one["refund"]) / 2 for one in reply["intervals"]]
    assert middles == pytest.approx([one["refund"] for one in reply["predictions"]])
    assert "trained_through" not in reply["model"]


@pytest.mark.parametrize(
    "query",
    [
        "=0",
        "=1",
        "=1.5",
        "=-0.1",
        "=nan",
        "=inf",
        "=",
        "=90%25",
        "=true",
        "=0_9",
        "=.9&intervals=.8",
    ],
)
def test_a_level_is_between_0_and_1(client: Client, query: str) -> None:
    """Anything else is told what to write."""
    answer = client.post(f"/v1/predict?intervals{query}", {"events": EVENTS})

    assert 400 == answer.status
    assert "write ?intervals=0.9 or another number between 0 and 1" in answer.json()["detail"]


def test_a_slip_in_the_name_is_told(client: Client) -> None:
    """An interval that is asked for in vain would look like none."""
    answer = client.post("/v1/predict?interval=0.9", {"events": EVENTS})

    assert 400 == answer.status
    assert "did you mean ?intervals?" in answer.json()["detail"]


def test_a_model_without_numbers_says_so(tmp_path: Path, metrics: Metrics) -> None:
    """Its probabilities are their own measure of how sure they are."""
    targets = {"is_fraud": EVENT["targets"]["is_fraud"]}
    settings = settings_of({**EVENT, "targets": targets})
    learner = Learner(tmp_path, settings)
    learner.publish(7)
    with learner.writer, Client(create_app(settings, tmp_path, metrics)) as client:
        answer = client.post("/v1/predict?intervals=0.9", {"events": EVENTS})

        assert 400 == answer.status
        assert "this model has none" in answer.json()["detail"]
        assert {"is_fraud"} == client.get("/v1/model").json()["targets"].keys()


def test_the_model_tells_what_its_intervals_held(client: Client, learner: Learner) -> None:
    """By level, of number targets: what the metric says too."""
    errors(learner, 10.0)
    targets = client.get("/v1/model").json()["targets"]

    assert {"0.5", "0.8", "0.9", "0.95", "0.99"} == targets["refund"]["intervals"].keys()
    assert 0.9 == pytest.approx(targets["refund"]["intervals"]["0.9"], abs=0.04)
    assert "intervals" not in targets["is_fraud"]
