"""The first lines of a start: where everything is, and what is there already."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from service import logs
from service.cli.announce import announce
from service.settings import Settings, state_directory
from service.weights.glance import glance
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.test_logs import Terminal, _as_before

__all__ = ["_as_before"]
URL = "http://127.0.0.1:8080"
LINEAGE = "feedbeef00000000"


@pytest.fixture
def found(tmp_path: Path, load_settings: Callable[..., Settings]) -> Settings:
    """Settings of a model that has learned nothing."""
    return load_settings(f"""
name: pay
kafka: {{bootstrap_servers: "none:1", topics: [clicks, views]}}
event: {{features: {{x: {{type: number}}}}, targets: {{y: {{type: binary}}}}}}
model: {{kind: mlp}}
state: {{directory: {tmp_path / "state"}}}
runtime: {{directory: {tmp_path / "run"}}}
""")


def save(found: Settings, version: int, events: int, ago: timedelta) -> None:
    """Write a snapshot as if it had been some time ago."""
    parts = {"weights": {"w": torch.zeros(4)}}
    meta = {"version": version, "lineage": LINEAGE, "events_learned": events}
    at = datetime.now(UTC) - ago
    Snapshots(state_directory(found) / "snapshots", Keep(5, 0, 0), now=lambda: at).write(
        parts, meta
    )


def shown(found: Settings, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the first lines are on a stream."""
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("supervisor")
    announce(found, "learns clicks from none:1", url=URL, kafka="none:1")
    return stream.getvalue()


def test_on_a_terminal_there_is_a_line_for_each_place(
    found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The API and its page, metrics, model, state and runtime directory; for a model that begins, from
    where.
    """
    text = shown(found, Terminal(), monkeypatch)

    assert [
        "headwater pay: learns clicks from none:1",
        "  model        mlp, 1 feature, predicts y (binary)",
        f"  predictions  {URL}/v1/predict (503 until there are weights)",
        f"  try it       {URL}/docs",
        f"  metrics      {URL}/metrics",
        f"  state        {state_directory(found)} (nothing there yet: a new model, from earliest)",
        f"  runtime      {found.runtime.directory}",
    ] == text.splitlines()


def test_a_state_that_is_there_is_told_with_its_version_age_and_events(
    found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of the newest that can be read.
    """
    save(found, 3, 1_000, timedelta(days=3))
    save(found, 1_204, 118_233, timedelta(minutes=3))
    save(found, 1_300, 120_000, timedelta(0))
    newest = state_directory(found) / "snapshots" / f"v{1300:012d}-{LINEAGE[:8]}"
    (newest / "manifest.json").write_bytes(b"damaged")

    said = "(version 1,204 of 3 min ago, 118,233 events learned, and the journal since)"
    assert said in shown(found, Terminal(), monkeypatch)


def test_in_a_log_the_same_stands_as_fields(
    found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One line, one object.
    """
    save(found, 7, 90, timedelta(seconds=30))
    [line] = shown(found, io.StringIO(), monkeypatch).splitlines()
    said = json.loads(line)

    assert 30 <= said.pop("saved_s_ago") < 300
    assert {
        "event": "starting", "name": "pay", "model": "mlp, 1 feature, predicts y (binary)",
        "predictions": f"{URL}/v1/predict", "try_it": f"{URL}/docs", "metrics": f"{URL}/metrics",
        "topics": ["clicks", "views"], "kafka": "none:1", "found": "snapshot", "version": 7,
        "events_learned": 90, "state": str(state_directory(found)),
        "runtime": str(found.runtime.directory), "process": "supervisor",
    }.items() <= said.items()  # fmt: skip


def test_an_api_alone_says_nothing_of_a_state_that_it_does_not_read(
    found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nor of Kafka; a learner alone nothing of an address where nobody answers.
    """
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    announce(found, "answers", url=URL)
    api = stream.getvalue()
    announce(found, "learns", kafka="none:1")
    learner = stream.getvalue().removeprefix(api)

    assert ("  state " in api, "  metrics " in api) == (False, True)
    assert ("  state " in learner, "  metrics " in learner) == (True, False)


def test_a_journal_without_a_snapshot_is_no_empty_state(tmp_path: Path) -> None:
    """
    And what is not there has no age.
    """
    assert glance(tmp_path / "none") is None
    with Journal.open(tmp_path / "journal") as journal:
        journal.append({"version": 0})

    seen = glance(tmp_path)
    assert seen is not None
    assert (None, None) == (seen.version, seen.age_s())
