"""F42: the wall clock jumps by an hour. Durations are of the other clock, and none is negative."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.learn.keeping import Keeper
from service.learn.publishing import Publisher
from service.learn.saving import Saver
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.serve.served import learner_seen
from service.weights.journal import Journal
from service.weights.live import LiveReader, LiveWriter
from service.weights.snapshots import Keep, Snapshots
from tests.learn.cuts import learner, records, take

HOUR_S = 3600


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the wall clock so many seconds on; the monotonic one knows nothing of it."""
    real, ahead_s = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead_s[0] * 10**9)

    def by(seconds: int) -> None:
        ahead_s[0] += seconds

    return by


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
def test_f42_no_duration_is_negative_and_no_snapshot_comes_early_or_late(
    tmp_path: Path, jump: Callable[[int], None], seconds: int
) -> None:
    """Publishing, freshness, snapshots: before and after the jump."""
    of = learner()
    metrics = Metrics("learner")
    telemetry = Telemetry(metrics)
    live = LiveWriter.open(
        tmp_path / "live", nbytes=of.layout.nbytes, layout=of.recipe.to_json()
    )  # fmt: skip
    with live, Journal.open(tmp_path / "journal") as journal:
        publisher = Publisher(live, telemetry, 0.0)
        saver = Saver(Snapshots(tmp_path / "snapshots", Keep()), journal, {})
        seldom = Keeper(journal, saver, telemetry, HOUR_S / 2)
        for _ in range(3):
            take(of, records(5, of.standing.cursors["t", 0]))
            publisher.learned(np.full(5, time.time_ns() // 1_000_000))
            jump(seconds)
            if publisher.is_due(of):
                publisher.publish(of)
            seldom.tick(of)
            telemetry.fill(of, None)
        saver.close()
        assert [] == saver.take_done()
        assert 3 == live.publications
    families: dict[str, Any] = dict(metrics.samples().families)
    freshness = families["headwater_freshness_seconds"]
    numbers = {
        name: min(number for _, row in rows for number in row)
        for name, rows in families.items()
        if name.endswith("_seconds")
    }

    assert 15 == sum(freshness[0][1][:-1])
    assert {} == {name: least for name, least in numbers.items() if least < 0.0}


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
def test_f42_a_dead_learner_is_seen_to_be_dead_whatever_the_clock_does(
    tmp_path: Path, jump: Callable[[int], None], seconds: int
) -> None:
    """And one that lives is alive again with its next sign of life."""
    of = learner()
    live = LiveWriter.open(tmp_path / "live", nbytes=of.layout.nbytes, layout=of.recipe.to_json())
    with live:
        reader = LiveReader(tmp_path / "live")
        live.beat({"state": "learning"})
        states = [learner_seen(reader.heartbeat(), time.time_ns()).state]
        jump(seconds)
        states.append(learner_seen(reader.heartbeat(), time.time_ns()).state)
        live.beat({"state": "learning"})
        states.append(learner_seen(reader.heartbeat(), time.time_ns()).state)
        reader.close()

    assert ["learning", "down", "learning"] == states
