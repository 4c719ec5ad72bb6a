"""What is told of how sure numbers are: by the metric, by /v1/model, by a replay."""

from __future__ import annotations

import numpy as np

from service.learn.learner import Learner
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.model import intervals
from service.model.scorer import Scorer
from tests.learn.cuts import learner, recipe, record, take

EVENT = {
    "id": "id",
    "features": {"x": {"type": "number"}},
    "targets": {"v": {"type": "number"}, "y": {"type": "binary"}},
}


def taught(cut: int = 40) -> Learner:
    """A learner of 400 events, in cuts of this size."""
    of = learner(recipe(event=EVENT))
    draw = np.random.default_rng(2)
    given = [
        record(i, {"id": i, "x": x, "v": 5.0 * x + noise, "y": i % 2})
        for i, (x, noise) in enumerate(draw.normal(size=(400, 2)))
    ]
    for first in range(0, 400, cut):
        take(of, given[first : first + cut])
    return of


def test_the_metric_says_what_the_model_says():
    """A series for each level of a number target; none of a class."""
    of, metrics = taught(), Metrics("learner")
    Telemetry(metrics).fill(of, None)
    gauge = metrics.gauge("headwater_interval_coverage")

    found = of.report()["v"]["intervals"]
    assert {f"{level:g}" for level in intervals.LEVELS} == found.keys()
    assert all(gauge.get("v", level) == share for level, share in found.items())
    assert of.report() == Scorer(of.recipe).attach(of.state.image).targets()
    assert "intervals" not in of.report()["y"]
    assert {"v"} == of.state.intervals.keys()


def test_before_there_are_intervals_the_metric_is_silent():
    """A share of nothing would be an alarm, or a comfort, without a reason."""
    of, metrics = learner(recipe(event=EVENT)), Metrics("learner")
    Telemetry(metrics).fill(of, None)

    assert [] == metrics.gauge("headwater_interval_coverage").rows()


def test_the_intervals_are_those_of_the_scores_before_each_event_was_learned():
    """Whatever the cuts: they are taken in the order of the rows."""
    assert (
        taught(40).state.intervals["v"].tobytes()
        == taught(40).state.intervals["v"].tobytes()
        == taught(8).state.intervals["v"].tobytes()
    )
