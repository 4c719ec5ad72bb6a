"""From a topic to an answer, through real processes and a real broker."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest
import torch

from tests.e2e.service import Topic
from tests.faults.clusters import chaos

pytestmark = pytest.mark.e2e

CLICK = {"x": 0.5, "c": "a"}


def events(n: int, seed: int = 0) -> list[dict]:
    """Return n learnable events."""
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=n), rng.integers(0, 20, n)
    y = (x + (c % 3 - 1) + rng.normal(size=n) * 0.5 > 0).astype(int)
    return [{"x": float(a), "c": f"c{b}", "y": int(t)} for a, b, t in zip(x, c, y, strict=True)]


def test_the_article_s_three_points_give_the_weights_of_the_plain_torch_loop(
    make_service, embedded_bootstrap
):
    """Ten passes of three points, SGD with momentum: predictions that spell out the weights."""
    topic = Topic(embedded_bootstrap)
    points = [([1.0, 2.0], 2.0), ([2.0, 3.0], 4.0), ([3.0, 4.0], 6.0)]
    topic.publish([{"x1": x[0], "x2": x[1], "y": y} for _ in range(10) for x, y in points])
    service = make_service(
        topic,
        event={
            "features": {n: {"type": "number", "scale": "none"} for n in ("x1", "x2")},
            "targets": {"y": {"type": "number", "scale": "none"}},
        },
        model={"kind": "linear"},
        learning={"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01, "step_rows": 1},
    )
    service.start()
    service.learned(30)
    _, reply = service.predict({"x1": 0, "x2": 0}, {"x1": 1, "x2": 0}, {"x1": 0, "x2": 1})
    b, w1, w2 = (p["y"] for p in reply["predictions"])

    linear = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.01, momentum=0.9)
    for _ in range(10):
        for x, y in points:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(linear(torch.tensor(x)), torch.tensor([y]))
            loss.backward()
            optimizer.step()
    np.testing.assert_allclose([w1 - b, w2 - b], linear.weight.detach().numpy()[0], atol=1e-6)
    np.testing.assert_allclose(b, linear.bias.item(), atol=1e-6)


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=chaos), 4])
@pytest.mark.kafka
def test_electricity_from_kafka_ends_where_evaluate_ends(
    make_service, kafka_bootstrap, data_file, partitions
):
    """Real stream, real Kafka, rows published while they are learned: within 0.005."""
    config = json.loads(
        make_service(Topic(kafka_bootstrap)).command(
            "config", "show", "--config", "config/electricity.yaml", "--json"
        ).stdout
    )  # fmt: skip
    topic = Topic(kafka_bootstrap, partitions)
    service = make_service(
        topic, event=config["event"], model=config["model"], learning=config["learning"]
    )
    service.start()
    with gzip.open(data_file("electricity.csv.gz"), "rt") as file:
        topic.publish({k: v for k, v in row.items() if v} for row in csv.DictReader(file))
    model = service.learned(topic.sent)

    evaluated = json.loads(
        service.command(
            "evaluate", "--config", "config/electricity.yaml",
            str(data_file("electricity.csv.gz")), "--json",
        ).stdout
    )  # fmt: skip
    expected = evaluated["targets"]["class"]["metrics"]["accuracy"]
    assert expected >= 0.90
    assert abs(expected - model["targets"]["class"]["metrics"]["accuracy"]) <= 0.005
    assert topic.ends() == model["trained_through"][topic.name]


def test_a_reply_tells_the_truth_about_what_it_has_learned(make_service, embedded_bootstrap):
    """trained_through is the end of the topic, events_learned what was published; the version is
    the journal's."""
    topic = Topic(embedded_bootstrap, 2)
    service = make_service(topic)
    service.start()
    for n in (100, 250, 1000):
        topic.publish(events(n - topic.sent, n))
        service.learned(n)
        status, reply = service.predict(CLICK)
        model = reply["model"]

        assert (200, n) == (status, model["events_learned"])
        assert topic.ends() == model["trained_through"][topic.name]
        assert service.status()["version"] == model["version"]
    assert 0.5 < service.predict({"x": 3, "c": "c2"})[1]["predictions"][0]["y"] <= 1


def test_new_partitions_are_found_and_read_from_their_beginning(make_service, embedded_bootstrap):
    """What was written there before we looked is learned too."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, kafka={"discovery_seconds": 1})
    service.start()
    topic.publish(events(50))
    service.learned(50)

    topic.grow(3)
    topic.publish(events(60))

    assert topic.ends() == service.learned(110)["trained_through"][topic.name]


def test_pause_stops_learning_and_resume_goes_on(make_service, embedded_bootstrap):
    """The API answers all the while; both are versions in the journal."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    service.start()
    topic.publish(events(50))
    service.learned(50)

    paused = service.json("pause")
    topic.publish(events(50, 1))
    service.state_is("paused")
    status, reply = service.predict(CLICK)
    assert (200, 50) == (status, reply["model"]["events_learned"])
    assert "paused" == paused["state"]

    service.json("resume")
    service.learned(100)


def test_several_targets_and_classes_are_learned_at_once(make_service, embedded_bootstrap):
    """Multi-task, each target may be missing; the reply has every target's shape."""
    topic = Topic(embedded_bootstrap)
    service = make_service(
        topic,
        event={
            "features": {"x": {"type": "number"}},
            "targets": {
                "b": {"type": "binary"},
                "m": {"type": "multiclass", "classes": ["lo", "hi"]},
                "n": {"type": "number"},
            },
        },
        model={"kind": "mlp"},
    )
    service.start()
    rng = np.random.default_rng(0)
    topic.publish(
        {"x": v, "n": 100 + 10 * v}
        | ({"b": int(v > 0)} if i % 2 else {"m": "hi" if v > 0 else "lo"})
        for i, v in enumerate(rng.normal(size=2000).tolist())
    )
    service.learned(2000)
    _, reply = service.predict({"x": 1.5}, {"x": -1.5})
    high, low = reply["predictions"]

    assert high["b"] > 0.8 > 0.2 > low["b"]
    assert high["m"]["hi"] > 0.8
    assert 1 == pytest.approx(sum(high["m"].values()))
    assert 110 < high["n"] < 120
