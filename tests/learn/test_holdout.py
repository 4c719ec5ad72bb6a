"""Events that are set aside: their own figures, in the state, the API and a backtest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from service import settings
from service.cli.evaluate import _table
from service.learn.evaluate import evaluate
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.model import prequential
from service.model.scorer import Scorer
from tests.learn.cuts import learner, recipe, records, take

CONFIG = Path(__file__).parent.parent.parent / "config"


def test_held_out_events_have_figures_of_their_own():
    """They are those of the events that were set aside, and of no other."""
    of = learner(recipe(holdout=0.25))
    target = of.recipe.schema.targets[0]
    again = prequential.fresh(target)
    for start in range(0, 600, 60):
        step = take(of, records(60, start))
        prequential.update(target, again, step.scores[step.held], step.labels[step.held, 0])

    held = of.report()["y"]["held_out"]
    assert 600 > held["scored"] > 100
    assert of.events_learned + held["scored"] == 600
    expected = prequential.report(target, again)
    assert expected["metrics"] == held["metrics"]
    assert expected["fading"] == held["fading"]
    assert expected["baselines"] == held["baselines"]


def test_without_a_holdout_there_is_nothing_of_it():
    """No figures, no tensor."""
    of = learner()
    take(of, records(60))

    assert of.report()["y"]["held_out"] is None
    assert not [name for name in of.state.parts()["metrics"] if name.startswith("held_out")]


def test_the_api_and_the_metrics_say_what_the_learner_says():
    """/v1/model reads the image; headwater_score has a series of its own."""
    of = learner(recipe(holdout=0.25))
    take(of, records(400))
    metrics = Metrics("learner")
    Telemetry(metrics).fill(of, None)

    shown = Scorer(of.recipe).attach(of.state.image).targets()
    assert of.report() == shown
    held = of.report()["y"]["held_out"]["metrics"]["accuracy"]
    gauge = metrics.gauge("headwater_score")
    assert held == gauge.get("y", "accuracy", "cumulative", "held_out")


def test_evaluate_shows_them_exactly(tmp_path):
    """AUC is taken without bins; the table has a column."""
    lines = [{"x1": i % 7, "x2": i % 3, "y": i % 2} for i in range(2000)]
    found = settings.load(
        CONFIG / "article.yaml",
        {"event.targets.y": {"type": "binary"}, "learning.holdout": 0.2},
    )
    result, _ = evaluate(found, [json.dumps(line).encode() for line in lines])

    held = result["targets"]["y"]["held_out"]
    assert held["scored"] == result["outcomes"]["held_out"]
    assert 0.3 < held["metrics"]["auc"] < 0.7
    assert f"held out  ({held['scored']:,} scored)" in _table(result)
    assert np.isfinite(held["fading"]["log_loss"])
