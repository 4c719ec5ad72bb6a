"""A module of the user's own in real processes: learned, served, killed, replayed, changed."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.e2e.service import CHECKOUT, Topic, until
from tests.e2e.test_learning import CLICK, events

pytestmark = pytest.mark.e2e

NET = {"kind": "tests.modules.nets:Net", "arguments": {"size": 4, "hidden": 8, "dropout": 0.1}}


def test_a_module_is_learned_served_and_replayed_exactly(make_service, embedded_bootstrap):
    """A kill in the middle, then a replay from nothing: the same digest, and the API has it."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, model=NET, learning={"optimizer": "adam", "step_rows": 8})
    process = service.start()
    topic.publish(events(150))
    service.learned(150)
    first = service.predict(CLICK)
    signal_learner(service, signal.SIGKILL)
    topic.publish(events(50, 1))
    service.learned(200)
    until(lambda: service.status()["lag_records"] == 0, "the end of the topic")
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
    assert "module_probed" in service.log()


def signal_learner(service, number: int) -> None:
    """Send a signal to the learner's process."""
    import os

    os.kill(service.learner_pid(), number)
