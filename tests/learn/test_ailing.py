"""What is told of an expert that fails."""

from __future__ import annotations

from structlog.testing import capture_logs

from service.learn.ailing import ailing, told
from service.learn.leaderboard import leaderboard
from service.learn.telemetry import Telemetry, seen
from service.metrics import Metrics, merge
from tests.contract.kinds import learner, teach
from tests.model.test_guests import mixture, net, poisoned


def test_an_expert_that_fails_is_named_in_status_log_and_metrics(tmp_path):
    """In the log once, and again only when there is more to tell."""
    one = learner(mixture(net(), poisoned("raises")))
    metrics = Metrics("learner")
    telemetry = Telemetry(metrics)
    with capture_logs() as logs:
        telemetry.fill(one, None)
        teach(one, 60)
        telemetry.fill(one, None)
        teach(one, 1, 60)
        telemetry.fill(one, None)
    (found,) = ailing(one)
    status = telemetry.status(seen(one), None, {})
    said = [line for line in logs if line["event"] == "expert_failed"]

    assert ["Poisoned"] == [line["expert"] for line in said]
    assert "ValueError: an amount that I cannot take" == said[0]["error"]
    assert {"Poisoned": told(found)} == status["failing_experts"]
    assert f"failed on {found.failures} events" in told(found)
    assert {found.failures} == {m["failures"] for m in leaderboard(one) if "failures" in m}
    figure = f'expert="Poisoned",process="learner"}} {float(found.failures)}'
    assert f"headwater_expert_failures_total{{{figure}" in merge(metrics, tmp_path).decode()


def test_nothing_is_told_where_all_is_well():
    one = learner(mixture(net()))
    teach(one, 30)

    assert [] == ailing(one)
    assert "failing_experts" not in Telemetry(Metrics("learner")).status(seen(one), None, {})
