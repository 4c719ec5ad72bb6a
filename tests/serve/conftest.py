"""An API over a live file that the test writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.model.layout import Layout
from service.model.state import State
from service.serve.app import create_app
from service.settings import Settings
from service.weights.live import LiveWriter
from tests.processes import PATIENCE_S
from tests.serve.asgi import Client

EVENT: dict[str, Any] = {
    "id": "tx_id",
    "time": "tx_time",
    "features": {"amount": {"type": "number"}, "merchant": {"type": "category"}},
    "targets": {
        "is_fraud": {"type": "binary"},
        "kind": {"type": "multiclass", "classes": ["gift", "own", "other"]},
        "refund": {"type": "number"},
    },
}


def settings_of(event: dict[str, Any] = EVENT, **sections: Any) -> Settings:
    return Settings.model_validate(
        {
            "name": "payments",
            "kafka": {"bootstrap_servers": "localhost:9092", "topics": ["payments"]},
            "event": event,
            "model": {"kind": "linear"},
            **sections,
        }
    )


class Learner:
    """Stands in for the learner: publishes fresh weights and heartbeats."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.recipe = recipe_of(settings)
        self.state = State.fresh(Layout(self.recipe))
        self.writer = LiveWriter.open(
            directory, nbytes=self.state.layout.nbytes, layout=self.recipe.to_json()
        )

    def publish(self, version: int, **meta: Any) -> None:
        told = {
            "name": self.recipe.name,
            "version": version,
            "lineage": "1f2e3d4c5b6a7980",
            "events_learned": version * 10,
            "trained_through": {"payments": {"0": version * 100}},
            "published_at_ns": time.time_ns(),
            "event_time_ms": 1_700_000_000_123,
        }
        touched = np.ones(len(self.state.image) // 256, dtype=np.uint8)
        assert self.writer.publish(self.state.image, touched, {**told, **meta})

    def beat(self, state: str = "learning", **told: Any) -> None:
        usual = {"reason": None, "lag_records": 0, "progress": None, "pid": 1}
        self.writer.beat({"state": state, **usual, **told})


@pytest.fixture(autouse=True)
def _follow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API looks at the live file at each request: no test has to wait for that."""
    monkeypatch.setattr("service.serve.live_model.FOLLOW_S", 0.0)


@pytest.fixture(autouse=True)
def _alive_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life given in a test lasts through it, also where the machine stands still."""
    monkeypatch.setattr("service.serve.served.DOWN_AFTER_S", PATIENCE_S)


@pytest.fixture
def settings() -> Settings:
    return settings_of()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("api-0")


@pytest.fixture
def unborn(tmp_path: Path, settings: Settings, metrics: Metrics) -> Iterator[Client]:
    """The API before any learner has started."""
    with Client(create_app(settings, tmp_path, metrics)) as client:
        yield client


@pytest.fixture
def learner(tmp_path: Path, settings: Settings) -> Iterator[Learner]:
    """A learner that has published version 7 and is learning."""
    learner = Learner(tmp_path, settings)
    learner.publish(7)
    learner.beat()
    with learner.writer:
        yield learner


@pytest.fixture
def client(
    tmp_path: Path, settings: Settings, metrics: Metrics, learner: Learner
) -> Iterator[Client]:
    """The API with a learner at version 7."""
    with Client(create_app(settings, tmp_path, metrics)) as client:
        yield client
