"""A mixture of experts, a module of the user's own among them, in real processes: learned, served,
killed, replayed, shown."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos

pytestmark = pytest.mark.e2e

NET = {
    "kind": "tests.modules.nets:Net", "arguments": {"size": 4, "hidden": 8, "dropout": 0.1},
    "optimizer": "adam", "step_rows": 8,
}  # fmt: skip


def test_a_mixture_is_learned_served_and_replayed_exactly(make_service, embedded_bootstrap):
    """The learner is killed on the way; a replay from nothing gives the digest that the API has, and
    /metrics tells what each expert counts."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, model={"kind": "mixture", "experts": ["auto", NET]})
    process = service.start()
    topic.publish(events(150))
    service.learned(150)
    first = service.predict(CLICK)
    os.kill(service.learner_pid(), signal.SIGKILL)
    topic.publish(events(250, 1))
    service.learned(400)
    model = service.model(digest=True)
    second = service.predict(CLICK)
    weights = until(lambda: weights_of(service), "the weights of experts in /metrics")
    assert 0 == service.stop(process)
    rebuilt = service.json(
        "rebuild", "--version", str(model["version"]), "--from", "0",
        "--out", str(service.folder / "rebuilt"),
    )  # fmt: skip

    assert (200, 200) == (first[0], second[0])
    assert first[1]["predictions"] != second[1]["predictions"]
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])
    assert 1.0 == pytest.approx(sum(weights), abs=0.01)
    assert "module_probed" in service.log()


@chaos  # tests/learn/test_shedding.py holds it without processes
def test_a_learner_that_is_killed_while_it_leaves_work_out_is_replayed_exactly(
    make_service, embedded_bootstrap
):
    """A topic that ran ahead: work is left out, the learner is killed, goes on, and catches up; a replay
    from nothing does the same at the same events."""
    topic = Topic(embedded_bootstrap)
    topic.publish(events(60_000))
    service = make_service(
        topic, model={"kind": "mixture"}, learning={"shed_after_seconds": 0.1, "batch_rows": 256}
    )
    process = service.start()
    shed = until(lambda: (service.status().get("shed") or {}).get("level"), "work is left out")
    os.kill(service.learner_pid(), signal.SIGKILL)
    service.learned(60_000, patience_s=240.0)
    until(lambda: service.status()["shed"]["level"] == 0, "all of it is taken up again")
    model = service.model(digest=True)
    rows = until(lambda: shed_rows(service), "the events learned without replays in /metrics")
    assert 0 == service.stop(process)
    rebuilt = service.json(
        "rebuild", "--version", str(model["version"]), "--from", "0",
        "--out", str(service.folder / "rebuilt"),
    )  # fmt: skip

    assert shed >= 1
    assert 0 < rows < 60_000
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])


def shed_rows(service: Service) -> float | None:
    """Return how many events were learned without replays."""
    found = service.metrics().items()
    return next((n for name, n in found if "shed_rows" in name and "replays" in name), None)


def weights_of(service: Service) -> list[float]:
    """Return what /metrics says of the members of the mixture; it is written once a second."""
    found = service.metrics().items()
    return [value for name, value in found if name.startswith("headwater_expert_weight{")]
