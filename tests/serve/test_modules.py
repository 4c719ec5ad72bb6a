"""The API where the model that answers is code of the user's own, which raises at some events."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from service.settings import Settings
from tests.serve.asgi import Client
from tests.serve.conftest import Learner, settings_of

EVENT = {
    "features": {"amount": {"type": "number", "scale": "none"}},
    "targets": {"is_fraud": {"type": "binary"}},
}


@pytest.fixture(params=["model", "challenger"])
def settings(request: pytest.FixtureRequest) -> Settings:
    kind = {"kind": "tests.modules.bad:Fickle"}  # cannot bear 666
    if request.param == "model":
        return settings_of(EVENT, model=kind)
    return settings_of(EVENT, challengers={"own": kind})


def test_an_event_at_which_the_model_raises_is_refused_and_no_bug_of_the_service(
    client: Client, learner: Learner, settings: Settings
):
    """Others are answered, before and after."""
    if settings.challengers:
        learner.state.serve("own")
        learner.publish(8, answered_by="own")
    with capture_logs() as logs:
        replies = [
            client.post("/v1/predict", {"events": [{"amount": x}, {}]}) for x in (1.0, 666.0, 2.0)
        ]
    errors = replies[1].json()["errors"]

    assert [200, 422, 200] == [reply.status for reply in replies]
    assert ["score_not_finite"] * 2 == [one["code"] for one in errors]
    assert "the model's code raises" in errors[0]["msg"]
    assert ["module_raised"] == [entry["event"] for entry in logs if entry["log_level"] == "error"]
