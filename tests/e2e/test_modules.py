"""A module of the user's own in real processes: learned, served, killed, replayed, refused."""

from __future__ import annotations

import os
import signal

import pytest
import safetensors.torch
import torch

from tests.e2e.service import Topic
from tests.e2e.test_learning import CLICK, events
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.e2e

NET = {"kind": "tests.modules.nets:Net", "arguments": {"size": 4, "hidden": 8, "dropout": 0.1}}


def test_a_module_is_learned_served_and_replayed_exactly(make_service, embedded_bootstrap):
    """It starts from weights in a file; the learner is killed on the way; a replay from nothing
    gives the digest that the API has."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, learning={"optimizer": "adam", "step_rows": 8})
    file = service.folder / "weights.safetensors"
    safetensors.torch.save_file({"hidden.bias": torch.linspace(-1, 1, 8)}, file)
    service.change(model={**NET, "pretrained": {"file": str(file)}})
    process = service.start()
    topic.publish(events(150))
    service.learned(150)
    first = service.predict(CLICK)
    os.kill(service.learner_pid(), signal.SIGKILL)
    topic.publish(events(50, 1))
    service.learned(200)
    model = service.model(digest=True)
    second = service.predict(CLICK)
    assert 0 == service.stop(process)
    rebuilt = service.json(
        "rebuild", "--version", str(model["version"]), "--from", "0",
        "--out", str(service.folder / "rebuilt"),
    )  # fmt: skip

    assert (200, 200) == (first[0], second[0])
    assert first[1]["predictions"] != second[1]["predictions"]
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])
    assert ("module_probed", "pretrained") == tuple(
        word for word in ("module_probed", "pretrained") if word in service.log()
    )


def test_a_module_that_breaks_a_rule_starts_nothing(make_service, embedded_bootstrap):
    """`run` ends with 3 and the rule; no state, no live file, no port."""
    service = make_service(Topic(embedded_bootstrap), model={"kind": "tests.modules.bad:BatchNorm"})

    process = service.start()

    assert 3 == process.wait(PATIENCE_S)
    assert "forward changes buffers in train mode: norm.running_mean" in service.log()
    assert not (service.folder / "state").exists()
