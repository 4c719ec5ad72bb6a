"""The API where several models learn: one of them answers, and all of them are told of."""

from __future__ import annotations

import numpy as np
import pytest

from service.model import intervals
from service.settings import Settings
from tests.serve.asgi import Client
from tests.serve.conftest import Learner, settings_of

CHALLENGERS = {"deep": {"kind": "mlp", "hidden": 8}, "plain": {"kind": "linear"}}


@pytest.fixture
def settings() -> Settings:
    return settings_of(challengers=CHALLENGERS)


def predicted(client: Client) -> tuple[dict, dict]:
    """Return the prediction and the model of one reply."""
    reply = client.post("/v1/predict", {"events": [{"amount": 12.5, "merchant": "m17"}]}).json()
    return reply["predictions"][0], reply["model"]


def test_the_model_that_answers_is_the_one_the_image_names(client: Client, learner: Learner):
    """From one version to the next, without a restart; the reply says which it was."""
    rng = np.random.default_rng(0)
    for one in (learner.state, *learner.state.rivals.values()):
        one.theta[:] = rng.normal(size=len(one.theta)) * 0.1
    seen: dict[str, dict] = {}
    for version, name in enumerate(("main", "deep", "plain", "main"), start=8):
        learner.state.serve(name)
        learner.publish(version, answered_by=name)
        prediction, model = predicted(client)
        assert (version, name) == (model["version"], model["answered_by"])
        assert prediction == seen.setdefault(name, prediction)
    assert 3 == len({one["is_fraud"] for one in seen.values()})


def test_get_model_tells_how_each_of_them_does(client: Client, learner: Learner):
    learner.state.serve("deep")
    learner.publish(8, answered_by="deep")
    told = client.get("/v1/model").json()

    assert ["main", "deep", "plain"] == list(told["challengers"])
    assert ("deep", "deep") == (told["answered_by"], told["model"]["answered_by"])
    deep = told["challengers"]["deep"]
    assert ("mlp", True, 0, 0) == tuple(
        deep[k] for k in ("kind", "serves", "events_learned", "rests")
    )
    assert {"is_fraud", "kind", "refund"} == deep["targets"].keys()
    assert not told["challengers"]["main"]["serves"]


def test_intervals_are_those_of_the_model_that_answers(client: Client, learner: Learner):
    learner.state.rivals["deep"].intervals["refund"][:] = learner.state.intervals["refund"]
    y = np.random.default_rng(1).normal(size=600)
    intervals.update(learner.state.rivals["deep"].intervals["refund"], np.zeros(600), y)
    found = []
    for version, name in ((8, "main"), (9, "deep")):
        learner.state.serve(name)
        learner.publish(version, answered_by=name)
        reply = client.post("/v1/predict?intervals=0.9", {"events": [{"amount": 1.0}]}).json()
        found.append(reply["intervals"][0]["refund"])
    assert found[0] is None
    assert found[1] is not None
